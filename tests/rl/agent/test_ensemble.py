"""Several seeds together: equal to each alone, kept as single runs, killed and resumed."""

import pytest
import torch
from qgpo_problems import finish, tiny, walk

from cepkit.learning.checkpoints import load_tensors
from cepkit.rl.agent.ensemble import Ensemble
from cepkit.rl.agent.qgpo_run import load_run, resume_run, start_run

SEEDS = (0, 3)


def weights(folder, name):
    return load_tensors(folder / f"{name}.safetensors")[0]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    finish(Ensemble(folder, tiny(), walk(), SEEDS, save_every=3))
    return folder


@pytest.mark.parametrize("seed", SEEDS)
def test_each_member_ends_where_it_would_alone(tmp_path, together, seed):
    finish(start_run(tmp_path, tiny(seed=seed), walk()))
    for name in ("behaviour", "critic", "cloning"):
        alone, member = weights(tmp_path, name), weights(together / f"seed-{seed}", name)
        assert alone.keys() == member.keys()
        for key, value in alone.items():
            torch.testing.assert_close(member[key], value, atol=2e-4, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}")


def test_members_differ(together):
    first, second = (weights(together / f"seed-{seed}", "critic") for seed in SEEDS)
    assert not torch.equal(first["critic.net.last.weight"], second["critic.net.last.weight"])


def test_members_are_runs_of_their_own(together):
    qgpo = load_run(together / "seed-3")
    assert qgpo.config == tiny(seed=3) and list(resume_run(together / "seed-3", walk())) == []


@pytest.mark.parametrize(("stage", "index"), [("behaviour", 5), ("support", 2), ("critic", 9), ("cloning", 4)])
def test_a_killed_ensemble_ends_with_the_same_weights(tmp_path, together, stage, index):
    steps = iter(Ensemble(tmp_path, tiny(), walk(), SEEDS, save_every=3))
    for step in steps:
        if step.stage == stage and step.index == index:
            break
    steps.close()
    finish(Ensemble(tmp_path, tiny(), walk(), SEEDS))
    for seed in SEEDS:
        for name in ("behaviour", "critic", "cloning"):
            path = f"seed-{seed}/{name}.safetensors"
            assert (tmp_path / path).read_bytes() == (together / path).read_bytes()


def test_seeds_that_repeat_and_folders_of_other_runs_are_refused(tmp_path, together):
    with pytest.raises(ValueError, match="seeds: expected at least one whole number, each once"):
        Ensemble(tmp_path, tiny(), walk(), (1, 1))
    with pytest.raises(ValueError, match="another configuration: beta"):
        Ensemble(together, tiny(beta=2.0), walk(), SEEDS)


def test_members_at_other_steps_are_refused(tmp_path):
    steps = iter(Ensemble(tmp_path, tiny(), walk(), SEEDS, save_every=3))
    for step in steps:
        if step.index == 4:
            break
    steps.close()
    (tmp_path / "seed-3" / "behaviour.state.safetensors").unlink()
    with pytest.raises(ValueError, match="got 1 of 2 begun, at steps 3; resume them one by one"):
        finish(Ensemble(tmp_path, tiny(), walk(), SEEDS))
