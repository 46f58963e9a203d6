"""The first picture of the course: exact against approximate guidance, with sliders."""

from __future__ import annotations

import html

import ipywidgets
import torch

from cepkit import plots
from cepkit.comparison import FLOOR_SETS
from cepkit.denoisers import ExactDenoiser
from cepkit.guidance import Guidance, Guided, toy_estimators
from cepkit.metrics import guidance_error, sliced_wasserstein
from cepkit.sampling import Step, initial_noise, sampling_steps, time_grid
from cepkit.schedules import Schedule, VPLinear
from cepkit.toys import TOYS, Toy, make_toy
from cepkit.validation import check_number
from cepkit.widgets.canvas import FieldCanvas, Panel

_ARROWS, _PICTURE = 13, 72


class GuidanceExplorer(ipywidgets.VBox):
    """Two panels over the same sliders: samples under exact guidance, and under an approximation.

    The heat map is the exact target p_t, so particles off it are errors; the arrows are scale * guidance at time t. The
    captions give the field's error at t and how far the finished samples are from exact ones.

    Args:
        toy: a toy or its name.
        beta, scale: where the sliders start.
        particles: samples drawn in each panel.
    """

    def __init__(
        self,
        toy: Toy | str = "8gaussians",
        *,
        beta: float = 3.0,
        scale: float = 1.0,
        steps: int = 25,
        particles: int = 500,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        self.toy = make_toy(toy) if isinstance(toy, str) else toy
        if self.toy.dim != 2:
            raise ValueError(f"toy: expected a two-dimensional toy to draw, got {self.toy.dim} dimensions")
        self.schedule = schedule or VPLinear()
        self.particles = check_number(particles, name="particles", low=2, integer=True)
        self._seed, self._steps = seed, check_number(steps, name="steps", low=1, integer=True)
        self._times = time_grid(self.schedule, self._steps).tolist()
        self._paths: dict[str, tuple[tuple, list[Step]]] = {}
        self._floors: dict[float, tuple[torch.Tensor, float]] = {}

        names = [*TOYS, *([] if self.toy.name in TOYS else [self.toy.name])]
        self._own = {} if self.toy.name in TOYS else {self.toy.name: self.toy}
        wide = {"description_width": "110px"}
        layout = ipywidgets.Layout(width="min(100%, 460px)")
        self.toy_choice = ipywidgets.Dropdown(options=names, value=self.toy.name, description="toy", style=wide, layout=layout)
        self.estimator = ipywidgets.Dropdown(
            options=["mean energy", "DPS", "LGD-MC", "no guidance"], description="approximation", style=wide, layout=layout
        )
        self.scale = ipywidgets.FloatSlider(value=scale, min=0, max=5, step=0.1, description="scale s", style=wide, layout=layout)
        self.beta = ipywidgets.FloatSlider(value=beta, min=0, max=10, step=0.25, description="beta", style=wide, layout=layout)
        self.step = ipywidgets.SelectionSlider(
            options=[(f"{t:.3f}", i) for i, t in enumerate(self._times)],
            value=self._steps,
            description="time t",
            style=wide,
            layout=layout,
        )
        self.canvas = FieldCanvas()
        self.status = ipywidgets.HTML()
        controls = ipywidgets.Box(
            [self.toy_choice, self.estimator, self.scale, self.beta, self.step],
            layout=ipywidgets.Layout(flex_flow="row wrap", width="100%"),
        )
        super().__init__([controls, self.canvas, self.status], layout=ipywidgets.Layout(width="100%"))
        self.toy_choice.observe(self._change_toy, "value")
        for control in (self.estimator, self.scale, self.beta, self.step):
            control.observe(self._update, "value")
        self._update()

    def _change_toy(self, change: dict) -> None:
        self.toy = self._own.get(change["new"]) or make_toy(change["new"])
        self._paths, self._floors = {}, {}
        self._update()

    def _update(self, _change: dict | None = None) -> None:
        try:
            self._draw()
            self.status.value = ""
        except ValueError as error:
            self.status.value = f"<b>Cannot draw this:</b> {html.escape(str(error))}"

    def _draw(self) -> None:
        t, beta = self._times[self.step.value], self.beta.value
        estimators = toy_estimators(self.toy, beta, self.schedule)
        names = ["exact", self.estimator.value]
        guidances = {name: estimators.get(name) for name in names}
        heat = plots.brightness(self.toy, self.toy.truth.tilt(beta), t, self.schedule, _PICTURE)
        grid = plots.picture_points(self.toy, _ARROWS, extent=0.92 * self.toy.extent).reshape(-1, 2)
        fields = {n: self.scale.value * g(grid, t) if g else torch.zeros_like(grid) for n, g in guidances.items()}
        longest = max(float(field.norm(dim=-1).max()) for field in fields.values())
        cell = 2 * self.toy.extent / _ARROWS / max(longest, 1e-12)
        self.canvas.show(
            [
                Panel(
                    title=f"{name}: t = {t:.3f}" if name == "no guidance" else f"{name} guidance: t = {t:.3f}",
                    note=self._note(name, guidance, t, beta),
                    heat=heat,
                    arrows=torch.cat([grid, fields[name] * cell], -1),
                    points=self._path(name, guidance, beta)[self.step.value].x,
                    centre=self.toy.centre,
                    extent=self.toy.extent,
                    cmap=plots.DENSITY_MAP,
                )
                for name, guidance in guidances.items()
            ]
        )

    def _path(self, name: str, guidance: Guidance | None, beta: float) -> list[Step]:
        """All steps of the sampler from the same noise, kept while only t moves."""
        key = (self.scale.value, beta) if guidance else ()
        if name not in self._paths or self._paths[name][0] != key:
            denoiser = ExactDenoiser(self.toy.truth, self.schedule)
            guided = Guided(denoiser, guidance, self.scale.value) if guidance else denoiser
            noise = initial_noise((self.particles, 2), generator=torch.Generator().manual_seed(self._seed))
            self._paths[name] = (key, list(sampling_steps(guided, noise, steps=self._steps)))
        return self._paths[name][1]

    def _note(self, name: str, guidance: Guidance | None, t: float, beta: float) -> str:
        generator = torch.Generator().manual_seed(self._seed)
        if beta == 0:
            error = "beta = 0: nothing to guide"
        elif guidance is None:
            error = "field error at this t: 100 %"
        else:
            value = guidance_error(guidance, self.toy.truth, t, beta, self.schedule, n=1000, generator=generator)
            error = f"field error at this t: {100 * float(value):.0f} %"
        if beta not in self._floors:
            exact, *others = (
                self.toy.truth.tilt(beta).sample(self.particles, generator=generator)[0] for _ in range(1 + FLOOR_SETS)
            )
            self._floors = {beta: (exact, max(float(sliced_wasserstein(other, exact)) for other in others))}
        exact, floor = self._floors[beta]
        distance = float(sliced_wasserstein(self._path(name, guidance, beta)[-1].x, exact))
        return f"{error}\nfinished samples to the target: {distance:.2f} (exact draws: up to {floor:.2f})"
