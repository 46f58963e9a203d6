"""A run in a folder: killed, resumed, damaged, refused; and nothing but numbers and text is ever read back."""

import json
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from checks import noisy_points, seeded, toy_named
from lengths import slow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cepkit.diffusion.guidance import Guided
from cepkit.diffusion.sampling import sample
from cepkit.learning import DataSource, NonFiniteLoss, Training, TrainingConfig, load_run, resume_run, start_run
from cepkit.learning.checkpoints import load_tensors, save_tensors
from cepkit.learning.points_run import load_toy
from cepkit.truth.metrics import PROBE_TIMES

# trainings of a few steps, which say that they do not suffice
pytestmark = pytest.mark.filterwarnings("ignore:at t .* the learned guidance is worse")
TINY = {"width": 8, "layers": 2, "waves": 2, "groups": 2, "contrasts": 4, "denoiser_groups": 2, "denoiser_samples": 4}
MOONS = DataSource("moons", n=500)
FILES = ("config.json", "state.safetensors", "weights.safetensors")


def tiny(**settings):
    return TrainingConfig(**{**TINY, "steps": 60, **settings})


def finish(run):
    for _ in run:
        pass
    return run


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run of 60 steps, saved every 20; only for looking."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    finish(start_run(folder, tiny(), MOONS, save_every=20))
    return folder


@pytest.fixture
def stopped(tmp_path):
    """A run left after 30 steps, whose last save is of step 20."""
    folder = tmp_path / "run"
    run = iter(start_run(folder, tiny(), MOONS, save_every=20))
    for step in run:
        if step.index == 30:
            break
    run.close()
    return folder


def own_data(n=200, dim=2):
    x = torch.randn(n, dim, generator=seeded())
    return x, x.square().sum(-1)


# -- what is in the folder -----------------------------------------------------------------------------------------------


def test_a_run_leaves_three_files_and_a_log(finished):
    others = [path.name for path in finished.iterdir() if path.name not in FILES]
    assert len(others) == 1 and others[0].startswith("events.out.tfevents.")
    written = json.loads((finished / "config.json").read_text())
    assert TrainingConfig.from_dict(written["training"]) == tiny() and DataSource.from_dict(written["data"]) == MOONS


def test_a_loaded_run_gives_the_averaged_networks_it_was_trained_to(tmp_path):
    run = finish(start_run(tmp_path / "run", tiny(), MOONS))
    loaded = load_run(tmp_path / "run")
    x = noisy_points(toy_named("moons").truth, 0.3, n=20, dtype=torch.float32)
    assert loaded.step == 60 and loaded.config == tiny() and loaded.source == MOONS
    assert torch.equal(loaded.denoiser(x, 0.3), run.training.denoiser(x, 0.3))
    assert torch.equal(loaded.guidance(x, 0.3), run.training.guidance(x, 0.3))
    assert not any(weight.requires_grad for weight in loaded.denoiser.parameters())
    samples = sample(Guided(loaded.denoiser, loaded.guidance), (10, 2), generator=seeded(), steps=5)
    assert bool(torch.isfinite(samples).all())


@pytest.mark.parametrize("part", ["denoiser", "energy"])
def test_a_run_of_one_network_loads_without_the_other(tmp_path, part):
    finish(start_run(tmp_path, tiny(parts=(part,), steps=3), MOONS))
    loaded = load_run(tmp_path)
    assert (loaded.denoiser is None) == (part == "energy") and (loaded.guidance is None) == (part == "denoiser")


def test_a_run_just_started_can_be_loaded_and_resumed(tmp_path, finished):
    start_run(tmp_path, tiny(), MOONS, save_every=20)
    assert load_run(tmp_path).step == 0
    finish(resume_run(tmp_path))
    assert weights(tmp_path) == weights(finished)


# -- stopping and going on -----------------------------------------------------------------------------------------------


def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(stopped, finished):
    run = resume_run(stopped)
    assert run.training.index == 20 and not run.finished and run.save_every == 20
    finish(run)
    assert run.finished and contents(stopped) == contents(finished)


def test_a_random_state_that_is_none_is_refused_by_name(stopped):
    path = stopped / "state.safetensors"
    tensors, metadata = load_tensors(path)
    tensors["energy.generator"].fill_(255)
    save_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"state\.safetensors: holds a random state"):
        resume_run(stopped)


def test_another_seed_ends_with_other_weights(tmp_path, finished):
    finish(start_run(tmp_path, tiny(seed=1), MOONS))
    assert weights(tmp_path) != weights(finished)


def test_a_run_can_be_saved_between_and_resumed_from_there(tmp_path, finished):
    run = start_run(tmp_path, tiny(), MOONS, save_every=20)
    for step in run:
        if step.index == 33:
            break
    run.save()
    assert load_run(tmp_path).step == 33
    finish(resume_run(tmp_path))
    assert weights(tmp_path) == weights(finished)


def test_iterating_on_after_a_break_trains_to_the_end(tmp_path, finished):
    run = start_run(tmp_path, tiny(), MOONS, save_every=20)
    for step in run:
        if step.index == 7:
            break
    assert [step.index for step in run] == list(range(8, 61)) and weights(tmp_path) == weights(finished)


def test_resuming_a_finished_run_changes_nothing(stopped, finished):
    finish(resume_run(stopped))
    before = contents(stopped)
    assert list(resume_run(stopped)) == [] and contents(stopped) == before == contents(finished)


def test_a_run_killed_between_its_last_two_files_is_completed(tmp_path, finished):
    """The state is of step 60, the weights still of step 40."""
    for step in start_run(tmp_path, tiny(), MOONS, save_every=20):
        if step.index == 41:
            break
    old = weights(tmp_path)
    (tmp_path / "state.safetensors").write_bytes((finished / "state.safetensors").read_bytes())
    assert load_run(tmp_path).step == 40 and old != weights(finished)
    assert list(resume_run(tmp_path)) == [] and weights(tmp_path) == weights(finished)


def test_a_start_that_was_killed_before_its_settings_were_written_leaves_nothing_behind(tmp_path, finished):
    """The state of other settings lies in the folder; a new run does not take it for its own."""
    finish(start_run(tmp_path, tiny(seed=5, width=9), DataSource("rings", n=50)))
    (tmp_path / "config.json").unlink()
    start_run(tmp_path, tiny(), MOONS, save_every=20)
    assert load_run(tmp_path).step == 0
    finish(resume_run(tmp_path))
    assert weights(tmp_path) == weights(finished)


def python(code, *arguments):
    """What a script prints, and to where it complains; it must end well."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


KILLED = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    from cepkit.learning import TrainingConfig, resume_run, start_run

    folder, config = Path(sys.argv[1]), TrainingConfig.from_dict(eval(sys.argv[2]))
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    data = x, x.square().sum(-1)
    next(iter(start_run(folder.with_name("first"), config, data)))  # what torch imports late is imported now
    replace = os.replace

    def replace_or_die(count, when):
        def replacing(source, target):
            replacing.left -= 1
            if when == "after" and not replacing.left:
                replace(source, target)
            if not replacing.left:
                if when == "half written":
                    os.truncate(source, os.path.getsize(source) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
        replacing.left = count
        return replacing

    for kill in range(int(sys.argv[3])):
        child = os.fork()
        if not child:
            os.replace = replace_or_die(1 + 5 * kill % 16, ("before", "half written", "after")[kill % 3])
            run = resume_run(folder, data) if (folder / "config.json").exists() else start_run(folder, config, data, save_every=1)
            for _ in run:
                pass
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        saved = resume_run(folder, data).training.index if (folder / "config.json").exists() else -1
        print(killed, saved, *sorted(path.name for path in folder.glob(".*partial")))
"""


@pytest.mark.parametrize("kills", [3, *slow(12)])
def test_a_run_killed_again_and_again_ends_with_the_same_weights(tmp_path, kills):
    """Killed while it writes: before a file is put in place, with half of it written, or just after; it can always be resumed."""
    folder, config = tmp_path / "killed", tiny()
    lines = [line.split() for line in python(KILLED, folder, config.to_dict(), kills)]
    assert [line[0] for line in lines] == ["True"] * kills
    steps = [int(line[1]) for line in lines]
    assert steps == sorted(steps) and len(set(steps)) >= kills // 2  # it goes on from where it was, not from the start
    assert sum(bool(line[2:]) for line in lines) == kills * 2 // 3  # what a kill before or half way leaves behind
    finish(resume_run(folder, own_data()))
    whole = tmp_path / "whole"
    finish(start_run(whole, config, own_data(), save_every=1))
    assert contents(folder) == contents(whole)
    assert not list(folder.glob(".*partial"))


# -- the log -------------------------------------------------------------------------------------------------------------


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    scalars = {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}
    for tag, values in scalars.items():
        assert len({event.step for event in values}) == len(values), f"{tag} has a step twice"
    return {tag: {event.step: event.value for event in values} for tag, values in scalars.items()}


def test_tensorboard_reads_losses_learning_rate_and_errors(finished):
    log = events(finished)
    errors = {f"guidance_error/t_{t:g}" for t in PROBE_TIMES}
    assert log.keys() == {"loss/denoising", "loss/CEP", "effective_samples", "learning_rate"} | errors
    assert list(log["loss/CEP"]) == [25, 50, 60] and list(log["guidance_error/t_0.1"]) == [20, 40, 60]
    assert all(np.isfinite(value) for values in log.values() for value in values.values())


def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(stopped, finished):
    """What was logged at step 25, after the save at 20, is hidden and logged again; all within one second."""
    assert 25 in events(stopped)["loss/CEP"]
    finish(resume_run(stopped))
    resumed, whole = events(stopped), events(finished)
    assert resumed == whole


def test_the_errors_in_the_log_are_those_of_the_probe(finished):
    from cepkit.truth.metrics import ErrorProbe

    run = load_run(finished)
    probe = ErrorProbe(toy_named("moons").truth, 3.0, run.config.schedule, n=2048, generator=seeded(0))
    logged = [events(finished)[f"guidance_error/t_{t:g}"][60] for t in PROBE_TIMES]
    assert logged == pytest.approx(probe(run.guidance).tolist(), rel=1e-5)


# -- own data ------------------------------------------------------------------------------------------------------------


def test_a_run_on_arrays_resumes_with_the_same_arrays_and_refuses_others(tmp_path):
    x, energy = own_data()
    whole, half = tmp_path / "whole", tmp_path / "half"
    finish(start_run(whole, tiny(), (x, energy)))
    for step in start_run(half, tiny(), (x, energy), save_every=20):
        if step.index == 25:
            break
    with pytest.raises(ValueError, match="pass the same points and energies"):
        resume_run(half)
    for other in ((x + 1e-3, energy), (x, -energy), (x[:-1], energy[:-1]), (x.flip(0), energy.flip(0))):
        with pytest.raises(ValueError, match="expected the data the run was started with .*got others"):
            resume_run(half, other)
    finish(resume_run(half, (x, energy)))
    assert weights(half) == weights(whole)


def test_a_run_on_a_toy_refuses_other_data_rather_than_ignoring_them(stopped):
    with pytest.raises(ValueError, match="expected the data the run was started with"):
        resume_run(stopped, own_data(500))
    resume_run(stopped, MOONS.draw())


def test_a_csv_file_that_has_changed_since_is_refused(tmp_path):
    path = tmp_path / "points.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(30, 3)), delimiter=",")
    start_run(tmp_path / "run", tiny(), DataSource(str(path), n=100, std=0.1))
    np.savetxt(path, np.random.default_rng(1).normal(size=(30, 3)), delimiter=",")
    with pytest.raises(ValueError, match="expected the data the run was started with"):
        resume_run(tmp_path / "run")


def test_a_csv_file_that_is_gone_is_named(tmp_path):
    path = tmp_path / "points.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(30, 3)), delimiter=",")
    start_run(tmp_path / "run", tiny(), DataSource(str(path), n=100, std=0.1))
    path.rename(tmp_path / "moved.csv")
    for reopen in (resume_run, load_toy):
        with pytest.raises(ValueError, match=r"run: expected the data the run was started with; x: .*points\.csv"):
            reopen(tmp_path / "run")
    assert load_run(tmp_path / "run").source.std == 0.1  # the networks need no data


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("zero", [0.0, 1e3, 1e6])
def test_the_units_of_arrays_change_neither_losses_nor_fields_nor_samples(tmp_path, factor, zero):
    """Columns at far apart scales, far from the origin, energies far from zero."""
    x = torch.randn(400, 2, generator=seeded(), dtype=torch.float64)
    energy = x[:, 0] + 0.3 * x[:, 1] ** 2
    spread = torch.tensor([30.0, 2.0], dtype=torch.float64)
    plain = start_run(tmp_path / "plain", tiny(beta=1.0), (x * spread, energy))
    moved = start_run(tmp_path / "moved", tiny(beta=1.0), (x * spread * torch.tensor([1.0, factor]) + 1e4, energy + zero))
    losses = [torch.tensor([[float(loss) for loss in step.losses.values()] for step in run]) for run in (plain, moved)]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)
    points = torch.randn(20, 2, generator=seeded(1))
    here, there = (load_run(tmp_path / name) for name in ("plain", "moved"))
    torch.testing.assert_close(here.guidance(points, 0.3), there.guidance(points, 0.3), rtol=0.01, atol=0.01)
    assert here.scaling == plain.scaling and there.scaling == moved.scaling
    samples = there.scaling.undo(sample(Guided(there.denoiser, there.guidance), (50, 2), generator=seeded()))
    same = here.scaling.undo(sample(Guided(here.denoiser, here.guidance), (50, 2), generator=seeded()))
    torch.testing.assert_close((samples - 1e4) / torch.tensor([1.0, factor]) / spread, same / spread, rtol=0.02, atol=0.05)


def test_points_in_other_units_are_refused_where_nothing_leads_back():
    x, energy = own_data()
    with pytest.raises(ValueError, match=r"^x: expected points of about unit scale.*from_points\(x, energy\) scales them"):
        Training(1000 * x, energy, tiny())
    with pytest.warns(UserWarning, match="^x: a spread of 0.00.* in column 1, which the least noise hides; .*from_points"):
        Training(torch.stack([x[:, 0], 1e-3 * x[:, 1]], -1), energy, tiny())


def test_too_few_points_are_said_once(tmp_path):
    x, energy = own_data(500)
    with pytest.warns(UserWarning, match="^beta = 3 leaves weight to about 1.5 of 500 points") as seen:
        Training(x, 1500 + 200 * energy, tiny())
    np.savetxt(tmp_path / "mine.csv", torch.cat([x, 1500 + 200 * energy[:, None]], -1).numpy(), delimiter=",")
    with pytest.warns(UserWarning, match="^beta = 3 leaves weight to about 1.5 of 500 points") as seen_too:
        start_run(tmp_path / "run", tiny(), DataSource(str(tmp_path / "mine.csv"), n=300))
    assert len(seen) == len(seen_too) == 1


@pytest.mark.parametrize(
    "data",
    [
        None,
        "moons",
        (torch.zeros(3, 2),),
        (np.zeros((3, 2)), np.zeros(3)),
        (torch.zeros(3, 2), torch.zeros(4)),
        (torch.full((3, 2), torch.nan), torch.zeros(3)),
        (torch.zeros(3, 2), torch.full((3,), torch.inf)),
    ],
    ids=["none", "name", "no energies", "numpy", "lengths", "NaN points", "infinite energies"],
)
def test_data_that_do_not_fit_start_nothing(tmp_path, data):
    with pytest.raises(ValueError, match="expected .*got"):
        start_run(tmp_path / "run", tiny(), data)
    assert not (tmp_path / "run").exists()


# -- nothing is unpickled --------------------------------------------------------------------------------------------------


def test_resuming_and_loading_unpickle_nothing(stopped, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(owner, name, refuse)
    finish(resume_run(stopped))
    load_run(stopped)


def test_a_pickle_in_place_of_the_weights_is_not_opened(stopped, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    for name in FILES[1:]:
        kept = (stopped / name).read_bytes()
        (stopped / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ValueError, match=f"{name}: expected a whole safetensors file"):
            (resume_run if name.startswith("state") else load_run)(stopped)
        (stopped / name).write_bytes(kept)
    assert not (tmp_path / "exploded").exists()


# -- damaged and foreign folders -------------------------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("damage", ["cut short", "header cut", "empty", "PNG", "text", "absent", "a folder"])
def test_a_damaged_file_is_refused_by_name(stopped, name, damage):
    path = stopped / name
    whole = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "absent":
        path.write_bytes({"cut short": whole[:-7], "header cut": whole[:50], "empty": b"", "PNG": PNG, "text": b"{}"}[damage])
    with pytest.raises(ValueError, match=f"{name}: expected a"):
        (resume_run if name.startswith("state") else load_run)(stopped)


def edit(folder, change):
    path = folder / "config.json"
    written = json.loads(path.read_text())
    change(written)
    path.write_text(json.dumps(written))


CHANGES = {
    "another width": (lambda c: c["training"].update(width=16), "another architecture"),
    "another depth": (lambda c: c["training"].update(layers=3), "layers|lacks|architecture"),
    "no guess": (lambda c: c["training"].update(gaussian_guess=False), "which this architecture does not have"),
    "one part": (lambda c: c["training"].update(parts=["energy"]), "does not have"),
    "fewer steps than taken": (lambda c: c["training"].update(steps=10), "expected its step, from 0 to 10, got '20'"),
    "unknown setting": (lambda c: c["training"].update(widht=16), "config key: .*got 'widht'; did you mean 'width'"),
    "setting of another kind": (lambda c: c["training"].update(steps="many"), "training: steps: expected an integer"),
    "no number": (lambda c: c["training"].update(beta=None), r"config\.json: training: beta: expected"),
    "another schedule": (lambda c: c["training"].update(schedule={"name": "VPCosine"}), "schedule: expected .*, the only value"),
    "settings are a list": (lambda c: c.update(training=[1]), "training: config: expected a mapping"),
    "settings missing": (lambda c: c.pop("training"), r"config\.json: expected the key training, found cepkit, data, dim"),
    "data are a number": (lambda c: c.update(data=3), r"config\.json: data: data: expected a mapping"),
    "unknown toy": (lambda c: c["data"].update(name="moon"), "toy: expected one of .*did you mean 'moons'"),
    "unknown data key": (lambda c: c["data"].update(noise=1), "data key: expected"),
    "no name": (lambda c: c["data"].pop("name"), r"config\.json: data: data: expected a name"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_settings_that_were_tampered_with_are_refused_by_name(stopped, case):
    change, complaint = CHANGES[case]
    edit(stopped, change)
    for read in (resume_run, load_run):
        with pytest.raises(ValueError, match=complaint):
            read(stopped)


@pytest.mark.parametrize("text", ["{", "", "[]", "null", '"run"', "\x00", "{}"])
def test_a_broken_settings_file_is_refused_by_name(stopped, text):
    (stopped / "config.json").write_text(text)
    for read in (resume_run, load_run):
        with pytest.raises(ValueError, match=r"config\.json: expected"):
            read(stopped)


def test_bytes_that_are_no_text_are_refused(stopped):
    (stopped / "config.json").write_bytes(PNG)
    with pytest.raises(ValueError, match=r"config\.json: expected JSON"):
        load_run(stopped)


@pytest.mark.parametrize("read", [resume_run, load_run])
def test_a_folder_without_a_run_is_refused(tmp_path, read):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="expected a run folder with config.json, found none"):
            read(folder)


def test_a_folder_that_holds_a_run_is_not_started_again(finished):
    before = contents(finished)
    with pytest.raises(ValueError, match="holds a run already"):
        start_run(finished, tiny(), MOONS)
    assert contents(finished) == before


@pytest.mark.parametrize("save_every", [0, -1, 2.5, "20", None, True])
def test_save_every_is_a_positive_whole_number(tmp_path, save_every):
    with pytest.raises(ValueError, match="^save_every: expected an integer"):
        start_run(tmp_path / "run", tiny(), MOONS, save_every=save_every)


# -- disks ---------------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    for folder in (file, file / "run"):
        with pytest.raises(OSError, match=f"could not make the folder {folder}"):
            start_run(folder, tiny(), MOONS)
    assert file.read_text() == "in the way"


def test_a_file_that_cannot_be_replaced_is_named_and_the_rest_is_intact(stopped):
    """A folder where the state should go: no write can succeed, whoever runs this."""
    before = weights(stopped)
    run = resume_run(stopped)
    (stopped / "state.safetensors").unlink()
    (stopped / "state.safetensors").mkdir()
    with pytest.raises(OSError, match=r"could not write .*state\.safetensors"):
        finish(run)
    assert weights(stopped) == before and not list(stopped.glob(".*partial"))


FULL_DISK = """
    import os, resource, signal, sys
    import torch
    torch.set_num_threads(1)
    from cepkit.learning import resume_run

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for room in (10_000, 40):
        run = resume_run(sys.argv[1])
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            signal.alarm(20)
            try:
                for _ in run:
                    pass
            except OSError as error:
                os.write(1, f"{room}: {error}\\n".encode())
            os._exit(0)
        os.waitpid(child, 0)
"""


def test_a_full_disk_stops_the_run_and_spoils_nothing(stopped, finished):
    """With room for the log, the first write that fails is that of the state; with less, the log itself."""
    before = contents(stopped)
    assert len(before["state.safetensors"]) > 10_000
    lines = python(FULL_DISK, stopped)
    assert [line.split(":")[0] for line in lines] == ["10000", "40"]
    assert f"could not write {stopped / 'state.safetensors'} (File too large)" in lines[0]
    assert f"could not write the log in {stopped} (File too large)" in lines[1]
    assert contents(stopped) == before and not list(stopped.glob(".*partial"))
    finish(resume_run(stopped))
    assert weights(stopped) == weights(finished)


# -- losses that are not finite ---------------------------------------------------------------------------------------------


def test_a_loss_that_explodes_stops_the_run_and_the_last_save_stays(tmp_path):
    x, energy = own_data()
    run = start_run(tmp_path, tiny(beta=1.0), (x, energy), save_every=1)
    taken = 0
    with pytest.raises(NonFiniteLoss, match=r"stopped at step (\d+): the CEP loss is (nan|inf)"):
        for step in run:
            taken = step.index
            if taken == 12:
                run.training.energy[:] = -1e30
    assert taken == 12 and load_run(tmp_path).step == 12
    resumed = resume_run(tmp_path, own_data())
    assert resumed.training.index == 12
    finish(resumed)
    assert load_run(tmp_path).step == 60


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    run = start_run(tmp_path, tiny(), MOONS, save_every=20)
    before = contents(tmp_path)
    with torch.no_grad():
        next(run.training.fits["denoiser"].network.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match="step 0: a weight of the denoiser network is not finite"):
        run.save()
    with pytest.raises(NonFiniteLoss, match="step 1: the denoising loss is nan"):
        finish(run)
    assert contents(tmp_path) == before
