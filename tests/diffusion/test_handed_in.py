"""Callables and numbers of every wrong kind handed to `sample`: each is refused by its name, what was expected and what came."""

import warnings
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import numpy as np
import pytest
import torch
from checks import seeded, toy_named
from torch import nn

from cepkit.diffusion.denoisers import FunctionDenoiser, predict
from cepkit.diffusion.guidance import DPSGuidance, Guidance, Guided, LearnedGuidance, LGDGuidance, ZeroGuidance
from cepkit.diffusion.process import convert, perturb
from cepkit.diffusion.sampling import METHODS, SPACINGS, sample, sampling_steps, time_grid, walk
from cepkit.diffusion.schedules import Schedule, VPCosine, VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance
from cepkit.validation import check_time

LINEAR = VPLinear()
TOY = toy_named("moons")
DENOISER = ExactDenoiser(TOY.truth, LINEAR)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch means to give these up
    QUANTISED = torch.quantize_per_tensor(torch.zeros(6, 2), 0.1, 0, torch.quint8)


def stops(*arguments):
    raise StopIteration


class Wordless(RuntimeError):
    def __str__(self):
        raise RuntimeError


def wordless(*arguments):
    raise Wordless


def needs_gradients(x, *time):
    return torch.autograd.grad(x.requires_grad_(True).square().sum(), x)[0]


CALLABLES = {  # of (x_t, t), or of x_0 for an energy: what comes
    "None": (lambda x, *t: None, "got NoneType"),
    "a tuple": (lambda x, *t: (x, x), "got tuple"),
    "a list": (lambda x, *t: x.tolist(), "got list"),
    "text": (lambda x, *t: "zero", "got str"),
    "a number": (lambda x, *t: 0.0, "got float"),
    "an array": (lambda x, *t: x.detach().numpy(), "got ndarray"),
    "the class": (lambda x, *t: nn.Module, "got type"),
    "a mapping": (lambda x, *t: {"sample": x}, "got dict"),
    "a 0-dim tensor": (lambda x, *t: x.sum(), r"got \(\)"),
    "one column": (lambda x, *t: x[..., :1], r"got \(.*, 1\)"),
    "one row": (lambda x, *t: x[..., :1, :], r"got \(.*1, 2\)"),
    "twice the coordinates": (lambda x, *t: torch.cat([x, x], -1), r"got \(.*, 4\)"),
    "nothing": (lambda x, *t: x[..., :0, :], r"got \(.*0, 2\)"),
    "one point too few": (lambda x, *t: x[..., 1:, :], r"got \(.*, 2\)"),
    "transposed": (lambda x, *t: x.transpose(-1, -2), r"got \(.*2, \d\)"),
    "one more axis": (lambda x, *t: x[None], r"got \(1, .*, 2\)"),
    "another device": (lambda x, *t: torch.empty(_right(x, t), device="meta"), "got one on meta"),
    "quantised": (lambda x, *t: QUANTISED, "got a quantised tensor"),
    "sparse": (lambda x, *t: x.detach().to_sparse(), "got a sparse_coo tensor"),
    "complex": (lambda x, *t: torch.zeros(_right(x, t), dtype=torch.complex64), "got torch.complex64"),
    "whole": (lambda x, *t: torch.zeros(_right(x, t), dtype=torch.long), "got torch.int64"),
    "true or false": (lambda x, *t: torch.zeros(_right(x, t)) > 0, "got torch.bool"),
    "no argument": (lambda: 0, "got TypeError: .* 0 positional arguments but"),
    "too many arguments": (lambda a, b, c: 0, r"got TypeError: .*missing"),
    "a missing attribute": (lambda x, *t: x.score, "got AttributeError: 'Tensor' object has no attribute 'score'"),
    "a missing key": (lambda x, *t: {}["net"], "got KeyError: 'net'"),
    "a missing entry": (lambda x, *t: [][0], "got IndexError"),
    "a product that does not fit": (lambda x, *t: x @ torch.zeros(3, 3), "got RuntimeError: mat1 and mat2"),
    "a network in double": (
        lambda x, *t: nn.Linear(2, 2).double()(x),
        "got RuntimeError: mat1 and mat2 must have the same dtype",
    ),
    "StopIteration": (stops, "got StopIteration"),
    "not yet written": (lambda x, *t: (_ for _ in ()).throw(NotImplementedError("later")), "got NotImplementedError: later"),
    "a failed assertion": (lambda x, *t: (_ for _ in ()).throw(AssertionError("x")), "got AssertionError"),
}


def _right(x, time):
    return x.shape if time and not x.requires_grad else x.shape[:-1]  # energies are differentiated


ROUTES = {
    "denoiser": lambda f: FunctionDenoiser(f, LINEAR, "eps"),
    "guidance": lambda f: Guided(DENOISER, f),
    "energy_net": lambda f: Guided(DENOISER, LearnedGuidance(f, LINEAR)),
    "energy_function": lambda f: Guided(DENOISER, DPSGuidance(DENOISER, f, 1.0)),
}
ROUTED = [(route, case) for route in ROUTES for case in CALLABLES]


@pytest.mark.parametrize(("route", "case"), ROUTED)
def test_a_callable_that_does_not_give_a_field_is_refused_by_name(route, case):
    function, came = CALLABLES[case]
    with pytest.raises(ValueError, match=rf"^{route}: expected .*{came}"):
        sample(ROUTES[route](function), (6, 2), steps=2)


@pytest.mark.parametrize(("route", "advice"), [("denoiser", "enable_grad"), ("guidance", "enable_grad")])
def test_a_callable_that_needs_gradients_is_told_so(route, advice):
    with pytest.raises(ValueError, match=rf"^{route}: expected .*RuntimeError.*{advice}"):
        sample(ROUTES[route](needs_gradients), (6, 2), steps=2)


def test_an_exception_that_cannot_be_printed_passes_through_the_sampler():
    with pytest.raises(Wordless):
        sample(Guided(DENOISER, wordless), (6, 2), steps=2)


def draw(**settings):
    return sample(DENOISER, **({"shape": (4, 2), "steps": 2} | settings))


class Loose:
    """What has a call and a schedule need not be a denoiser."""

    def __init__(self, schedule=LINEAR, parametrisation="eps"):
        self.schedule, self.parametrisation = schedule, parametrisation

    def __call__(self, x_t, t):
        return x_t


NUMBERS = {
    "no denoiser": (lambda: sample(None, (4, 2)), "denoiser"),
    "a plain function": (lambda: sample(lambda x, t: x, (4, 2)), "denoiser"),
    "a network": (lambda: sample(nn.Linear(2, 2), (4, 2)), "denoiser"),
    "a class": (lambda: sample(ExactDenoiser, (4, 2)), "denoiser"),
    "no denoiser to guide": (lambda: Guided(None, ZeroGuidance()), "denoiser"),
    "a function to guide": (lambda: Guided(lambda x, t: x, ZeroGuidance()), "denoiser"),
    "no denoiser to predict": (lambda: predict(None, "x0", torch.zeros(2, 2), 0.5), "denoiser"),
    "no denoiser to walk": (lambda: walk(None, torch.zeros(2, 2), torch.tensor([1.0, 0.5])), "denoiser"),
    "no denoiser for DPS": (lambda: DPSGuidance(None, TOY.energy, 1.0), "denoiser"),
    "a function for LGD": (lambda: LGDGuidance(torch.tanh, TOY.energy, 1.0), "denoiser"),
    "no energy for DPS": (lambda: DPSGuidance(DENOISER, None, 1.0), "energy_function"),
    "a tensor for an energy": (lambda: LGDGuidance(DENOISER, torch.zeros(4), 1.0), "energy_function"),
    "a seed beyond all": (lambda: LGDGuidance(DENOISER, TOY.energy, 1.0, seed=2**70), "seed"),
    "half a sample": (lambda: LGDGuidance(DENOISER, TOY.energy, 1.0, samples=1.5), "samples"),
    "complex scale": (lambda: Guided(DENOISER, ZeroGuidance(), 1j), "scale"),
    "DPS of another schedule": (
        lambda: Guided(DENOISER, DPSGuidance(ExactDenoiser(TOY.truth, VPCosine()), TOY.energy, 1.0)),
        "guidance",
    ),
    "no schedule": (lambda: sample(Loose(None), (4, 2)), "denoiser"),
    "a schedule in words": (lambda: sample(Loose("linear"), (4, 2)), "schedule"),
    "a grid without schedule": (lambda: time_grid(None, 5), "schedule"),
    "unknown parametrisation": (lambda: sample(Loose(parametrisation="noise"), (4, 2)), "denoiser.parametrisation"),
    "no parametrisation": (lambda: sample(Loose(parametrisation=None), (4, 2)), "denoiser"),
    "generator 0": (lambda: draw(generator=0), "generator"),
    "NumPy's generator": (lambda: draw(generator=np.random.default_rng(0)), "generator"),
    "a generator for the SDE": (lambda: walk(DENOISER, torch.zeros(2, 2), torch.tensor([1.0, 0.5]), generator=0), "generator"),
    "a generator for noise": (lambda: perturb(torch.zeros(2, 2), 0.5, LINEAR, generator=0), "generator"),
    "device cud": (lambda: draw(device="cud"), "device"),
    "device 1.5": (lambda: draw(device=1.5), "device"),
    "device that is not here": (lambda: draw(device="xpu:7"), "device"),
    "device of no numbers": (lambda: draw(device="meta", generator=seeded()), "generator"),
    "whole numbers": (lambda: draw(dtype=torch.long), "dtype"),
    "half numbers": (lambda: draw(dtype=torch.float16), "dtype"),
    "dtype in words": (lambda: draw(dtype="float32"), "dtype"),
    "complex numbers": (lambda: draw(dtype=torch.complex64), "dtype"),
    "shape in words": (lambda: draw(shape="2000, 2"), "shape"),
    "half a point": (lambda: draw(shape=(2.5, 2)), "shape"),
    "less than no points": (lambda: draw(shape=(-1, 2)), "shape"),
    "no shape": (lambda: draw(shape=()), "shape"),
    "a size of None": (lambda: draw(shape=(None, 2)), "shape"),
    "more points than memory": (lambda: draw(shape=(10**18, 2)), "shape"),
    "steps of none": (lambda: draw(steps=None), "steps"),
    "steps without end": (lambda: draw(steps=float("inf")), "steps"),
    "an end in words": (lambda: draw(t_end="0"), "t_end"),
    "times in words": (lambda: walk(DENOISER, torch.zeros(2, 2), "falling"), "times"),
    "no times": (lambda: walk(DENOISER, torch.zeros(2, 2), None), "times"),
    "times that rise": (lambda: walk(DENOISER, torch.zeros(2, 2), [0.2, 0.5]), "times"),
    "times beyond 1": (lambda: walk(DENOISER, torch.zeros(2, 2), torch.tensor([2.0, 0.5])), "times"),
    "one time": (lambda: walk(DENOISER, torch.zeros(2, 2), torch.tensor([1.0])), "times"),
    "noise as a list": (lambda: sampling_steps(DENOISER, [[0.0, 0.0]]), "x"),
    "a field of NaN": (lambda: sample(FunctionDenoiser(lambda x, t: x / 0, LINEAR, "eps"), (4, 2)), "samples of this denoiser"),
    "infinite guidance": (
        lambda: sample(Guided(FunctionDenoiser(lambda x, t: x, LINEAR, "eps"), lambda x, t: x / 0), (4, 2)),
        "samples of this denoiser",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_what_cannot_be_sampled_with_is_refused_by_name(case):
    make, argument = NUMBERS[case]
    with pytest.raises(ValueError, match=f"^{argument}: expected .*got"):
        make()


def test_numbers_of_any_kind_that_are_right_pass():
    for scale in (2, np.float32(2), torch.tensor(2.0), Decimal(2)):
        assert Guided(DENOISER, ZeroGuidance(), scale).scale == 2.0
    assert LGDGuidance(DENOISER, TOY.energy, np.float64(1), samples=np.int64(4), seed=1.0).energy(
        torch.zeros(3, 2), 0.5
    ).shape == (3,)
    assert draw(shape=[np.int64(3), 2]).shape == (3, 2)


# -- what callables do to their arguments, and to what they returned ---------------------------------------------------


def in_place(x, t):
    x.mul_(0)


def behind_the_version_counter(x, t):
    x.detach().numpy()[:] = 0


def asks_for_gradients(x, t):
    x.requires_grad_(True)


def in_time(x, t):
    t.zero_()


@pytest.mark.parametrize("change", [in_place, behind_the_version_counter, asks_for_gradients, in_time])
@pytest.mark.parametrize("method", METHODS)
def test_a_callable_that_changes_its_arguments_changes_nothing_else(change, method):
    def changing(function):
        def changed(x, t):
            value = function(x, t)
            change(x, t)
            return value

        return changed

    guidance = ExactGuidance(TOY.truth, 3.0, LINEAR)
    right = Guided(DENOISER, guidance)
    wrong = Guided(FunctionDenoiser(changing(DENOISER), LINEAR, "score"), changing(guidance))
    noise = torch.randn((20, 2), generator=seeded())
    kept = noise.clone()
    for one, other in zip(
        *(sampling_steps(d, noise, steps=4, method=method, generator=seeded(1)) for d in (right, wrong)), strict=True
    ):
        assert torch.equal(one.x, other.x) and one.t == other.t and not other.x.requires_grad
    assert torch.equal(noise, kept) and not noise.requires_grad


def test_a_network_that_writes_all_its_answers_into_one_buffer_is_sampled_right():
    """The multistep needs the answer before the last one, which is no longer there: as after torch.compile with CUDA graphs."""
    exact, buffer = ExactDenoiser(TOY.truth, LINEAR, "x0"), torch.empty(20, 2)
    reusing = FunctionDenoiser(lambda x, t: buffer.copy_(exact(x, t)), LINEAR, "x0")
    noise = torch.randn((20, 2), generator=seeded())
    for one, other in zip(*(list(sampling_steps(d, noise, steps=5)) for d in (exact, reusing)), strict=True):
        assert torch.equal(one.x, other.x) and (one.x0_hat is None or torch.equal(one.x0_hat, other.x0_hat))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_field_in_another_precision_does_not_change_that_of_the_samples(dtype):
    guided = Guided(FunctionDenoiser(lambda x, t: x.to(dtype), LINEAR, "eps"), lambda x, t: -x.to(dtype))
    assert sample(guided, (5, 2), steps=3).dtype == torch.float32


# -- modules in training mode ----------------------------------------------------------------------------------------------


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x, t):
        return self.norm(self.dropout(x))


BINDINGS = {
    "itself": lambda field: field,
    "a lambda": lambda field: lambda x, t: field(x, t),
    "a partial": lambda field: partial(field),
    "a bound method": lambda field: field.forward,
}


@pytest.mark.parametrize("bind", BINDINGS)
@pytest.mark.parametrize("part", ["denoiser", "guidance", "DPS"])
def test_networks_are_sampled_in_evaluation_mode_and_left_as_they_were(part, bind):
    field = Field().train()
    field.dropout.eval()  # a part that someone froze
    function, buffers = BINDINGS[bind](field), [buffer.clone() for buffer in field.buffers()]
    denoiser = FunctionDenoiser(function, LINEAR, "eps")
    guided = {
        "denoiser": lambda: denoiser,
        "guidance": lambda: Guided(DENOISER, function),
        "DPS": lambda: Guided(DENOISER, DPSGuidance(denoiser, lambda x0: x0.square().sum(-1), 1.0)),
    }[part]()
    first, second = (sample(guided, (6, 2), steps=3, generator=seeded()) for _ in range(2))
    assert torch.equal(first, second)
    assert field.training and field.norm.training and not field.dropout.training
    assert all(torch.equal(*pair) for pair in zip(buffers, field.buffers(), strict=True))


def test_between_two_steps_a_network_is_in_the_mode_it_was_found_in():
    field = Field().train()
    for _ in sampling_steps(FunctionDenoiser(field, LINEAR, "eps"), torch.zeros(4, 2), steps=3):
        assert field.training


# -- schedules that are not variance preserving -----------------------------------------------------------------------


@dataclass(frozen=True)
class Flow(Schedule):
    """Rectified flow, x_t = (1 - t) x_0 + t eps."""

    def log_alpha(self, t):
        return torch.log1p(-check_time(t))

    def sigma_squared(self, t):
        return check_time(t) ** 2

    def t_from_log_snr(self, log_snr):
        return torch.sigmoid(-torch.as_tensor(log_snr) / 2)


@dataclass(frozen=True)
class Exploding(Flow):
    """Variance exploding, x_t = x_0 + 80 t eps."""

    def log_alpha(self, t):
        return 0 * check_time(t)

    def sigma_squared(self, t):
        return (80 * check_time(t)) ** 2


@dataclass(frozen=True)
class Ending(VPLinear):
    """Variance preserving, with no signal at all at its end."""

    def log_alpha(self, t):
        return torch.log1p(-check_time(t))


@pytest.mark.parametrize("schedule", [Flow(), Exploding(), Ending()], ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_samplers_refuse_a_schedule_that_does_not_keep_the_variance_or_the_signal(schedule, spacing):
    with pytest.raises(ValueError, match=r"^schedule: expected alpha_t > 0 and alpha_t\^2 \+ sigma_t\^2 = 1 at every t, got"):
        sample(ExactDenoiser(TOY.truth, schedule), (4, 2), spacing=spacing)
    with pytest.raises(ValueError, match="^schedule: expected alpha_t > 0"):
        walk(ExactDenoiser(TOY.truth, schedule), torch.zeros(3, 2), torch.tensor([1.0, 0.5, 0.1]))


@pytest.mark.parametrize("schedule", [Flow(), Exploding()], ids=lambda schedule: type(schedule).__name__)
def test_of_other_schedules_noise_and_data_are_known_and_v_is_not(schedule):
    x0, eps = torch.randn(2, 50, 2, generator=seeded(), dtype=torch.float64)
    t = torch.linspace(0.1, 0.9, 50, dtype=torch.float64)
    x_t = perturb(x0, t, schedule, noise=eps).x_t
    torch.testing.assert_close(convert(eps, "eps", "x0", x_t, t, schedule), x0)
    torch.testing.assert_close(convert(x0, "x0", "score", x_t, t, schedule), -eps / schedule.sigma(t)[:, None])
    for source, target in (("eps", "v"), ("v", "x0")):
        with pytest.raises(ValueError, match=r"^schedule: expected .*alpha_t\^2 \+ sigma_t\^2 = 1 .*got alpha_t = .*sigma_t = "):
            convert(eps, source, target, x_t, t, schedule)


# -- the end of a walk ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_walk_down_to_the_data_ends_on_the_denoised_point(method, any_schedule):
    times = torch.tensor([1.0, 0.5, 0.2, 0.0], dtype=torch.float64)
    *_, before, last = walk(ExactDenoiser(TOY.truth, any_schedule), torch.randn((9, 2), generator=seeded()), times, method=method)
    assert torch.equal(last.x, last.x0_hat) and last.t == 0.0
    torch.testing.assert_close(last.x, TOY.truth.posterior_mean(before.x, 0.2, any_schedule))


class Quadratic(Guidance):
    def energy(self, x_t, t):
        return x_t.square().sum(-1)


def test_a_guidance_of_one_s_own_is_differentiated_while_sampling():
    assert bool(torch.isfinite(sample(Guided(DENOISER, Quadratic()), (5, 2), steps=3)).all())
