"""Settings of a run: there and back through JSON, and refused by name when they make no sense."""

import json
import math
import re
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch

from cepkit.diffusion.schedules import Schedule, VPCosine, VPLinear
from cepkit.learning import TrainingConfig

OTHER = TrainingConfig(
    beta=0.7,
    steps=7,
    seed=2**53,
    parts=("energy",),
    objective="exp-MSE",
    labels="normalized",
    pooled=False,
    groups=3,
    contrasts=5,
    denoiser_groups=6,
    denoiser_samples=8,
    learning_rate=3e-4,
    warmup=9,
    ema=0.5,
    t_min=0.02,
    width=10,
    layers=11,
    waves=12,
    gaussian_guess=False,
    schedule=VPCosine(offset=0.01, end=0.99),
)


@pytest.mark.parametrize("config", [TrainingConfig(), OTHER, TrainingConfig(schedule=VPLinear(0.2, 10.0))])
def test_a_configuration_comes_back_from_json(config):
    again = TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and type(again.schedule) is type(config.schedule)


def test_the_other_configuration_differs_in_every_setting():
    """So that the round trip above cannot lose one."""
    assert all(getattr(OTHER, entry.name) != getattr(TrainingConfig(), entry.name) for entry in fields(TrainingConfig))


def test_what_is_missing_takes_its_default():
    assert TrainingConfig.from_dict({}) == TrainingConfig() and TrainingConfig.from_dict({"steps": 3}) == TrainingConfig(steps=3)


def test_a_configuration_cannot_be_changed_and_compares_by_value():
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().steps = 3
    assert len({TrainingConfig(), TrainingConfig(), OTHER}) == 2


def test_numbers_of_any_library_become_plain_ones():
    config = TrainingConfig(steps=np.int64(5), beta=torch.tensor(2), width=8.0, learning_rate=np.float32(0.5))
    assert config == TrainingConfig(steps=5, beta=2.0, width=8, learning_rate=0.5)
    assert [type(value) for value in (config.steps, config.beta, config.width)] == [int, float, int]
    json.dumps(config.to_dict())


def test_parts_may_come_as_a_list():
    assert TrainingConfig(parts=["energy"]).parts == ("energy",)


class Straight(Schedule):
    def log_alpha(self, t):
        return -t

    def sigma_squared(self, t):
        return t

    def t_from_log_snr(self, log_snr):
        return log_snr


WHOLE = ("steps", "seed", "groups", "contrasts", "denoiser_groups", "denoiser_samples", "warmup", "width", "layers", "waves")
NUMBERS = ("beta", *WHOLE, "learning_rate", "ema", "t_min")
OUT_OF_RANGE = {
    "beta": (-1.0,),
    "steps": (0,),
    "seed": (-1, 2**64),
    "groups": (0,),
    "contrasts": (1,),
    "denoiser_groups": (0,),
    "denoiser_samples": (0,),
    "warmup": (-1,),
    "width": (0,),
    "layers": (0,),
    "waves": (-1,),
    "learning_rate": (0.0, -1.0, 1e3),
    "ema": (-0.1, 1.0),
    "t_min": (0.0, 0.9),
}
BAD = [
    *((name, value) for name in NUMBERS for value in ("7", None, True, [7], math.nan)),
    *(("steps", value) for value in (b"7", np.True_, (7,), {}, math.inf, 7j)),
    *((name, 2.5) for name in WHOLE),
    *((name, value) for name, values in OUT_OF_RANGE.items() for value in values),
    *((name, value) for name in ("pooled", "gaussian_guess") for value in (1, 0, "yes", None, [])),
    *(("objective", value) for value in ("cep", "", None, 3, ["CEP"], True)),
    *(("labels", value) for value in ("softmax", None, 1, ["normalized"])),
    *(("parts", v) for v in ("energy", (), [], None, 3, ("energy", "energy"), ("critic",), (["energy"],), {"energy": 1}, True)),
    *(("schedule", value) for value in ("VPLinear", None, VPLinear, Straight(), 3)),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)))
def test_a_setting_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected .*got"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"stepz": 3}, "^config key: expected one of .*got 'stepz'; did you mean 'steps'"),
        ([], "^config: expected a mapping"),
        (None, "^config: expected a mapping"),
        ("steps", "^config: expected a mapping"),
        ({"schedule": "VPLinear"}, "^schedule: expected one of VPLinear, VPCosine, or a mapping"),
        ({"schedule": {}}, "^schedule: expected one of VPLinear, VPCosine, or a mapping"),
        ({"schedule": {"name": "Linear"}}, "^schedule name: expected .*did you mean 'VPLinear'"),
        ({"schedule": {"name": ["VPLinear"]}}, "^schedule name: expected"),
        ({"schedule": {"name": "VPLinear", "beta": 1}}, "^schedule key: expected"),
        ({"schedule": {"name": "VPLinear", "offset": 0.1}}, "^schedule key: expected"),
        ({"schedule": {"name": "VPLinear", "beta_min": "0.1"}}, "^beta_min: expected"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_by_name(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        TrainingConfig.from_dict(values)
