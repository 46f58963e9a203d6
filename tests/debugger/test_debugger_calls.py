"""Callables that fail: each mistake is reported with its callable and place, and the other checks go on."""

import numpy as np
import pytest
import torch
from checks import toy_named

from cepkit.debugger import FieldDebugger, Slice
from cepkit.debugger.calls import RecordedCallable
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser, ExactGuidance

SCHEDULE = VPLinear()
TOY = toy_named("8gaussians")
DENOISER = ExactDenoiser(TOY.truth, SCHEDULE)
EXACT = ExactGuidance(TOY.truth, 3.0, SCHEDULE)


def report(guidance, **settings):
    given = {"truth": TOY.truth, "beta": 3.0, "particles": 128, "times": (0.05, 0.2, 0.8), "steps": 5, **settings}
    return FieldDebugger(score=DENOISER, guidance=guidance, domain=4.5, **given).run()


def raising(x, t):
    if float(t) > 0.5:
        raise RuntimeError("no such noise level")
    return EXACT(x, t)


def test_a_callable_that_raises_is_named_with_its_level_and_words():
    found = report(raising)
    item = found.finding("calls")
    assert item.severity == "error" and "guidance raised" in item.message and "no such noise level" in item.message
    assert item.t >= 0.8
    # the levels where it answers are still compared, and the score is still checked
    assert found.finding("truth-guidance").severity == "ok"
    assert found.finding("truth-score").severity == "ok" and found.finding("score-at-noise").severity == "ok"


def test_a_callable_that_always_raises_leaves_the_score_checked():
    def broken(x, t):
        raise KeyError("weights")

    found = report(broken)
    assert "KeyError" in found.finding("calls").message
    assert found.finding("truth-score").severity == "ok"
    with pytest.raises(ValueError, match="check: expected one of"):
        found.finding("curl")


@pytest.mark.parametrize(
    ("change", "came"),
    [
        (lambda value: value[:, :1], "x_t (64, 2), got (64, 1)"),
        (lambda value: value.sum(-1), "x_t (64, 2), got (64,)"),
        (lambda value: value.T, "(2, 64)"),
        (lambda value: value.numpy(), "ndarray"),
        (lambda value: None, "NoneType"),
        (lambda value: value.to(torch.complex64), "real floating-point numbers, got torch.complex64"),
        (lambda value: value.long(), "real floating-point numbers, got torch.int64"),
        (lambda value: value.to_sparse(), "got a sparse_coo tensor"),
    ],
)
def test_a_wrong_shape_or_type_is_named(change, came):
    found = report(lambda x, t: change(EXACT(x, t)))
    item = found.finding("calls")
    assert item.severity == "error" and came in item.message and item.remedy
    assert found.finding("truth-score").severity == "ok"


def test_a_network_of_another_dtype_is_told_from_other_failures():
    layer = torch.nn.Linear(2, 2).bfloat16()
    message = report(lambda x, t: layer(x)).finding("calls").message
    assert "raised" in message and "its weights are torch.bfloat16 on cpu" in message and "from_module" in message


def test_a_wrong_shape_of_the_energy_is_named():
    found = report(EXACT, energy=lambda x, t: EXACT.energy(x, t)[:, None])
    assert "energy returned a wrong shape" in found.finding("calls").message and "squeeze" in found.finding("calls").remedy
    assert found.finding("truth-guidance").severity == "ok"


def test_a_wrong_dtype_is_named_and_served():
    found = report(lambda x, t: EXACT(x, t).double())
    assert found.finding("calls").severity == "warning" and "float64" in found.finding("calls").message
    assert found.finding("truth-guidance").severity == "ok"


def test_a_tensor_on_another_device_is_named():
    probe = RecordedCallable(lambda x, t: torch.empty(x.shape, device="meta"), "guidance")
    assert probe(torch.zeros(3, 2), 0.5) is None  # the meta device holds no numbers to go on with
    assert [fault.kind for fault in probe.faults] == ["device"]


def test_nan_in_a_region_is_placed():
    def guidance(x, t):
        field = EXACT(x, t).clone()
        field[(x[:, 0] > 1) & (x[:, 1] > 1)] = torch.nan
        return field

    found = report(guidance)
    item = found.finding("non-finite")
    assert item.severity == "error" and 0 < item.figure < 0.6
    assert item.x[0] > 1 and item.x[1] > 1 and "box [1." in item.message
    assert found.finding("truth-guidance").severity == "ok"  # where it is finite it is exact
    assert found.finding("divergence").severity == "error"
    assert np.isnan(found.arrays["guidance"]).any() and np.isfinite(found.arrays["score"]).all()


def test_a_callable_that_needs_gradients_is_named_and_served():
    def guidance(x, t):
        x = x.requires_grad_(True)
        return -torch.autograd.grad(EXACT.energy(x, t).sum(), x)[0]

    found = report(guidance)
    assert "gradients" in found.finding("calls").message and "enable_grad" in found.finding("calls").remedy
    assert found.finding("truth-guidance").severity == "ok"


def test_a_callable_that_needs_one_time_per_row_is_named_and_served():
    found = report(lambda x, t: EXACT(x, t[:, None][:, 0]))
    assert "scalar t" in found.finding("calls").message
    assert found.finding("truth-guidance").severity == "ok"


def nowhere(x, t):
    return torch.full_like(x, torch.nan)


def randomly_late(x, t):
    return EXACT(x, t) if float(t) > 0.3 else nowhere(x, t)


@pytest.mark.parametrize("score", [None, nowhere, lambda x, t: 1e30 * x, lambda x, t: 0 * x, lambda x, t: x[:1], raising])
@pytest.mark.parametrize("support", [None, torch.ones(40, 2)])
def test_whatever_comes_a_report_comes_out(score, support):
    found = FieldDebugger(
        score=score, guidance=randomly_late, energy=lambda x, t: 0 * x[:, 0], schedule=SCHEDULE, domain=4.5, support=support,
        particles=16, steps=2, times=(0.1, 0.6),
    ).run()  # fmt: skip
    assert found.worst == "error" and "energy" in str(found)
    assert found.finding("non-finite").severity == "error"
    assert "is, at every noise level" in found.finding("energy-gradient").message


def test_what_is_handed_over_is_not_changed():
    def guidance(x, t):
        field = EXACT(x, t)
        x.zero_()  # in place on the points it was given
        return field

    found = report(guidance)
    assert found.finding("truth-guidance").figure == pytest.approx(0.0, abs=1e-6)
    assert "The guidance changes x_t or t in place" in found.finding("calls").message  # which a sampler would not survive


def test_values_that_are_not_finite_are_found_on_sampled_paths_too():
    found = report(lambda x, t: torch.where(torch.as_tensor(t > 0.9), torch.nan, EXACT(x, t)))  # beyond every level looked at
    assert found.finding("non-finite").t > 0.9 and found.finding("non-finite").severity == "error"
    assert not any("guidance gave" in item.message for item in found.findings)


def test_an_exception_that_cannot_be_printed_is_named():
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def broken(x, t):
        raise Unprintable

    assert "Unprintable" in report(broken).finding("calls").message


def test_a_probe_serves_rows_that_are_finite_and_counts_the_rest():
    probe = RecordedCallable(lambda x, t: 2 * x, "score")
    x = torch.tensor([[1.0, 2.0], [torch.nan, 0.0]])
    value = probe(x, 0.5)
    assert torch.equal(value[0], torch.tensor([2.0, 4.0])) and bool(value[1].isnan().all()) and not probe.faults


def test_one_run_is_like_another():
    first, second = (report(EXACT), report(EXACT))
    assert [item.message for item in first.findings] == [item.message for item in second.findings]
    assert np.array_equal(first.arrays["samples"], second.arrays["samples"])


@pytest.mark.parametrize("method", ["sample", "energy", "score", "guidance", "log_q"])
def test_a_truth_that_returns_nan_is_refused_by_name(method):
    def broken(self, *arguments, **settings):
        value = getattr(Mixture, method)(self, *arguments, **settings)
        return (value[0] * torch.nan, value[1]) if method == "sample" else value * torch.nan

    truth = type("Broken", (Mixture,), {method: broken}).from_points(torch.randn(20, 2), torch.ones(20), std=0.3)
    with pytest.raises(ValueError, match=rf"truth: expected finite values of \.{method} in torch.float32, .* got"):
        report(EXACT, truth=truth)


def test_energies_whose_mean_is_infinite_are_refused():
    x = torch.randn((20, 2), generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"truth: expected finite values of \.energy"):
        report(EXACT, truth=Mixture.from_points(x, 1e38 * x[:, 0].double(), std=0.3))


# -- bad input -----------------------------------------------------------------------------------------------------

GOOD = {"score": DENOISER, "guidance": EXACT, "domain": 4.5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": None, "guidance": None}, "score, guidance: expected at least one"),
        ({"score": 3}, "score: expected a callable"),
        ({"guidance": "exact"}, "guidance: expected a callable .* got str"),
        ({"energy": torch.zeros(2)}, "energy: expected a callable .* got Tensor"),
        ({"score": lambda x, t: x}, "schedule: expected a cepkit Schedule"),
        ({"schedule": VPLinear(beta_max=5.0)}, "score: expected the schedule .*beta_max=5.0"),
        ({"guidance": ExactGuidance(TOY.truth, 3.0, VPLinear(beta_max=5.0))}, "guidance: expected the schedule"),
        ({"domain": 0.0}, "domain: expected"),
        ({"domain": ((1.0, -1.0), (0.0, 1.0))}, "domain: expected .* lo < hi"),
        ({"domain": ((0.0, 0.0), -2.0)}, "domain: expected"),
        ({"domain": "everywhere"}, "domain: expected"),
        ({"domain": ((0, 1), (0, 1), (0, 1))}, "domain: expected"),
        ({"truth": TOY.truth}, "beta: expected .* got None"),
        ({"truth": TOY.truth, "beta": -1.0}, "beta: expected"),
        ({"truth": TOY, "beta": 1.0}, "truth: expected a cepkit.truth.exact.Mixture, got Toy"),
        ({"truth": TOY.truth, "beta": 1.0, "slice": Slice.axes(3)}, "truth: expected the 3 dimensions of the slice, got 2"),
        ({"slice": (0, 1)}, "slice: expected"),
        ({"times": ()}, "times: expected at least one"),
        ({"times": (0.0,)}, "times: expected"),
        ({"times": (0.5, 1.5)}, "times: expected"),
        ({"times": None}, "times: expected"),
        ({"particles": 3}, "particles: expected"),
        ({"steps": 0}, "steps: expected"),
        ({"scale": float("nan")}, "scale: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"support": torch.zeros(50, 3)}, r"support: expected shape \(..., 2\)"),
        ({"support": torch.zeros(5, 2)}, "support: expected at least 16 points"),
        ({"support": [1, 2]}, "support: expected"),
        ({"support": lambda x, t: x[:, 0]}, "support: expected a torch.Tensor"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        FieldDebugger(**{**GOOD, **settings})
