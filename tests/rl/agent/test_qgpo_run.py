"""A run in a folder: killed in every stage and resumed to the bit, damaged, refused."""

import json

import pytest
import torch
from qgpo_problems import finish, tiny, walk

from cepkit.learning.checkpoints import load_tensors, save_tensors
from cepkit.rl.agent.qgpo_run import STAGES, load_run, resume_run, start_run


def results(folder):
    """What a finished run leaves, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def stop_at(run, stage, index):
    """Train to a step of a stage, then drop the run as a kill would."""
    steps = iter(run)
    for step in steps:
        if step.stage == stage and step.index == index:
            break
    steps.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qgpo") / "run"
    finish(start_run(folder, tiny(), walk(), save_every=3))
    return folder


def test_what_a_finished_run_leaves(finished):
    names = sorted(results(finished))
    assert [name.split("-")[0].split(".")[0] for name in names] == ["behaviour", "cloning", "critic", "support"]
    assert sorted(path.name for path in (finished / "log").iterdir()) == sorted(STAGES)
    written = json.loads((finished / "config.json").read_text())
    assert written["data"]["sha256"] == walk().fingerprint() and written["data"]["name"] == "walk"


@pytest.mark.parametrize(
    ("stage", "index"),
    [("behaviour", 5), ("behaviour", 12), ("support", 2), ("critic", 3), ("critic", 8), ("critic", 13), ("cloning", 4)],
)
def test_a_run_killed_in_any_stage_ends_with_the_same_weights(tmp_path, finished, stage, index):
    stop_at(start_run(tmp_path, tiny(), walk(), save_every=3), stage, index)
    run = resume_run(tmp_path, walk(), tiny())
    assert not run.finished
    finish(run)
    assert run.finished and results(tmp_path) == results(finished)


def test_a_run_can_be_saved_between_steps(tmp_path, finished):
    run = start_run(tmp_path, tiny(), walk(), save_every=100)
    for step in run:
        if step.stage == "critic" and step.index == 10:
            break
    run.save()
    resumed = resume_run(tmp_path, walk())
    assert next(iter(resumed)).index == 11
    finish(resume_run(tmp_path, walk()))
    assert results(tmp_path) == results(finished)


def test_a_finished_run_has_nothing_left_to_do_and_loads(finished):
    assert list(resume_run(finished, walk())) == []
    qgpo = load_run(finished)
    assert qgpo.config == tiny() and qgpo.act(torch.zeros(2, 3), 1.0, torch.Generator().manual_seed(0)).shape == (2, 2)
    assert not any(weight.requires_grad for weight in qgpo.behaviour.parameters())
    torch.testing.assert_close(qgpo.mean, walk().observations.mean(0))


def test_support_actions_are_drawn_once(tmp_path):
    finish(start_run(tmp_path, tiny(), walk()))
    (tmp_path / "critic.safetensors").unlink()
    stages = {step.stage for step in resume_run(tmp_path, walk())}
    assert stages == {"critic"}


def test_another_configuration_other_data_or_a_second_start_are_refused(finished):
    before = results(finished)
    with pytest.raises(ValueError, match=r"another configuration: beta \(1.0, not 4.0\)"):
        resume_run(finished, walk(), tiny(beta=4.0))
    with pytest.raises(ValueError, match=r"expected the data the run was started with, walk \(SHA-256"):
        resume_run(finished, walk(seed=1))
    with pytest.raises(ValueError, match="holds a run already"):
        start_run(finished, tiny(), walk())
    assert results(finished) == before


def test_what_is_no_run_or_not_finished_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a run folder with config\.json, found none"):
        load_run(tmp_path)
    start_run(tmp_path, tiny(), walk())
    with pytest.raises(ValueError, match="its behaviour stage is not; resume it"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="expected the settings of a run, but action_dim"):
        resume_run(tmp_path, walk())


def test_damaged_files_are_named(tmp_path):
    stop_at(start_run(tmp_path, tiny(), walk(), save_every=3), "critic", 5)
    path = tmp_path / "critic.state.safetensors"
    tensors, metadata = load_tensors(path)
    save_tensors(path, tensors, {"step": "many"})
    with pytest.raises(ValueError, match=r"critic\.state\.safetensors: expected its step, from 0 to 16, got 'many'"):
        finish(resume_run(tmp_path, walk()))
    tensors["stream"].fill_(255)
    save_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"critic\.state\.safetensors: holds a random state"):
        finish(resume_run(tmp_path, walk()))
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match=r"critic\.state\.safetensors: expected a whole safetensors file"):
        finish(resume_run(tmp_path, walk()))
    weights = tmp_path / "behaviour.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"behaviour\.safetensors: expected a whole safetensors file"):
        finish(resume_run(tmp_path, walk()))


def test_data_that_do_not_fit_are_refused_before_a_folder_is_made(tmp_path):
    data = walk()
    data.rewards[3] = torch.nan
    with pytest.raises(ValueError, match="expected finite rewards, got 1 NaN"):
        start_run(tmp_path / "run", tiny(), data)
    assert not (tmp_path / "run").exists()
