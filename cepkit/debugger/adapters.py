"""Other people's networks as denoisers: any torch module, and a UNet with its scheduler from the diffusers library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from cepkit.calling import check_field, evaluation_mode, modules_of
from cepkit.diffusion.denoisers import FunctionDenoiser
from cepkit.diffusion.schedules import Schedule
from cepkit.validation import as_float64, check_name, check_time, check_time_shape

_PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def from_module(
    module: Callable, schedule: Schedule, parametrisation: str = "eps", *, time: Callable[[Tensor], Tensor] = lambda t: t
) -> FunctionDenoiser:
    """A network f(x (n, D), t (n,)) -> (n, D) as a denoiser.

    A scalar t is spread over the batch, leading dimensions are flattened, and x has the network's own dtype. Modules run in
    evaluation mode and are left as they were. Gradients are recorded only if x_t requires them.

    Args:
        module: a torch module, or a callable that uses one, such as a lambda that binds a condition.
        parametrisation: what it predicts: "eps", "score", "x0" or "v".
        time: from t in [0, 1], float64 (n,), to what the network wants, such as ``lambda t: 1000 * t``. A result in float64 is
            rounded to the network's dtype, but to no less than float32; any other dtype is passed as it is.

    Raises:
        ValueError: not callables, not a schedule, or an unknown parametrisation.
    """
    if not callable(module):
        raise ValueError(f"module: expected a torch module or callable (x, t) -> tensor, got {type(module).__name__}")
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule: expected a cepkit Schedule such as VPLinear(), got {type(schedule).__name__}")
    if not callable(time):
        raise ValueError(f"time: expected a callable t -> what the network wants, got {type(time).__name__}")

    def function(x_t: Tensor, t: Tensor | float) -> Tensor:
        times = check_time_shape(check_time(t), x_t.shape[:-1]).to(x_t.device).expand(x_t.shape[:-1])
        times = time(times.reshape(-1).double())
        modules = modules_of(module)
        dtype = next((p.dtype for inner in modules for p in inner.parameters() if p.is_floating_point()), x_t.dtype)
        if times.dtype == torch.float64:  # the embedding of the time needs all its digits, in a half network too
            times = times.to(torch.promote_types(dtype, torch.float32))
        rows = x_t.reshape(-1, x_t.shape[-1])
        with evaluation_mode(modules), torch.set_grad_enabled(torch.is_grad_enabled() and x_t.requires_grad):
            value = module(rows.to(dtype), times)
        if isinstance(value, Tensor) and value.layout == torch.strided and value.numel() == x_t.numel():
            value = value.reshape(x_t.shape)
        return check_field(value, x_t, "module")

    return FunctionDenoiser(function, schedule, parametrisation)


@dataclass(frozen=True)
class DiscreteSchedule(Schedule):
    """The schedule of a model trained on T discrete noise levels: index i lies at t = i / (T - 1).

    Between the levels log_snr is interpolated linearly in t, so it falls strictly and its inverse is exact. At t = 0 is the
    model's least noise, not none; samplers go on from there to the denoised point.

    Args:
        alphas_cumprod: alpha^2 at each level, strictly falling in (0, 1), at least two.
    """

    alphas_cumprod: tuple[float, ...]
    _nodes: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = as_float64(self.alphas_cumprod, "alphas_cumprod").cpu()
        falling = values.ndim == 1 and len(values) >= 2 and bool((values.diff() < 0).all())
        if not falling or not 0.0 < float(values[-1]) or not float(values[0]) < 1.0:
            raise ValueError(
                "alphas_cumprod: expected at least two strictly falling numbers in (0, 1), such as a scheduler's without "
                f"zero terminal signal, got shape {tuple(values.shape)}"
                + (f" from {float(values.max()):g} to {float(values.min()):g}" if values.numel() else "")
            )
        object.__setattr__(self, "alphas_cumprod", tuple(values.tolist()))
        object.__setattr__(self, "_nodes", values.log() - torch.log1p(-values))

    def index(self, t: Tensor) -> Tensor:
        """The index of the noise level at t, whole at the levels the model was trained on."""
        return t * (len(self.alphas_cumprod) - 1)

    def log_snr(self, t: Tensor | float) -> Tensor:
        t = check_time(t)
        nodes = self._nodes.to(t.device)
        at = self.index(t.double())
        low = at.floor().long().clamp(0, len(nodes) - 2)
        return torch.lerp(nodes[low], nodes[low + 1], at - low).to(t.dtype)

    def t_from_log_snr(self, log_snr: Tensor | float) -> Tensor:
        """The time of this log_snr; values above that of the model's least noise give 0."""
        log_snr = self._reachable(log_snr)
        rising = self._nodes.flip(0).to(log_snr.device)
        wanted = log_snr.double().clamp(rising[0], rising[-1])
        high = torch.searchsorted(rising, wanted.contiguous()).clamp(1, len(rising) - 1)
        share = (wanted - rising[high - 1]) / (rising[high] - rising[high - 1])
        last = len(rising) - 1
        return ((last - (high - 1 + share)) / last).to(log_snr.dtype)

    def log_alpha(self, t: Tensor | float) -> Tensor:
        return -softplus(-self.log_snr(t), threshold=50.0) / 2

    def sigma_squared(self, t: Tensor | float) -> Tensor:
        return torch.sigmoid(-self.log_snr(t))


def from_diffusers(
    unet: Callable, scheduler: Any, *, shape: Sequence[int] | None = None
) -> tuple[FunctionDenoiser, DiscreteSchedule]:
    """A diffusers UNet and its scheduler as a denoiser of flattened images (..., C * H * W), and its schedule.

    Args:
        unet: called as ``unet(x (n, C, H, W), timestep (n,))``; returns a tensor, an object with `.sample`, or a tuple.
            Bind conditions such as text first, with ``lambda x, t: unet(x, t, encoder_hidden_states=...)`` and `shape`.
        scheduler: with `alphas_cumprod` and `config.prediction_type` in epsilon, sample, v_prediction.
        shape: (C, H, W); read from ``unet.config`` when absent.

    Raises:
        ValueError: one of these is missing or unknown.
    """
    if not callable(unet):
        raise ValueError(f"unet: expected a module or callable (x, timestep), got {type(unet).__name__}")
    levels = getattr(scheduler, "alphas_cumprod", None)
    if levels is None:
        raise ValueError(f"scheduler: expected an object with alphas_cumprod, got {type(scheduler).__name__}")
    kind = check_name(_read_config(scheduler, "prediction_type"), _PREDICTIONS, name="scheduler.config.prediction_type")
    if shape is None:
        channels, side = _read_config(unet, "in_channels"), _read_config(unet, "sample_size")
        shape = (channels, side, side) if isinstance(side, int) else (channels, *(side or ()))
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape: expected (C, H, W), given or as in_channels and sample_size of unet.config, got {tuple(shape)}")
    schedule = DiscreteSchedule(levels)

    def flat(x: Tensor, timestep: Tensor) -> Tensor:
        value = unet(x.reshape(-1, *shape), timestep)
        value = getattr(value, "sample", value)
        value = value[0] if isinstance(value, (tuple, list)) else value
        variance_follows = isinstance(value, Tensor) and value.ndim > 1 and value.shape[1] == 2 * shape[0]
        return value[:, : shape[0]] if variance_follows else value

    return from_module(flat, schedule, _PREDICTIONS[kind], time=schedule.index), schedule


def _read_config(owner: object, name: str) -> Any:
    """An entry of an object's `config`, which may be a mapping or have attributes; None where there is none."""
    config = getattr(owner, "config", None)
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)
