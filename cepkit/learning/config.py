"""What decides a training run: one frozen configuration, written to and read from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from cepkit.diffusion.schedules import Schedule, VPCosine, VPLinear
from cepkit.learning.losses import LABELS
from cepkit.validation import check_beta, check_keys, check_name, check_number

OBJECTIVES = ("CEP", "MSE", "exp-MSE")
PARTS = ("denoiser", "energy")
LARGEST_SEED = 2**53  # what JSON and a float hold exactly
_WHOLE_NUMBERS = {
    "steps": 1, "seed": 0, "groups": 1, "contrasts": 2, "denoiser_groups": 1, "denoiser_samples": 1,
    "warmup": 0, "width": 1, "layers": 1, "waves": 0,
}  # fmt: skip
_SCHEDULES = {kind.__name__: kind for kind in (VPLinear, VPCosine)}


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run; the same settings, data and machine give the same weights to the bit.

    Attributes:
        beta: inverse temperature of the target p_0 ∝ q_0 exp(-beta E).
        steps: optimiser steps of each network.
        seed: of the initial weights and of every random draw.
        parts: which networks to train, "denoiser" and "energy".
        objective: what the energy net is trained on: "CEP", "MSE" (the mean energy) or "exp-MSE".
        labels: of CEP, "unnormalized" or "normalized".
        pooled: average each label over its group, see `cepkit.learning.losses.pooled_energy`; not for small `contrasts`.
        groups, contrasts: each energy step draws `groups` times t, and `contrasts` (K) points for each.
        denoiser_groups, denoiser_samples: the same for the denoiser.
        learning_rate: the highest; it rises over `warmup` steps and falls to 0 along a cosine.
        ema: decay of the moving average of the weights that is kept.
        t_min: t runs over [t_min, 1], as t_min + (1 - t_min) u^2 with u uniform and stratified: more often near the data.
        width, layers, waves: of both networks (`cepkit.learning.networks`).
        gaussian_guess: let the energy net start from a `GaussianGuess`; never used for the mean energy, whose limit differs.
        schedule: the noise schedule.
    """

    beta: float = 3.0
    steps: int = 2500
    seed: int = 0
    parts: tuple[str, ...] = PARTS
    objective: str = "CEP"
    labels: str = "unnormalized"
    pooled: bool = True
    groups: int = 16
    contrasts: int = 128
    denoiser_groups: int = 32
    denoiser_samples: int = 32
    learning_rate: float = 1e-2
    warmup: int = 50
    ema: float = 0.99
    t_min: float = 1e-3
    width: int = 64
    layers: int = 3
    waves: int = 16
    gaussian_guess: bool = True
    schedule: Schedule = field(default_factory=VPLinear)

    def __post_init__(self) -> None:
        numbers = {"beta": check_beta(self.beta)}
        for name, low in _WHOLE_NUMBERS.items():
            numbers[name] = check_number(getattr(self, name), name=name, low=low, high=LARGEST_SEED, integer=True)
        numbers["learning_rate"] = check_number(self.learning_rate, name="learning_rate", low=1e-12, high=10.0)
        numbers["ema"] = check_number(self.ema, name="ema", low=0.0, high=0.999999)
        numbers["t_min"] = check_number(self.t_min, name="t_min", low=1e-6, high=0.5)
        for name, value in numbers.items():  # plain numbers, whatever came: 100.0, NumPy's or a tensor's
            object.__setattr__(self, name, value)
        check_name(self.objective, OBJECTIVES, name="objective")
        check_name(self.labels, LABELS, name="labels")
        parts = tuple(self.parts) if isinstance(self.parts, (tuple, list)) else ()
        if not parts or len({check_name(part, PARTS, name="parts") for part in parts}) != len(parts):
            raise ValueError(f"parts: expected some of {PARTS}, each once, got {self.parts!r}")
        object.__setattr__(self, "parts", parts)
        for name in ("pooled", "gaussian_guess"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        if type(self.schedule) not in _SCHEDULES.values():
            raise ValueError(f"schedule: expected one of {', '.join(_SCHEDULES)}, got {self.schedule!r}")

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        schedule = {"name": type(self.schedule).__name__, **asdict(self.schedule)}
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return values | {"schedule": schedule, "parts": list(self.parts)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> TrainingConfig:
        """The configuration that `to_dict` described; missing keys take their defaults.

        Raises:
            ValueError: an unknown key, by name, or a value out of range.
        """
        check_keys(values, cls, name="config")
        return cls(**{key: _schedule(value) if key == "schedule" else value for key, value in values.items()})


def _schedule(values: object) -> Schedule:
    if not isinstance(values, Mapping) or "name" not in values:
        raise ValueError(f"schedule: expected a mapping with a name, got {values!r}")
    kind = _SCHEDULES[check_name(values["name"], _SCHEDULES, name="schedule name")]
    settings = {key: value for key, value in values.items() if key != "name"}
    check_keys(settings, kind, name="schedule")
    return kind(**settings)
