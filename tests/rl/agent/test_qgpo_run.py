"""A run in a folder, or of several seeds together: killed in every stage and resumed to the bit, damaged, refused."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from lengths import slow
from qgpo_problems import finish, tiny, walk

from cepkit.learning.checkpoints import load_tensors, save_tensors
from cepkit.rl.agent.qgpo_run import STAGES, load_run, resume_run, start_run
from cepkit.rl.agent.run_folders import run_folders

SEEDS = (0, 3)


def results(folder):
    """What a finished run leaves, byte by byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


def stop_at(run, stage, index):
    """Train to a step of a stage, then drop the run as a kill would."""
    steps = iter(run)
    for step in steps:
        if step.stage == stage and step.index == index:
            break
    steps.close()


def weights(folder, name):
    return load_tensors(folder / f"{name}.safetensors")[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qgpo") / "run"
    finish(start_run(folder, tiny(), walk(), save_every=3))
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two seeds trained together."""
    folder = tmp_path_factory.mktemp("together")
    finish(start_run(folder, tiny(), walk(), seeds=SEEDS, save_every=3))
    return folder


def test_what_a_finished_run_leaves(finished):
    assert sorted(results(finished)) == sorted(f"{name}.safetensors" for name in STAGES)
    assert sorted(path.name for path in (finished / "log").iterdir()) == sorted(STAGES)
    written = json.loads((finished / "config.json").read_text())
    assert written["data"]["sha256"] == walk().fingerprint() and written["data"]["name"] == "walk"


@pytest.mark.parametrize(
    ("stage", "index"),
    [("behaviour", 5), ("behaviour", 12), ("support", 2), ("critic", 3), ("critic", 8), ("critic", 13), ("cloning", 4)],
)
def test_a_run_killed_in_any_stage_ends_with_the_same_weights(tmp_path, finished, stage, index):
    stop_at(start_run(tmp_path, tiny(), walk(), save_every=3), stage, index)
    run = resume_run(tmp_path, walk())
    assert not run.finished
    finish(run)
    assert run.finished and results(tmp_path) == results(finished)


def test_a_run_can_be_saved_between_steps_and_iterated_on(tmp_path, finished):
    run = start_run(tmp_path, tiny(), walk(), save_every=100)
    for step in run:
        if step.stage == "critic" and step.index == 10:
            break
    run.save()
    assert next(iter(resume_run(tmp_path, walk()))).index == 11 == next(iter(run)).index
    finish(run)
    assert results(tmp_path) == results(finished)


def test_a_finished_run_has_nothing_left_to_do_and_loads(finished):
    assert list(resume_run(finished, walk())) == []
    qgpo = load_run(finished)
    assert qgpo.config == tiny() and qgpo.act(torch.zeros(2, 3), 1.0, torch.Generator().manual_seed(0)).shape == (2, 2)
    assert not any(weight.requires_grad for weight in qgpo.behaviour.parameters())
    torch.testing.assert_close(qgpo.mean, walk().observations.mean(0))


@pytest.mark.parametrize(
    ("removed", "again"), [("critic", {"critic"}), ("support", set()), ("behaviour", {"behaviour", "support", "critic"})]
)
def test_a_result_that_is_gone_is_made_again_with_all_that_is_built_on_it(tmp_path, finished, removed, again):
    finish(start_run(tmp_path, tiny(), walk()))
    (tmp_path / f"{removed}.safetensors").unlink()
    assert {step.stage for step in resume_run(tmp_path, walk())} == again
    kept = {name: content for name, content in results(finished).items() if again or name != "support.safetensors"}
    assert results(tmp_path) == kept


def test_other_data_or_a_second_start_are_refused(finished):
    before = results(finished)
    with pytest.raises(ValueError, match=r"expected the data the run was started with, walk \(SHA-256"):
        resume_run(finished, walk(seed=1))
    with pytest.raises(ValueError, match="holds a run already"):
        start_run(finished, tiny(), walk())
    assert results(finished) == before


def test_what_is_no_run_or_not_finished_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a run folder with config\.json, found none"):
        load_run(tmp_path)
    with pytest.raises(ValueError, match="expected a run folder, or a folder of runs seed-<n>, found none"):
        resume_run(tmp_path, walk())
    start_run(tmp_path, tiny(), walk())
    with pytest.raises(ValueError, match="its behaviour stage is not; resume it"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json: expected the key data, found none"):
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
    save_tensors(tmp_path / "support.safetensors", {"actions": torch.zeros(2, 4, 2)}, {})
    with pytest.raises(ValueError, match=r"support\.safetensors: expected actions of shape \(63, 4, 2\)"):
        finish(resume_run(tmp_path, walk()))
    behaviour = tmp_path / "behaviour.safetensors"
    (tmp_path / "support.safetensors").unlink()
    behaviour.write_bytes(behaviour.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"behaviour\.safetensors: expected a whole safetensors file"):
        finish(resume_run(tmp_path, walk()))


def test_data_that_do_not_fit_are_refused_before_a_folder_is_made(tmp_path):
    data = walk()
    data.rewards[3] = torch.nan
    with pytest.raises(ValueError, match="expected finite rewards up to 1e[+]15, got 1 NaN"):
        start_run(tmp_path / "run", tiny(), data)
    assert not (tmp_path / "run").exists()


# -- several seeds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_each_seed_ends_where_it_would_alone(tmp_path, together, seed):
    finish(start_run(tmp_path, tiny(seed=seed), walk()))
    for name in ("behaviour", "critic", "cloning"):
        alone, member = weights(tmp_path, name), weights(together / f"seed-{seed}", name)
        assert alone.keys() == member.keys()
        for key, value in alone.items():
            torch.testing.assert_close(member[key], value, atol=2e-4, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}")


def test_seeds_differ_and_are_runs_of_their_own(together):
    first, second = (weights(folder, "critic") for folder in run_folders(together))
    assert not torch.equal(first["critic.net.last.weight"], second["critic.net.last.weight"])
    assert load_run(together / "seed-3").config == tiny(seed=3) and list(resume_run(together / "seed-3", walk())) == []
    run = resume_run(together, walk())
    assert run.finished and run.seeds == SEEDS and [qgpo.config.seed for qgpo in run.qgpos] == list(SEEDS)


@pytest.mark.parametrize(("stage", "index"), [("behaviour", 5), ("support", 2), ("critic", 9), ("cloning", 4)])
def test_seeds_killed_together_end_with_the_same_weights(tmp_path, together, stage, index):
    stop_at(start_run(tmp_path, tiny(), walk(), seeds=SEEDS, save_every=3), stage, index)
    finish(resume_run(tmp_path, walk()))
    assert results(tmp_path) == results(together)


class Killed(BaseException):
    pass


def killed_at(monkeypatch, count):
    """Let the process die just before a file takes its place, the `count`-th time from now."""
    replace, left = os.replace, [count]

    def replace_or_die(source, target):
        left[0] -= 1
        if not left[0]:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_or_die)


def test_seeds_killed_before_any_file_is_written_can_be_resumed(tmp_path, together, monkeypatch):
    """Settings, saves, and results of one seed and not yet of the other."""
    for kill in range(1, 40):
        folder = tmp_path / str(kill)
        with monkeypatch.context() as patch:
            killed_at(patch, kill)
            try:
                finish(start_run(folder, tiny(), walk(), seeds=SEEDS, save_every=5))
            except Killed:
                pass
            else:
                break
        if kill > 1:  # before the first settings are written there is nothing to resume
            finish(resume_run(folder, walk()))
            assert results(folder) == results(together)
    assert kill > 20, "every save, settings and results of two seeds"


KILLED = """
    import json, os, signal, sys
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    from qgpo_problems import finish, tiny, walk
    from cepkit.rl.agent.qgpo_run import resume_run, start_run

    folder, seeds = Path(sys.argv[1]), json.loads(sys.argv[2])
    next(iter(start_run(folder.with_name("first"), tiny(), walk())))  # what torch imports late is imported now
    replace = os.replace

    def replace_or_die(left, when):
        def replacing(source, target):
            replacing.left -= 1
            if when == "after" and not replacing.left:
                replace(source, target)
            if not replacing.left:
                if when == "half written":
                    os.truncate(source, os.path.getsize(source) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
        replacing.left = left
        return replacing

    for kill in range(int(sys.argv[3])):
        child = os.fork()
        if not child:
            os.replace = replace_or_die(1 + 3 * kill % 4, ("before", "half written", "after")[kill % 3])
            begun = any(folder.rglob("config.json"))
            finish(resume_run(folder, walk()) if begun else start_run(folder, tiny(), walk(), seeds=seeds, save_every=3))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL)
"""


@pytest.mark.parametrize("kills", [4, *slow(10)])
@pytest.mark.parametrize("seeds", [None, SEEDS])
def test_runs_killed_again_and_again_end_with_the_same_weights(tmp_path, finished, together, seeds, kills):
    """Killed while they write, by a signal that nobody can catch; each time they go on from the last save."""
    folder = tmp_path / "killed"
    helpers = {"PYTHONPATH": os.pathsep.join(sys.path)} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), folder, json.dumps(seeds), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | helpers, timeout=300, check=False)
    assert done.returncode == 0 and done.stdout.split() == ["True"] * kills, done.stderr
    finish(resume_run(folder, walk()))
    assert results(folder) == results(finished if seeds is None else together)


def test_a_seed_can_go_on_alone_and_then_does_so(tmp_path, together):
    stop_at(start_run(tmp_path, tiny(), walk(), seeds=SEEDS, save_every=3), "critic", 10)
    run = resume_run(tmp_path, walk(), seeds=(3,))
    steps = iter(run)
    assert run.folder == tmp_path / "seed-3" and next(steps).index == 10  # the save was at step 9
    run.save()
    with pytest.raises(ValueError, match="seed-3 went on alone in the critic stage; resume them one by one"):
        finish(resume_run(tmp_path, walk()))
    for seed in SEEDS:
        finish(resume_run(tmp_path / f"seed-{seed}", walk()))
        for key, value in weights(together / f"seed-{seed}", "critic").items():
            torch.testing.assert_close(weights(tmp_path / f"seed-{seed}", "critic")[key], value, atol=2e-4, rtol=1e-3)


def test_seeds_that_repeat_and_seeds_that_were_not_started_together_are_refused(tmp_path):
    with pytest.raises(ValueError, match="seeds: expected at least one whole number, each once"):
        start_run(tmp_path, tiny(), walk(), seeds=(1, 1))
    for seeds in (SEEDS, (7,)):
        start_run(tmp_path, tiny(), walk(), seeds=seeds)
    with pytest.raises(ValueError, match=r"expected seeds that were started together \(0, 3\), got 0, 3, 7"):
        resume_run(tmp_path, walk())
    assert resume_run(tmp_path, walk(), seeds=SEEDS).seeds == SEEDS
    assert resume_run(tmp_path, walk(), seeds=(7,)).folder == tmp_path / "seed-7"
