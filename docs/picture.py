"""Draw the moving picture of the README: `python docs/picture.py` writes docs/steering.gif."""

from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter

from cepkit import ExactDenoiser, Guided, VPLinear, make_toy, plots, toy_estimators
from cepkit.diffusion import ZeroGuidance, initial_noise, sampling_steps

BETA, STEPS, PARTICLES, HOLD = 4.0, 30, 700, 20
TITLES = {"no guidance": "not steered", "DPS": "steered by a popular shortcut", "exact": "steered exactly"}


def main() -> None:
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    toy, schedule = make_toy("8gaussians"), VPLinear()
    target, denoiser = toy.truth.tilt(BETA), ExactDenoiser(toy.truth, schedule)
    guidances = {**toy_estimators(toy, BETA, schedule), "no guidance": ZeroGuidance()}
    noise = initial_noise((PARTICLES, 2), generator=torch.Generator().manual_seed(3))
    paths = {name: [s.x for s in sampling_steps(Guided(denoiser, guidances[name]), noise, steps=STEPS)] for name in TITLES}

    figure, axes = plt.subplots(1, len(TITLES), figsize=(9, 3.15), layout="constrained", dpi=80)
    dots = []
    for ax, title in zip(axes, TITLES.values(), strict=True):
        plots.density(ax, toy, target, 0.02, schedule, title=title, side=90)
        dots.append(ax.plot([], [], ".", color="#ff8a5b", markersize=2.5)[0])
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")

    def draw(frame: int) -> None:
        for line, path in zip(dots, paths.values(), strict=True):
            line.set_data(*path[min(frame, STEPS)].T.numpy())

    out = Path(__file__).with_name("steering.gif")
    FuncAnimation(figure, draw, frames=STEPS + HOLD).save(out, writer=PillowWriter(fps=10))
    print(out, f"{out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
