"""Write the catalogue of docs/debugger.md: every fault is planted in exact fields, shown to the debugger, and drawn.

`python docs/explanations.py` plants all of them and writes the page and its pictures; with names it draws only these, and leaves
the page alone.
"""

import inspect
import io
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

import matplotlib
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor, nn

from cepkit import (
    DPSGuidance,
    ExactDenoiser,
    ExactGuidance,
    Guided,
    LGDGuidance,
    MeanEnergyGuidance,
    VPCosine,
    VPLinear,
    make_toy,
    plots,
    sample,
)
from cepkit.debugger import FieldDebugger, Finding, Slice
from cepkit.debugger.checks import agreement
from cepkit.debugger.diagnosis import Diagnosis
from cepkit.debugger.factors import fit_factor
from cepkit.diffusion.process import convert, perturb
from cepkit.truth.exact import Mixture

HERE = Path(__file__).parent
PICTURES, PAGE = HERE / "explanations", HERE / "debugger.md"
BEGIN, END = "<!-- written by docs/explanations.py -->\n", "<!-- end -->\n"
SCHEDULE, BETA = VPLinear(), 3.0
SIDE = 13  # arrows along a side


class Exact:
    """The exact fields of a toy, or of other data drawn over the toy."""

    def __init__(self, name: str, truth: Mixture | None = None) -> None:
        self.toy = make_toy(name)
        self.truth = self.toy.truth if truth is None else truth
        self.denoiser = ExactDenoiser(self.truth, SCHEDULE)
        self.guidance = ExactGuidance(self.truth, BETA, SCHEDULE)
        self.alpha, self.sigma, self.clean_energy = SCHEDULE.alpha, SCHEDULE.sigma, self.toy.energy

    def score(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.truth.score(x_t, t, SCHEDULE)


@dataclass(frozen=True)
class Planted:
    """A fault: a function of the exact fields, x_t and t, or of the exact fields alone, that returns the faulty callable.

    Attributes:
        repair: the line that mends it.
        t: the level that is drawn.
        third: what the third panel shows; by default it is what the explanation leaves.
    """

    cause: str
    subject: str
    repair: str
    function: Callable
    exact: Exact
    t: float = 0.4
    third: str = "left"
    settings: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def given(self) -> Callable:
        alone = len(inspect.signature(self.function).parameters) == 1
        return self.function(self.exact) if alone else partial(self.function, self.exact)

    @property
    def code(self) -> str:
        """The function without its decorator and docstring, as a user would have written it."""
        source = re.sub(r"^(@plant\(.*?\)\n)(?=def )", "", inspect.getsource(self.function), flags=re.DOTALL | re.MULTILINE)
        source = re.sub(r'^    """.*?"""\n+', "", source, count=1, flags=re.DOTALL | re.MULTILINE)
        return source.replace("(exact, x_t, t):", "(x_t, t):").strip()


BLOBS, ROLL = Exact("8gaussians"), Exact("swissroll")
GROUPS: dict[str, list[Planted]] = {}


def group(title: str) -> None:
    GROUPS[title] = []


def plant(cause: str, subject: str, repair: str, exact: Exact = BLOBS, **more) -> Callable:
    def keep(function: Callable) -> Callable:
        GROUPS[list(GROUPS)[-1]].append(Planted(cause, subject, repair, function, exact, **more))
        return function

    return keep


# -- the faults --------------------------------------------------------------------------------------------------------

group("Sign and size")


@plant("sign", "guidance", "return -gradient")
def minus_forgotten(exact, x_t, t):
    """Energy is low for good, so guidance is *minus* the gradient."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(exact.guidance.energy(x, t).sum(), x)
    return gradient


@plant("factor", "guidance", "return exact.guidance(x_t, t)")
def shift_of_eps(exact, x_t, t):
    """The debugger fits one number at each noise level, and looks whether they follow a power of α_t and σ_t."""
    return exact.sigma(t) * exact.guidance(x_t, t)  # this is the shift of eps, up to its sign


@plant("factor", "guidance", "return exact.guidance(x_t, t)")
def counted_twice(exact, x_t, t):
    """A constant factor: here both the model and the sampler add the guidance."""
    return 2 * exact.guidance(x_t, t)


@plant("zero", "guidance", "energy = exact.guidance.energy(x, t)")
def graph_cut(exact, x_t, t):
    """`detach()`, `no_grad` or a piecewise constant energy leaves no slope."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        energy = exact.guidance.energy(x, t).detach() + 0 * x.sum(-1)
        return -torch.autograd.grad(energy.sum(), x)[0]


@plant("clipped", "guidance", "return exact.guidance(x_t, t)")
def norm_cut_off(exact, x_t, t):
    """Long vectors keep their direction and lose their length."""
    force = exact.guidance(x_t, t)
    return force / force.norm(dim=-1, keepdim=True).clamp(min=1.0)


@plant("rounded", "guidance", "return exact.guidance(x_t, t)")
def half_precision(exact, x_t, t):
    """Every value that comes back is one that a 16-bit type can hold. The error is only 0.2 %, but its slopes are noise."""
    return exact.guidance(x_t, t).bfloat16().to(x_t.dtype)


@plant("drift", "guidance", "return exact.guidance(x_t, t)")
def bias_of_the_last_layer(exact, x_t, t):
    """The same vector is added at every point."""
    return exact.guidance(x_t, t) + torch.tensor([0.8, -0.4])


group("Time and noise levels")


@plant("time reversed", "guidance", "return exact.guidance(x_t, t)")
def other_end_of_time(exact, x_t, t):
    """In some code, such as that of flow matching, t = 1 is the data."""
    return exact.guidance(x_t, (1 - t).clamp(1e-3, 1))


@plant("time scaled", "guidance", "return exact.guidance(x_t, t)")
def half_the_time(exact, x_t, t):
    """Also found: 2 t, t / 1000 and other multiples."""
    return exact.guidance(x_t, t / 2)


@plant("time squared", "guidance", "return exact.guidance(x_t, t)")
def square_of_the_time(exact, x_t, t):
    """Also found: the square root and other powers."""
    return exact.guidance(x_t, (t**2).clamp(min=1e-3))


@plant("time rounded", "guidance", "return exact.guidance(x_t, t)", t=0.05)
def ten_levels(exact, x_t, t):
    """The time has few digits, as an index of a short table has."""
    return exact.guidance(x_t, ((10 * t).round() / 10).clamp(min=1e-3))


@plant("time fixed", "guidance", "return exact.guidance(x_t, t)")
def always_one_level(exact, x_t, t):
    """A time that is not passed on; or one in 0..1000 that is cut off at 1, which gives the field of full noise."""
    return exact.guidance(x_t, 0.4)


@plant("missing noise levels", "guidance", "return exact.guidance(x_t, t)", t=0.6)
def only_below(exact, x_t, t):
    """Zero, constant or frozen on a range of t, such as an interval outside of which guidance is switched off."""
    return exact.guidance(x_t, t) if t < 0.5 else torch.zeros_like(x_t)


@plant("another schedule", "guidance", "return exact.guidance(x_t, t)  # with the schedule of the sampler")
def trained_with_cosine(exact, x_t, t):
    """Known schedules are tried by name, then the two constants of a linear one are fitted."""
    return exact.truth.guidance(x_t, t, BETA, VPCosine())


group("Coordinates and units")


@plant("coordinates swapped", "guidance", "return exact.guidance(x_t, t)")
def rows_for_columns(exact, x_t, t):
    """Of the output or of the input, or of both."""
    return exact.guidance(x_t, t).flip(-1)


@plant("coordinate flipped", "guidance", "return exact.guidance(x_t, t)")
def axis_points_down(exact, x_t, t):
    """One coordinate has the other sign, as the rows of an image have."""
    return exact.guidance(x_t, t) * torch.tensor([1.0, -1.0])


@plant("coordinate dropped", "guidance", "return exact.guidance(x_t, t)")
def first_column_only(exact, x_t, t):
    """One coordinate is zero, or is not looked at."""
    return exact.guidance(x_t, t) * torch.tensor([1.0, 0.0])


@plant("coordinate scaled", "guidance", "return exact.guidance(x_t, t)")
def not_square(exact, x_t, t):
    """Each coordinate has a factor of its own."""
    return exact.guidance(x_t, t) * torch.tensor([1.0, 2.0])


@plant("rotated", "guidance", "return exact.guidance(x_t @ R, t) @ R.T  # for a model that works in the frame x @ R")
def another_frame(exact, x_t, t):
    """A matrix stands before the field. The debugger fits it, and says the angle of a rotation."""
    return exact.guidance(x_t, t) @ torch.tensor([[0.64, 0.77], [-0.77, 0.64]])


@plant("input scaled", "guidance", "return exact.guidance(x_t, t)")
def other_units(exact, x_t, t):
    """A model that was trained on points in other units, or standardised ones."""
    return exact.guidance(x_t / 1.6, t)


@plant("input shifted", "guidance", "return exact.guidance(x_t, t)")
def mean_subtracted_again(exact, x_t, t):
    """A mean that is subtracted once more, or not at all."""
    return exact.guidance(x_t - torch.tensor([1.0, -0.6]), t)


LIFTED = Exact("8gaussians", Mixture.from_points(
    torch.cat([(c := BLOBS.truth.components()).mean, 2 * c.mean[:, :1].roll(3, 0)], -1), c.energy, std=0.4))  # fmt: skip


@plant("off the slice", "guidance", "return exact.guidance(x_t, t)", LIFTED, third="off", settings={"slice": Slice.axes(3)})
def third_coordinate(exact, x_t, t):
    """In more than two dimensions: right in the plane of the pictures, wrong beside it. Look at other slices too."""
    return exact.guidance(x_t * torch.tensor([1.0, 1.0, 3.0]), t)  # x3 in other units


group("Guidance of another energy")


@plant("another beta", "guidance", "ExactGuidance(exact.truth, BETA, SCHEDULE)(x_t, t)")
def beta_twice(exact, x_t, t):
    """β² where the energies were multiplied by β before; 1 where β was left out; 1/β; or any other, which is fitted."""
    return ExactGuidance(exact.truth, BETA**2, SCHEDULE)(x_t, t)


@plant("clean energy", "guidance", "return exact.guidance(x_t, t)  # or train on noisy points, with t as an input", ROLL)
def never_seen_noise(exact, x_t, t):
    """An energy, a classifier or a reward model of clean data, asked about x_t as if it were clean."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        return -torch.autograd.grad(BETA * exact.clean_energy(x).sum(), x)[0]


@plant("denoised point", "guidance", "return exact.guidance(x_t, t)")
def at_x0_hat(exact, x_t, t):
    """The right field, at the wrong point."""
    x0_hat = convert(exact.score(x_t, t), "score", "x0", x_t, t, SCHEDULE)
    return exact.guidance(x0_hat, t)


@plant("mean energy", "guidance", "return exact.guidance(x_t, t)  # or learn E_t by contrastive energy prediction")
def regressed(exact, x_t, t):
    """Least squares on noisy points learns the mean of the energy, not the intermediate energy."""
    return MeanEnergyGuidance(exact.truth, BETA, SCHEDULE)(x_t, t)


@plant("DPS", "guidance", "return exact.guidance(x_t, t)  # or learn E_t by contrastive energy prediction", ROLL)
def energy_of_x0_hat(exact, x_t, t):
    """The energy of the denoised point in place of the intermediate energy."""
    return DPSGuidance(exact.denoiser, exact.clean_energy, BETA)(x_t, t)


@plant("LGD-MC", "guidance", "return exact.guidance(x_t, t)  # or learn E_t by contrastive energy prediction", ROLL)
def gaussian_cloud(exact, x_t, t):
    """The same with a Gaussian cloud round the denoised point."""
    return LGDGuidance(exact.denoiser, exact.clean_energy, BETA)(x_t, t)


@plant("conditional score", "guidance", "return exact.guidance(x_t, t)")
def score_and_guidance(exact, x_t, t):
    """The guided score is handed over as guidance, so the sampler adds the score twice."""
    return exact.score(x_t, t) + exact.guidance(x_t, t)


group("Scores")


@plant("parametrisation", "score", 'return convert(eps, "eps", "score", x_t, t, SCHEDULE)')
def eps_for_score(exact, x_t, t):
    """score = −eps / σ_t."""
    eps = convert(exact.score(x_t, t), "score", "eps", x_t, t, SCHEDULE)  # the network's output
    return eps


@plant("parametrisation", "score", 'return convert(x0, "x0", "score", x_t, t, SCHEDULE)')
def x0_for_score(exact, x_t, t):
    """score = (α_t x0 − x_t) / σ_t²."""
    x0 = convert(exact.score(x_t, t), "score", "x0", x_t, t, SCHEDULE)  # the network's output
    return x0


@plant("parametrisation", "score", 'return convert(v, "v", "score", x_t, t, SCHEDULE)')
def v_for_score(exact, x_t, t):
    """score = −(x_t + (α_t / σ_t) v)."""
    v = convert(exact.score(x_t, t), "score", "v", x_t, t, SCHEDULE)  # the network's output
    return v


@plant("already guided", "score", "return exact.score(x_t, t)")
def guided_model(exact, x_t, t):
    """Guidance would count twice."""
    return exact.score(x_t, t) + exact.guidance(x_t, t)


group("Calls")


@plant("random", "guidance", "return exact.guidance(x_t, t)", third="again")
def fresh_noise(exact, x_t, t):
    """Two calls at the same points differ. Third panel: a second call, minus the first."""
    return exact.guidance(x_t, t) + 0.3 * torch.randn_like(x_t)


class Network(nn.Module):
    def __init__(self, exact: Exact) -> None:
        super().__init__()
        self.exact, self.dropout = exact, nn.Dropout(0.2)

    def forward(self, x_t, t):
        return self.dropout(self.exact.guidance(x_t, t))


@plant("training mode", "guidance", "model = Network(exact).eval()", third="again")
def dropout_left_on(exact):
    """Dropout or batch normalisation works as in training. Third panel: a second call, minus the first."""
    model = Network(exact)
    return model


@plant("batch size", "guidance", "energy = exact.guidance.energy(x, t).sum()", third="batches")
def mean_for_sum(exact, x_t, t):
    """Values shrink or grow with the number of points. Panels: the same points in batches of 4, and one by one."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        energy = exact.guidance.energy(x, t).mean()
        return -torch.autograd.grad(energy, x)[0]


@plant("batch order", "guidance", "order = x_t[:, 0].argsort(); return exact.guidance(x_t[order], t)[order.argsort()]")
def sorted_and_not_put_back(exact, x_t, t):
    """Row i of the result does not belong to point i. Third panel: given minus right."""
    order = x_t[:, 0].argsort()
    return exact.guidance(x_t[order], t)


@plant("batch", "guidance", "return exact.guidance(x_t, t)", third="batches")
def normalised_by_the_batch(exact, x_t, t):
    """Other points change the value. Panels: the same points in batches of 4, and one by one."""
    force = exact.guidance(x_t, t)
    return force / force.std()


@plant("in place", "guidance", "x_t = x_t + 0.1 * force", third="moved")
def step_in_place(exact, x_t, t):
    """The caller's points are moved. Third panel: how."""
    force = exact.guidance(x_t, t)
    x_t += 0.1 * force
    return force


@plant("non-finite", "guidance", "return exact.guidance(x_t, t) * (1 - x_t.norm(dim=-1, keepdim=True) / 4).clamp(min=0).sqrt()")
def root_of_a_negative(exact, x_t, t):
    """Some points give NaN. The report says at which noise levels, at how many points and where. They are drawn blank."""
    return exact.guidance(x_t, t) * (1 - x_t.norm(dim=-1, keepdim=True) / 4).sqrt()


group("Sampling")


@plant("few steps", "guidance", "sample(guided, (2000, 2), steps=25)", third="samples", settings={"steps": 3})
def three_steps(exact, x_t, t):
    """The fields are right and the samples are not, and they move when the steps are doubled."""
    return exact.guidance(x_t, t)  # and sample(guided, (2000, 2), steps=3)


# -- pictures and page -------------------------------------------------------------------------------------------------


def debug(planted: Planted) -> tuple[Finding, Diagnosis | None]:
    """The finding that names the fault, and what was found to explain it."""
    exact, seen = planted.exact, []

    def recorded(case):
        seen.append(agreement_explain(case))
        return seen[-1]

    agreement_explain = agreement.explain
    fields = {"guidance": exact.guidance, planted.subject: planted.given}
    with mock.patch.object(agreement, "explain", recorded):
        report = FieldDebugger(
            **fields, schedule=SCHEDULE, domain=exact.toy.extent, truth=exact.truth, beta=BETA, **planted.settings
        ).run()
    named = [item for item in report.findings if item.cause == planted.cause]
    if not named or set(report.causes) != {planted.cause}:
        print(f"{planted.name}: expected the cause {planted.cause!r} alone, got {report.causes}\n{report}")
    found = [diagnosis for diagnosis in seen if diagnosis.candidate is not None]
    return (named or report.findings)[0], found[0] if found else None


def draw(planted: Planted, diagnosis: Diagnosis | None) -> None:
    """The right field, the given one, and what the explanation leaves."""
    exact, t, toy = planted.exact, planted.t, planted.exact.toy
    figure, axes = plt.subplots(1, 3, figsize=(6.6, 2.4), layout="constrained", facecolor="white")
    if planted.third == "samples":
        for ax, steps in zip(axes, (200, 3, 25), strict=True):
            x = sample(Guided(exact.denoiser, exact.guidance), (600, 2), steps=steps, generator=torch.Generator().manual_seed(0))
            ax.plot(*x.T.numpy(), ".", color="#0072B2" if steps == 200 else "#D55E00", markersize=1.5)
            plots.frame(ax, toy, f"{steps} steps")
    else:
        right, given, third, label = panels(planted, diagnosis)
        grid = plots.picture_points(toy, SIDE, extent=0.92 * toy.extent)
        shown = toy.truth.log_q(grid, t, SCHEDULE)
        shown = (shown > shown.max() - 12)[..., None]
        longest = float(right(grid, t)[shown[..., 0]].norm(dim=-1).quantile(0.9))
        noised = perturb(toy.sample(400, generator=torch.Generator().manual_seed(1))[0], t, SCHEDULE).x_t
        titles = f"right, t = {t:g}", "in batches of 4" if planted.third == "batches" else "given", label
        for ax, values, title, colour in zip(axes, (right, given, third), titles, ("#0072B2", "#D55E00", "#D55E00"), strict=True):
            ax.plot(*noised.T.numpy(), ".", color="#cccccc", markersize=1.5, zorder=0)
            visible = partial(lambda f, x, t: torch.where(shown, f(x, t), torch.nan), values)
            plots.field(ax, toy, visible, t, title=title, side=SIDE, colour=colour, longest=longest)
    for ax in axes:
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    PICTURES.mkdir(exist_ok=True)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=80, facecolor="white")
    plt.close(figure)
    Image.open(stream).convert("RGB").quantize(48).save(PICTURES / f"{planted.name}.png", optimize=True)


def panels(planted: Planted, diagnosis: Diagnosis | None) -> tuple[Callable, Callable, Callable, str]:
    """Three fields over points (side, side, 2), and the title of the third."""
    exact, t = planted.exact, torch.tensor(planted.t, dtype=torch.float64)
    right = flat(exact.guidance if planted.subject == "guidance" else exact.score, t)
    given = flat(planted.given, t)
    if planted.third == "again":
        return right, given, lambda x, _: given(x, _) - given(x, _), "second call − first"
    if planted.third == "batches":
        return right, partial(in_batches, given, 4), partial(in_batches, given, 1), "in batches of 1"
    if planted.third == "moved":
        return right, given, lambda x, _: moved(planted.given, x, t), "the move of the points"
    if planted.third == "off":
        on, off = (flat(partial(at_height, planted.given, z), t) for z in (0.0, 2.0))
        truth = flat(partial(at_height, exact.guidance, 2.0), t)
        return (
            flat(partial(at_height, exact.guidance, 0.0), t),
            on,
            lambda x, _: off(x, _) - truth(x, _),
            "given − right off the plane",
        )
    if diagnosis is None:
        return right, given, lambda x, _: given(x, _) - right(x, _), "given − right"

    def left(x, _):
        explained = flat(lambda y, _: diagnosis.candidate.field(y, planted.t), t)(x, _)
        value = given(x, _)
        factor = fit_factor(value.reshape(-1, 2), explained.reshape(-1, 2)).factor if diagnosis.factor else 1.0
        return value - factor * explained

    return right, given, left, f"left over: {diagnosis.after:.1%}"


def flat(function: Callable, t: Tensor) -> Callable:
    """A field of (n, 2) over points (side, side, 2), at this t."""
    return lambda x, _: function(x.reshape(-1, 2).clone(), t).detach().reshape(x.shape).to(x)


def in_batches(given: Callable, n: int, x: Tensor, _) -> Tensor:
    return torch.cat([given(rows, 0) for rows in x.reshape(-1, 1, 2).split(n)]).reshape(x.shape)


def moved(function: Callable, x: Tensor, t: Tensor) -> Tensor:
    after = x.reshape(-1, 2).clone()
    function(after, t)
    return after.reshape(x.shape) - x


def at_height(function: Callable, z: float, x: Tensor, t: Tensor) -> Tensor:
    return function(nn.functional.pad(x, (0, 1), value=z), t)[:, :2]


def section(planted: Planted, finding: Finding) -> str:
    """The fault in code, the sentence of the report, the repair, the picture."""
    words = inspect.getdoc(planted.function).replace("\n", " ")
    return (
        f"![{planted.cause}: the right field, the given one, and the third panel](explanations/{planted.name}.png)\n\n{words}\n\n"
        f"```python\n{planted.code}\n```\n\n"
        + textwrap.fill(finding.message, 150, initial_indent="> ", subsequent_indent="> ", break_long_words=False)
        + f"\n>\n> → {finding.remedy}\n\nThe line that mends it: `{planted.repair}`\n"
    )


def contents(title: str, faults: list[Planted]) -> str:
    """One line of links to the sections of a group."""
    causes = dict.fromkeys(planted.cause for planted in faults)
    return f"- {title}: {', '.join(f'[{cause}](#{cause.lower().replace(chr(32), chr(45))})' for cause in causes)}\n"


def main() -> None:
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    wanted, text = sys.argv[1:], ["".join(contents(title, faults) for title, faults in GROUPS.items())]
    for title, faults in GROUPS.items():
        text.append(f"### {title}\n")
        causes = []
        for planted in faults:
            if wanted and planted.name not in wanted:
                continue
            torch.manual_seed(0)
            finding, diagnosis = debug(planted)
            draw(planted, diagnosis)
            if planted.cause not in causes:
                text.append(f"#### {planted.cause}\n")
                causes.append(planted.cause)
            text.append(section(planted, finding))
            print(f"{planted.name}: {finding.cause}", flush=True)
    if wanted:
        print("\n".join(text))
        return
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(text) + "\n" + END + rest.partition(END)[2], encoding="utf-8")
    size = sum(path.stat().st_size for path in PICTURES.glob("*.png"))
    print(f"{len(list(PICTURES.glob('*.png')))} pictures, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
