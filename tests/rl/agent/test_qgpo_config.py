"""Settings: presets hold what the paper says, round trips, and what is refused by name."""

import json
from dataclasses import fields

import pytest

from cepkit.rl.agent.qgpo_config import BATCH, BETA_Q, PRESETS, QGPOConfig
from cepkit.rl.data.scores import FAMILIES


def test_the_papers_settings():
    locomotion, antmaze = PRESETS["locomotion"], PRESETS["antmaze"]
    assert locomotion.behaviour_widths == (512, 256, 128) and locomotion.behaviour_batch == 4096
    assert (locomotion.support_actions, antmaze.support_actions) == (16, 32)
    assert (locomotion.critic_steps, locomotion.energy_steps, BATCH) == (500_000, 1_000_000, 256)
    assert (locomotion.beta, BETA_Q, locomotion.tau, locomotion.discount) == (3.0, 1.0, 0.005, 0.99)
    assert not locomotion.pooled and locomotion.together
    assert antmaze.scales == (1.0, 1.5, 2.0, 2.5, 3.0, 4.0) and antmaze.family == "antmaze"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    config = PRESETS[name]
    assert QGPOConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config and config.family in FAMILIES


def test_every_field_is_documented():
    assert all(f"{field.name}" in QGPOConfig.__doc__ for field in fields(QGPOConfig))


def test_another_seed_changes_every_stream_and_nothing_else():
    config = PRESETS["maze"]
    other = config.with_seed(3)
    assert other.with_seed(0) == config
    assert all(config.stream(name) != other.stream(name) for name in ("behaviour", "support", "critic", "cloning"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bata": 3.0}, "config key: .*bata.*did you mean 'beta'"),
        ({"beta": -1.0}, "beta: expected"),
        ({"discount": 1.0}, "discount: expected"),
        ({"support_actions": 1}, "support_actions: expected"),
        ({"behaviour_widths": []}, "behaviour_widths: expected"),
        ({"backup": "expectile"}, "backup: expected 'softmax', the only value in this version, got 'expectile'"),
        ({"q_scale": "max"}, "q_scale: expected"),
        ({"together": 1}, "together: expected True or False"),
        ({"family": "locomotoin"}, "did you mean 'locomotion'"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        QGPOConfig.from_dict(settings)


def test_settings_of_earlier_versions_are_accepted_where_they_hold_what_is_now_fixed():
    earlier = {"beta_q": 1.0, "backup": "softmax", "support_method": "dpmpp2m", "critic_batch": 256, "compile": False}
    assert QGPOConfig.from_dict({"beta": 2.0, **earlier}) == QGPOConfig(beta=2.0)
