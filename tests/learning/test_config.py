"""Settings of a run: there and back through JSON, and refused by name when they make no sense."""

import json
import math
import re
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch

from cepkit.diffusion.schedules import VPLinear
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
    width=10,
    layers=11,
    waves=12,
    gaussian_guess=False,
)


@pytest.mark.parametrize("config", [TrainingConfig(), OTHER])
def test_a_configuration_comes_back_from_json(config):
    again = TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config


def test_the_other_configuration_differs_in_every_setting():
    """So that the round trip above cannot lose one."""
    assert all(getattr(OTHER, entry.name) != getattr(TrainingConfig(), entry.name) for entry in fields(TrainingConfig))


def test_settings_of_earlier_versions_are_accepted_where_they_hold_what_is_now_fixed():
    schedule = {"name": "VPLinear", "beta_min": 0.1, "beta_max": 20.0}
    earlier = {"warmup": 50, "ema": 0.99, "t_min": 0.001, "schedule": schedule}
    config = TrainingConfig.from_dict({"steps": 3, **earlier})
    assert config == TrainingConfig(steps=3) and config.schedule == VPLinear(schedule["beta_min"], schedule["beta_max"])


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


WHOLE = ("steps", "seed", "groups", "contrasts", "denoiser_groups", "denoiser_samples", "width", "layers", "waves")
NUMBERS = ("beta", *WHOLE, "learning_rate")
OUT_OF_RANGE = {
    "beta": (-1.0,),
    "steps": (0,),
    "seed": (-1, 2**64),
    "groups": (0,),
    "contrasts": (1,),
    "denoiser_groups": (0,),
    "denoiser_samples": (0,),
    "width": (0,),
    "layers": (0,),
    "waves": (-1,),
    "learning_rate": (0.0, -1.0, 1e3),
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
        ({"schedule": "VPLinear"}, "^schedule: expected .*'VPLinear'.*, the only value in this version, got 'VPLinear'"),
        ({"schedule": {"name": "VPCosine", "offset": 0.1}}, "^schedule: expected .*got"),
        ({"ema": 0.5}, "^ema: expected 0.99, the only value in this version, got 0.5"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_by_name(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        TrainingConfig.from_dict(values)
