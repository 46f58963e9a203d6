"""Networks of others as denoisers: modules of any parametrisation, and a UNet with its scheduler."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from checks import eight_gaussians, seeded, toy_named
from torch import nn

from cepkit.debugger import DiscreteSchedule, FieldDebugger, Slice, from_diffusers, from_module
from cepkit.diffusion.denoisers import predict
from cepkit.diffusion.process import convert
from cepkit.diffusion.sampling import sample, sampling_steps, time_grid
from cepkit.diffusion.schedules import Schedule, VPLinear
from cepkit.truth.fields import ExactDenoiser

SCHEDULE = VPLinear()
TRUTH = toy_named("8gaussians").truth
EXACT = ExactDenoiser(TRUTH, SCHEDULE)


class Network(nn.Module):
    """Insists on one time per row and on its own dtype, as networks do, and predicts exactly."""

    def __init__(self, parametrisation, factor=1.0):
        super().__init__()
        self.parametrisation, self.factor = parametrisation, factor
        self.weight = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, t):
        assert x.ndim == 2 and t.shape == (len(x),) and x.dtype == t.dtype == self.weight.dtype
        value = convert(TRUTH.score(x, t / self.factor, SCHEDULE), "score", self.parametrisation, x, t / self.factor, SCHEDULE)
        return self.dropout(self.weight * value)


@pytest.mark.parametrize("kind", ["eps", "score", "x0", "v"])
def test_a_module_is_a_denoiser_of_any_parametrisation(kind):
    network = Network(kind, factor=1000.0)
    denoiser = from_module(network, SCHEDULE, kind, time=lambda t: 1000 * t)
    x = torch.randn((4, 5, 2), generator=seeded())
    for t in (0.3, torch.full((4, 5), 0.3)):
        torch.testing.assert_close(predict(denoiser, "score", x, t), EXACT(x, 0.3), rtol=1e-3, atol=1e-4)
    assert predict(denoiser, "score", x.double(), 0.3).dtype == torch.float64


def test_a_module_is_left_in_the_mode_it_was_found_in_and_without_a_graph():
    network = Network("eps").train()
    network.dropout.eval()  # a part that someone froze
    denoiser = from_module(network, SCHEDULE)
    x = torch.randn((6, 2), generator=seeded())
    first = denoiser(x, 0.4)
    assert network.training and not network.dropout.training
    assert not first.requires_grad and torch.equal(first, denoiser(x, 0.4))  # no dropout


@pytest.mark.parametrize("bind", [lambda net: lambda x, t: net(x, t), lambda net: partial(net), lambda net: net.forward])
def test_a_module_inside_a_callable_runs_in_evaluation_mode(bind):
    network = Network("eps").train()
    denoiser = from_module(bind(network), SCHEDULE)
    x = torch.randn((6, 2), generator=seeded())
    assert torch.equal(denoiser(x, 0.4), denoiser(x, 0.4)) and network.training and network.dropout.training


def test_a_half_network_is_given_its_time_with_all_digits():
    seen = []

    class Half(nn.Linear):
        def forward(self, x, t):
            seen.append(t)
            return super().forward(x)

    network = Half(2, 2).bfloat16()
    x = torch.randn((3, 2), generator=seeded())
    assert from_module(network, SCHEDULE, time=lambda t: 999 * t)(x, 1.0).dtype == torch.float32
    assert seen[-1].dtype == torch.float32 and seen[-1].tolist() == [999.0] * 3  # 1000 in bfloat16
    from_module(network, SCHEDULE, time=lambda t: t.bfloat16())(x, 1.0)
    assert seen[-1].dtype == torch.bfloat16  # a network that wants it so can have it so


def test_gradients_flow_to_the_points_if_they_are_asked_for():
    denoiser = from_module(Network("x0"), SCHEDULE, "x0")
    x = torch.randn((6, 2), generator=seeded(), requires_grad=True)
    (gradient,) = torch.autograd.grad(denoiser(x, 0.4).sum(), x)
    assert float(gradient.norm()) > 0


def test_a_wrapped_module_passes_the_debugger():
    network = Network("eps")
    found = FieldDebugger(score=from_module(network, SCHEDULE), domain=4.5, truth=TRUTH, beta=3.0, particles=128, steps=20).run()
    assert found.worst == "ok", str(found)
    wrong = from_module(network, SCHEDULE, "score")
    found = FieldDebugger(score=wrong, domain=4.5, particles=64, steps=4).run()
    assert "parametrisation" in found.causes and "eps" in str(found)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_module(3, SCHEDULE), "module: expected"),
        (lambda: from_module(nn.Identity(), "linear"), "schedule: expected"),
        (lambda: from_module(nn.Identity(), SCHEDULE, "epsilon"), "parametrisation: expected one of"),
        (lambda: from_module(nn.Identity(), SCHEDULE, time=1000), "time: expected a callable"),
        (lambda: from_module(lambda x, t: x[:, :1], SCHEDULE)(torch.zeros(3, 2), 0.5), r"module: expected .*\(3, 2\)"),
        (lambda: from_module(lambda x, t: None, SCHEDULE)(torch.zeros(3, 2), 0.5), "module: expected a tensor"),
    ],
)
def test_a_wrong_module_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- discrete noise levels -----------------------------------------------------------------------------------------


def levels(count=1000):
    """alphas_cumprod of DDPM's linear betas, for `count` levels."""
    return (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)[:: 1000 // count]


def test_a_discrete_schedule_has_the_given_levels_and_an_exact_inverse():
    cumulative = levels()
    schedule = DiscreteSchedule(cumulative)
    t = torch.arange(1000, dtype=torch.float64) / 999
    torch.testing.assert_close(schedule.alpha(t) ** 2, cumulative, rtol=1e-12, atol=0)
    torch.testing.assert_close(schedule.sigma_squared(t), 1 - cumulative, rtol=1e-10, atol=0)
    torch.testing.assert_close(schedule.index(t).round(), torch.arange(1000, dtype=torch.float64))
    u = torch.rand(5000, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(schedule.t_from_log_snr(schedule.log_snr(u)), u, rtol=0, atol=1e-12)
    assert bool((schedule.log_snr(u.sort().values).diff() < 0).all())
    torch.testing.assert_close(schedule.alpha(u) ** 2 + schedule.sigma_squared(u), torch.ones_like(u))
    assert isinstance(schedule, Schedule) and schedule == DiscreteSchedule(tuple(cumulative.tolist()))
    assert schedule.alpha(torch.tensor(0.5)).dtype == torch.float32
    assert float(schedule.t_from_log_snr(50.0)) == 0.0
    with pytest.raises(ValueError, match="log_snr: expected at least"):
        schedule.t_from_log_snr(-30.0)


@pytest.mark.parametrize("bad", [[0.5], [0.5, 0.5], [0.5, 0.6], [0.9, 0.0], [1.0, 0.5], [[0.9, 0.5]], "levels"])
def test_levels_that_do_not_fall_are_refused(bad):
    with pytest.raises(ValueError, match="alphas_cumprod: expected"):
        DiscreteSchedule(bad)


def test_sampling_with_a_discrete_schedule_hits_a_gaussian():
    schedule = DiscreteSchedule(levels())
    x = toy_named("8gaussians").truth
    found = sample(ExactDenoiser(x, schedule), (2000, 2), steps=30, generator=seeded())
    assert float((found.var(0) - x.sample(20000, generator=seeded(1))[0].var(0)).abs().max()) < 0.25


class UNet(nn.Module):
    """Predicts exactly for images whose pixels are independent normals of standard deviation 0.5."""

    config = SimpleNamespace(in_channels=3, sample_size=4)
    std = 0.5

    def __init__(self, kind, cumulative, wrap):
        super().__init__()
        self.kind, self.cumulative, self.wrap, self.weight = kind, cumulative, wrap, nn.Parameter(torch.ones(()))

    def forward(self, x, timestep):
        assert x.shape[1:] == (3, 4, 4) and timestep.shape == (len(x),)
        schedule = DiscreteSchedule(self.cumulative)
        t = timestep.double() / 999
        alpha, sigma = (f(t).to(x)[:, None] for f in (schedule.alpha, schedule.sigma))
        rows = x.flatten(1)
        score = -rows / (alpha**2 * self.std**2 + sigma**2)
        return self.wrap(convert(score, "score", self.kind, rows, t, schedule).reshape(x.shape))


@pytest.mark.parametrize(
    ("prediction", "kind", "wrap"),
    [
        ("epsilon", "eps", lambda v: SimpleNamespace(sample=v)),
        ("sample", "x0", lambda v: (v,)),
        ("v_prediction", "v", lambda v: v),
        ("epsilon", "eps", lambda v: SimpleNamespace(sample=torch.cat([v, torch.zeros_like(v)], 1))),  # with learned variances
    ],
)
def test_a_unet_with_a_scheduler_is_a_denoiser(prediction, kind, wrap):
    cumulative = levels()
    scheduler = SimpleNamespace(alphas_cumprod=cumulative.float(), config={"prediction_type": prediction})
    denoiser, schedule = from_diffusers(UNet(kind, scheduler.alphas_cumprod, wrap), scheduler)
    assert denoiser.schedule is schedule and denoiser.parametrisation == kind
    x = torch.randn((7, 48), generator=seeded())
    for t in (200 / 999, 0.61803):
        alpha, sigma = schedule.alpha(t).float(), schedule.sigma(t).float()
        expected = -x / (alpha**2 * 0.25 + sigma**2)
        torch.testing.assert_close(predict(denoiser, "score", x, t), expected, rtol=1e-3, atol=1e-4)
    drawn = sample(denoiser, (500, 48), steps=20, generator=seeded())
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.03)
    if prediction == "epsilon":
        data = 0.5 * torch.randn((400, 48), generator=seeded(2))
        plane, few = Slice.pca(data), {"particles": 64, "times": (0.1, 0.5), "steps": 20}
        found = FieldDebugger(score=denoiser, domain=3.0, slice=plane, support=data, **few).run()
        assert found.worst == "ok", str(found)


@pytest.mark.parametrize(
    ("unet", "scheduler", "message"),
    [
        (3, SimpleNamespace(), "unet: expected"),
        (nn.Identity(), SimpleNamespace(), "scheduler: expected an object with alphas_cumprod"),
        (nn.Identity(), SimpleNamespace(alphas_cumprod=levels(), config={"prediction_type": "flow"}), "prediction_type: exp"),
        (nn.Identity(), SimpleNamespace(alphas_cumprod=levels(), config={"prediction_type": "sample"}), "shape: expected"),
    ],
)
def test_what_is_no_unet_or_scheduler_is_refused(unet, scheduler, message):
    with pytest.raises(ValueError, match=message):
        from_diffusers(unet, scheduler)


def test_a_real_diffusers_unet_and_scheduler():
    diffusers = pytest.importorskip("diffusers", reason="diffusers (pip install -e '.[images]')")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    for prediction in ("epsilon", "v_prediction", "sample"):
        scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000, prediction_type=prediction, clip_sample=False)
        denoiser, schedule = from_diffusers(unet, scheduler)
        x0 = torch.randn((5, 1, 8, 8), generator=seeded())
        noise = torch.randn((5, 1, 8, 8), generator=seeded(1))
        index = torch.tensor([0, 10, 300, 700, 999])
        t = index.double() / 999
        alpha, sigma = (f(t).float()[:, None] for f in (schedule.alpha, schedule.sigma))
        x_t = scheduler.add_noise(x0, noise, index)
        torch.testing.assert_close(alpha * x0.flatten(1) + sigma * noise.flatten(1), x_t.flatten(1), rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            expected = unet.eval()(x_t, index).sample.flatten(1)
        torch.testing.assert_close(denoiser(x_t.flatten(1), t), expected, rtol=1e-4, atol=1e-5)
        # the scheduler's own denoised point agrees with the conversion
        for i in (10, 700):
            with torch.no_grad():
                output = unet(x_t, torch.full((5,), i)).sample
            wanted = scheduler.step(output, i, x_t).pred_original_sample.flatten(1)
            torch.testing.assert_close(predict(denoiser, "x0", x_t.flatten(1), i / 999), wanted, rtol=1e-3, atol=1e-3)
    assert sample(denoiser, (3, 64), steps=5, generator=seeded()).shape == (3, 64)
    found = FieldDebugger(score=denoiser, domain=3.0, slice=Slice.axes(64), particles=16, steps=3, times=(0.1, 0.5)).run()
    assert found.finding("calls").severity == "ok"  # an untrained network is called without a mistake, whatever else it does


def test_a_conditioned_diffusers_unet_in_half_precision_is_bound_by_a_lambda():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=4, attention_head_dim=4,
    ).bfloat16()  # fmt: skip
    text = torch.randn((1, 3, 4), generator=seeded()).bfloat16()
    scheduler = diffusers.DDIMScheduler(prediction_type="epsilon")
    denoiser, _ = from_diffusers(lambda x, t: unet(x, t, text.expand(len(x), -1, -1)), scheduler, shape=(2, 8, 8))
    x = torch.randn((3, 128), generator=seeded(1))
    with torch.no_grad():
        images = x.reshape(3, 2, 8, 8).bfloat16()
        expected = unet(images, torch.full((3,), 999), text.expand(3, -1, -1)).sample.float().flatten(1)
        rounded = unet(images, torch.full((3,), 1000), text.expand(3, -1, -1)).sample.float().flatten(1)
    assert torch.equal(denoiser(x, 1.0), expected) and not torch.equal(expected, rounded)  # 999 is 1000 in bfloat16


def test_a_diffusers_scheduler_without_signal_at_its_end_is_refused():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match="alphas_cumprod: expected"):
        from_diffusers(nn.Identity(), scheduler, shape=(1, 8, 8))


# -- the end of a walk over few levels ---------------------------------------------------------------------------------


def few_levels(count):
    """The paper's schedule at `count` levels, the least of which is 1 / count."""
    return DiscreteSchedule(SCHEDULE.alpha((torch.arange(count, dtype=torch.float64) + 1) / count) ** 2)


def test_a_model_of_few_levels_ends_on_the_denoised_point():
    schedule, noise = few_levels(5), torch.randn((4000, 2), generator=seeded())
    walked = list(sampling_steps(ExactDenoiser(TRUTH, schedule), noise, steps=25))
    assert len(walked) == 26 and [step.t for step in walked] == time_grid(schedule, 25).tolist() and walked[-1].t == 0.0
    torch.testing.assert_close(walked[-1].x, TRUTH.posterior_mean(walked[-2].x, 1e-3, schedule), rtol=1e-3, atol=1e-3)
    centres = torch.tensor(eight_gaussians()[0], dtype=torch.float32)

    def spread(x):
        return float(torch.cdist(x, centres).min(1).values.square().mean())

    right = spread(TRUTH.sample(20_000, generator=seeded(1), dtype=torch.float32)[0])
    assert abs(spread(walked[-1].x) - right) < 0.1 * abs(
        spread(walked[-2].x) - right
    )  # 0.27 instead of 0.92, where 0.25 is right


def test_one_step_of_a_model_of_few_levels_is_its_first_answer():
    schedule, noise = few_levels(5), torch.randn((4, 2), generator=seeded())
    *_, last = sampling_steps(ExactDenoiser(TRUTH, schedule), noise, steps=1)
    torch.testing.assert_close(last.x, TRUTH.posterior_mean(noise, 1.0, schedule), rtol=1e-3, atol=1e-3)
