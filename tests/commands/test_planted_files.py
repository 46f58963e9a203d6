"""Files that somebody changed, cut, replaced or linked elsewhere: every command ends in a message that names the file.

Nothing is lost: the rest of the folder stays as it was. Nothing is unpickled or executed, no other file is opened.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
import sys
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from cli_runs import hopper_file, keep, result, settings
from dataset_files import Host, small_raw, write

from cepkit.commands.cli import main
from cepkit.learning import DataSource, TrainingConfig, load_run, resume_run, start_run
from cepkit.learning.checkpoints import load_tensors, save_tensors
from cepkit.rl.agent.qgpo_run import load_run as load_qgpo
from cepkit.rl.agent.run_folders import read_config
from cepkit.rl.data import datasets
from cepkit.rl.data.downloads import check_recorded, read_record
from cepkit.rl.study.results import read_results

pytestmark = pytest.mark.filterwarnings("ignore:.*the learned guidance")

NAME = "hopper-medium-v2"
TINY = {"width": 8, "layers": 2, "waves": 2, "groups": 2, "contrasts": 4, "denoiser_groups": 2, "denoiser_samples": 4}
SECRET = "what nobody named"

_seen: list[tuple[str, str]] | None = None


def _audit(event, arguments):
    if _seen is not None and event in ("open", "pickle.find_class", "os.system", "os.exec", "subprocess.Popen", "os.posix_spawn"):
        _seen.append((event, str(arguments[0])))


sys.addaudithook(_audit)


@contextlib.contextmanager
def watched(outside):
    """Whatever happens in here unpickles and starts nothing, and opens no file of the folder `outside`."""
    global _seen
    _seen = []
    try:
        yield
    finally:
        seen, _seen = _seen, None
    assert [event for event, _ in seen if event != "open"] == []
    assert [path for _, path in seen if str(outside) in path] == []


def contents(folder):
    """Every file below a folder, links as what they say."""
    return {
        path: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def outside(tmp_path_factory):
    """A folder that no command is told of, with a secret in it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret").write_text(SECRET * 100)
    return folder


@pytest.fixture
def refused(capsys, tmp_path, outside):
    """Run a command that must end with exit code 2 and a message in which `said` occurs, and leave all files as they were."""

    def run(*arguments, said):
        before = contents(tmp_path)
        with watched(outside):
            assert main(list(map(str, arguments))) == 2
        out, error = capsys.readouterr()
        assert "cepkit: " in error and str(said) in error and "Traceback" not in error, error
        assert SECRET not in out + error and contents(tmp_path) == before

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A toy run and a QGPO run that are finished, and a result of the latter."""
    folder = tmp_path_factory.mktemp("made")
    for _ in start_run(folder / "toy", TrainingConfig(**TINY, steps=8), DataSource("moons", n=50)):
        pass
    data = hopper_file(folder)
    assert main(["train", str(data), "--out", str(folder / "runs"), *settings()]) == 0
    keep(folder / "results", result("scale-1", [1.0, 3.0]))
    return folder


@pytest.fixture
def toy(made, tmp_path):
    return shutil.copytree(made / "toy", tmp_path / "toy")


@pytest.fixture
def runs(made, tmp_path):
    """A folder of runs, in which seed-0 lies; its critic is to be trained."""
    folder = shutil.copytree(made / "runs", tmp_path / "runs")
    for name in ("critic", "cloning"):
        (folder / "seed-0" / f"{name}.safetensors").unlink()
    return folder


@pytest.fixture
def finished(made, tmp_path):
    return shutil.copytree(made / "runs", tmp_path / "finished")


# -- JSON that somebody edited ---------------------------------------------------------------------------------------------

HUGE = 10**400  # what neither a float nor a size holds
DEEP = "[" * 100_000
RECORD = {"sha256": "0" * 64, "bytes": 7, "source": "a host", "recorded": "2026-01-01"}


def read_toy(path):
    load_run(path.parent)


def read_qgpo(path):
    read_config(path.parent)


def read_result(path):
    read_results(path.parent)


def read_kept(path):
    read_record(path.with_suffix(""))


READERS = {
    # what: (its file below `made`, how it is read, the keys that are read)
    "toy": ("toy/config.json", read_toy, ["dim", "sha256", "save_every", "data", "training"]),
    "toy data": ("toy/config.json", read_toy, [("data", key) for key in ("name", "n", "seed", "std", "standardize")]),
    "toy settings": ("toy/config.json", read_toy, [("training", key) for key in TrainingConfig().to_dict()]),
    "run": ("runs/seed-0/config.json", read_qgpo, ["state_dim", "action_dim", "save_every", "seeds", "data", "qgpo"]),
    "run data": ("runs/seed-0/config.json", read_qgpo, [("data", "name"), ("data", "sha256")]),
    "run settings": (
        "runs/seed-0/config.json", read_qgpo,
        [("qgpo", key) for key in ("family", "beta", "seed", "behaviour_widths", "critic_width", "scales", "pooled", "critics")],
    ),
    "result": ("results/seed-0/eval-d4rl-v2-seed0-episodes2-scale-1.json", read_result, [
        "data", "run_seed", "policy", "environment", "engine", "versions", "notes", "seed", "episodes", "weights", "returns",
        "lengths",
    ]),
    "record": ("record.hdf5.json", read_kept, list(RECORD)),
}  # fmt: skip
WRONG = {"null": None, "an empty list": [], "a nested list": [[1]], "a mapping": {"a": 1}, "huge": HUGE, "NaN": float("nan")}
OPTIONAL = {("toy", "data", "null"), ("run", "seeds", "null"), ("result", "notes", "an empty list"), ("run", "seeds", "missing")}
OPTIONAL |= {("run", "seeds", "an empty list")}


def other_kind(value):
    """A value that JSON may hold, of another kind than this one."""
    return 3 if isinstance(value, (str, bool, list, dict)) or value is None else "many"


CASES = [(what, key) for what, (_, _, keys) in READERS.items() for key in keys]


@pytest.mark.parametrize(("what", "key"), CASES, ids=lambda value: value if isinstance(value, str) else ".".join(value))
def test_every_key_of_every_file_is_checked_by_kind(made, tmp_path, what, key):
    """Missing, or of each other kind that JSON knows: a ValueError that names the file and the key."""
    name, read, _ = READERS[what]
    path = tmp_path / "copy" / name.rpartition("/")[2]
    if what == "record":
        path.parent.mkdir()
        path.write_text(json.dumps(RECORD))
    else:
        shutil.copytree((made / name).parent, path.parent)
    whole, place = path.read_text(), (key,) if isinstance(key, str) else key
    read(path)
    for fault in (*WRONG, "another kind", "missing"):
        values = json.loads(whole)
        owner = values[place[0]] if len(place) > 1 else values
        if fault == "missing":
            del owner[place[-1]]
        else:
            owner[place[-1]] = WRONG[fault] if fault in WRONG else other_kind(owner[place[-1]])
        if (what, place[-1], fault) in OPTIONAL:
            continue
        path.write_text(json.dumps(values))
        with pytest.raises(ValueError, match="expected") as error:
            read(path)
        key_said = "toy" if place == ("data", "name") and what == "toy data" and fault != "missing" else place[-1]
        assert path.name in str(error.value) and key_said in str(error.value), (fault, str(error.value))


TEXTS = {
    "empty": b"", "cut": b'{"data": ', "no JSON": b"{'data': 1}", "a list": b"[1, 2]", "null": b"null", "a number": b"3",
    "a text": b'"run"', "deep": DEEP.encode(), "deep mappings": b'{"a":' * 100_000,
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "UTF-16": '{"data": 1}'.encode("utf-16"), "a pickle": pickle.dumps(print), "zeros": bytes(1000), "digits": b"1" * 100_000,
    "deep but read": b"[" * 900 + b"]" * 900,
}  # fmt: skip


@pytest.mark.parametrize("fault", TEXTS)
def test_what_is_no_json_of_ours_is_refused_by_every_command(refused, toy, runs, made, tmp_path, folder, monkeypatch, fault):
    (toy / "config.json").write_bytes(TEXTS[fault])
    refused("toy", "show", toy, said=toy / "config.json")
    refused("toy", "train", "--resume", "--out", toy, said=toy / "config.json")
    (runs / "seed-0" / "origin.json").write_bytes(TEXTS[fault])
    refused("train", "--resume", "--out", runs, said=runs / "seed-0" / "origin.json")
    (runs / "seed-0" / "config.json").write_bytes(TEXTS[fault])
    refused("eval", runs, said=runs / "seed-0" / "config.json")
    results = shutil.copytree(made / "results", tmp_path / "results")
    (path,) = results.rglob("eval-*.json")
    path.write_bytes(TEXTS[fault])
    refused("report", results, "--out", tmp_path / "report", said=path)
    folder.mkdir()
    path = write(folder / f"{NAME}.hdf5", small_raw())
    check_recorded(path)
    (folder / f"{NAME}.hdf5.json").write_bytes(TEXTS[fault])
    refused("data", "info", NAME, said=f"{path}.json")
    shipped = tmp_path / "data"
    shipped.mkdir()
    monkeypatch.setattr(datasets, "SHIPPED_FOLDER", shipped)
    write(shipped / "pointmaze-umaze.hdf5", small_raw())
    (shipped / "manifest.json").write_bytes(TEXTS[fault])
    refused("data", "info", "pointmaze-umaze", said=shipped / "manifest.json")


SIZES = {
    "width": (10**9, 10**5), "layers": (10**9,), "waves": (10**12, 10**5), "groups": (10**9,), "contrasts": (10**7, 10**6),
    "denoiser_samples": (2**52,),
}  # fmt: skip


@pytest.mark.parametrize("key", SIZES)
def test_sizes_in_a_run_are_not_believed(refused, toy, key):
    """Neither those that no machine has nor, at the limit of what is allowed, those that this one has not."""
    values = json.loads((toy / "config.json").read_text())
    for size in SIZES[key]:
        values["training"][key] = size
        (toy / "config.json").write_text(json.dumps(values))
        refused("toy", "train", "--resume", "--out", toy, said=key if key != "waves" else "expected")
        if key in ("width", "layers", "waves"):
            refused("toy", "show", toy, said=toy)


QGPO_SIZES = {
    "behaviour_batch": 10**9, "behaviour_widths": [10**5] * 100, "support_actions": 10**5, "critic_layers": 10**9,
    "energy_width": 10**5, "critics": 10**6, "support_chunk": 2**60, "seed": 2**60,
}  # fmt: skip


@pytest.mark.parametrize("key", QGPO_SIZES)
def test_sizes_in_a_qgpo_run_are_not_believed(refused, runs, key):
    path = runs / "seed-0" / "config.json"
    values = json.loads(path.read_text())
    values["qgpo"][key] = QGPO_SIZES[key]
    path.write_text(json.dumps(values))
    refused("train", "--resume", "--out", runs, said="expected")


@pytest.mark.parametrize(
    "arguments",
    [
        ["moons", "--points", 10**12], ["moons", "--width", 10**9], ["moons", "--width", 10**5, "--layers", 900],
        ["moons", "--contrasts", 10**6], ["moons", "--layers", 10**9], ["moons", "--groups", 10**6, "--contrasts", 10**5],
    ],
)  # fmt: skip
def test_sizes_on_the_command_line_are_not_believed(refused, tmp_path, arguments):
    refused("toy", "train", *arguments, "--out", tmp_path / "new", said="expected")
    assert not (tmp_path / "new").exists()


# -- weights, states and support actions -------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return (print, ("exploded",))


def saved_objects(path):
    with path.open("wb") as file:
        np.savez(file, x=np.array([Bomb()], dtype=object))


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Bomb()))


def with_nan(path):
    tensors, words = load_tensors(path)
    next(value for value in tensors.values() if value.dtype == torch.float32).view(-1)[0] = torch.nan
    save_tensors(path, tensors, words)


def of_another_kind(path):
    tensors, words = load_tensors(path)
    save_tensors(path, {name: value.double() for name, value in tensors.items()}, words)


def in_place(path, make):
    path.unlink()
    make(path)


def bit(share):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[int(share * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return flip


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Bomb())),
    "a .pt file": lambda path: torch.save({"x": Bomb()}, path),
    "a .pt archive": zipped,
    "an .npz file": lambda path: saved_objects(path),
    "NaN": with_nan,
    "float64": of_another_kind,
    "one tensor": lambda path: save_tensors(path, {"x": torch.zeros(3)}, {}),
    "none": lambda path: save_tensors(path, {}, {}),
    "a header of 2^60 bytes": lambda path: path.write_bytes((2**60).to_bytes(8, "little") + b"{}"),
    "a folder": lambda path: in_place(path, lambda path: path.mkdir()),
    "a FIFO": lambda path: in_place(path, os.mkfifo),
    **{f"a bit at {share:.0%}": bit(share) for share in (0.3, 0.5, 0.7, 0.9, 1.0)},
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_damaged_weights_are_refused_by_every_command(refused, toy, runs, finished, fault):
    DAMAGE[fault](toy / "weights.safetensors")
    refused("toy", "show", toy, said=toy / "weights.safetensors")
    state = toy / "state.safetensors"
    if fault != "NaN":  # in a state it may be an optimiser's; the next loss names it
        DAMAGE[fault](state)
        refused("toy", "train", "--resume", "--out", toy, said=state)
    support = runs / "seed-0" / "support.safetensors"
    DAMAGE[fault](support)
    refused("train", "--resume", "--out", runs, said=support)
    for name in ("behaviour", "critic", "cloning"):
        path = finished / "seed-0" / f"{name}.safetensors"
        whole = path.read_bytes()
        DAMAGE[fault](path)
        refused("eval", finished, said=path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.write_bytes(whole)


@pytest.mark.parametrize("key", ["mean", "std", "q_std"])
@pytest.mark.parametrize("fault", ["NaN", "missing", "another shape"])
def test_units_of_a_run_are_checked_as_its_weights_are(refused, finished, key, fault):
    path = finished / "seed-0" / ("critic.safetensors" if key == "q_std" else "behaviour.safetensors")
    tensors, words = load_tensors(path)
    if fault == "missing":
        del tensors[key]
    else:
        tensors[key] = torch.full_like(tensors[key], torch.nan) if fault == "NaN" else torch.ones(2, 2)
    save_tensors(path, tensors, words)
    refused("eval", finished, said=path)


def test_weights_of_earlier_versions_hold_no_checksum_and_load(toy, finished):
    for path in (toy / "weights.safetensors", *(finished / "seed-0").glob("*.safetensors")):
        safetensors.torch.save_file(load_tensors(path)[0], path, load_tensors(path)[1])
    assert load_run(toy).step == 8 and load_qgpo(finished / "seed-0").config.seed == 0


# -- data files ------------------------------------------------------------------------------------------------------------


def edited(change):
    def make(path, outside):
        write(path, small_raw())
        with h5py.File(path, "a") as file:
            change(file, outside)

    return make


def replaced(key, make):
    def change(file, outside):
        del file[key]
        make(file, outside)

    return edited(change)


def external(file, outside):
    file.create_dataset("rewards", (60,), np.float32, external=[(str(outside / "secret"), 0, 240)])


def virtual(file, outside):
    layout = h5py.VirtualLayout((60,), np.float32)
    layout[:] = h5py.VirtualSource(str(outside / "other.hdf5"), "rewards", shape=(60,))
    file.create_virtual_dataset("rewards", layout)


def declared(shape, **how):
    return replaced("observations", lambda file, _: file.create_dataset("observations", shape, np.float32, **how))


def set_in(key, value):
    def change(file, _):
        array = file[key][()].astype(np.float64) if file[key].dtype.kind == "f" else file[key][()].astype(int)
        array.reshape(-1)[7] = value
        del file[key]
        file[key] = array

    return edited(change)


FILES = {
    "nothing": lambda path, outside: None,
    "empty": lambda path, outside: path.write_bytes(b""),
    "a page": lambda path, outside: path.write_bytes(b"<!DOCTYPE html><html>404</html>"),
    "a pickle": lambda path, outside: path.write_bytes(pickle.dumps(Bomb())),
    "a .pt file": lambda path, outside: torch.save({"x": Bomb()}, path),
    "an .npz file": lambda path, outside: saved_objects(path),
    "YAML": lambda path, outside: path.write_text("!!python/object/apply:os.system ['true']"),
    "a folder": lambda path, outside: path.mkdir(),
    "a FIFO": lambda path, outside: os.mkfifo(path),
    "a device": lambda path, outside: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path, outside: path.symlink_to(outside / "absent"),
    "a link to itself": lambda path, outside: path.symlink_to(path),
    "external storage": replaced("rewards", external),
    "a virtual dataset": replaced("rewards", virtual),
    "an external link": replaced(
        "rewards", lambda file, outside: file.__setitem__("rewards", h5py.ExternalLink(str(outside / "secret"), "rewards"))
    ),
    "a soft link": replaced("rewards", lambda file, _: file.__setitem__("rewards", h5py.SoftLink("/infos/qpos"))),
    "a link to itself inside": replaced("rewards", lambda file, _: file.__setitem__("rewards", h5py.SoftLink("/rewards"))),
    "a group": replaced("rewards", lambda file, _: file.create_group("rewards/a")),
    "no values": replaced("rewards", lambda file, _: file.__setitem__("rewards", h5py.Empty("f"))),
    "texts": replaced("rewards", lambda file, _: file.__setitem__("rewards", ["much"] * 60)),
    "a scalar": replaced("rewards", lambda file, _: file.__setitem__("rewards", 1.0)),
    "references": replaced("rewards", lambda file, _: file.create_dataset("rewards", (60,), h5py.ref_dtype)),
    "compound": replaced("rewards", lambda file, _: file.create_dataset("rewards", (60,), [("a", "f4")])),
    "10^12 rows": declared((10**12, 3), chunks=(1000, 3)),
    "a terabyte of zeros": declared((10**11, 3), chunks=(2**20, 3), compression="gzip"),
    "no rows": declared((0, 3)),
    "no columns": declared((60, 0)),
    "too few rows": declared((59, 3)),
    "rewards of 1e38": set_in("rewards", 1e38),
    "rewards of 1e300": set_in("rewards", -1e300),
    "NaN": set_in("observations", np.nan),
    "infinity": set_in("rewards", np.inf),
    "actions of 3": set_in("actions", 3.0),
    "half a flag": set_in("terminals", 2),
    "no rewards": edited(lambda file, _: file.__delitem__("rewards")),
}  # fmt: skip


@pytest.mark.parametrize("fault", FILES)
def test_a_data_file_is_refused_by_every_command_that_reads_it(refused, tmp_path, outside, folder, fault):
    path = tmp_path / "mine.hdf5"
    with contextlib.suppress(FileNotFoundError):
        FILES[fault](path, outside)
    refused("data", "info", path, said=path)
    refused("train", path, "--preset", "maze", "--out", tmp_path / "runs", said=path)
    if path.is_file():
        refused("data", "info", path.rename(tmp_path / "mine.pt"), said=tmp_path / "mine.pt")


def test_a_file_of_data_that_changed_under_a_run_is_refused(refused, runs, made, tmp_path):
    origin = runs / "seed-0" / "origin.json"
    data = tmp_path / "hopper-medium-v2.hdf5"
    raw = small_raw(120, states=11, actions=3)
    write(data, raw)
    origin.write_text(json.dumps(json.loads(origin.read_text()) | {"source": str(data)}))
    refused("train", "--resume", "--out", runs, said="expected the data the run was started with")
    data.unlink()
    refused("train", "--resume", "--out", runs, said=data)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data", "info", "../../etc/passwd"], "HDF5 file"),
        (["data", "info", "minari:../outside"], "expected an id such as minari:"),
        (["data", "info", "d4rl:../outside"], "d4rl:../outside"),
        (["data", "fetch", "../outside"], "expected a known name"),
        (["data", "make", "../outside"], "expected one of"),
        (["data", "fetch", NAME, "--from", "file:///etc/passwd"], "expected addresses that begin with https://"),
        (["data", "fetch", NAME, "--from", "ftp://127.0.0.1/x"], "expected addresses"),
        (["toy", "train", "../moons", "--out", "new"], "expected a readable CSV file"),
        (["data", "info", "x" * 5000], "expected a known name"),
        (["toy", "train", "x" * 5000, "--out", "new"], "expected one of"),
        (["toy", "show", "/dev/null"], "expected a run folder"),
        (["eval", "/dev/null"], "expected a run folder"),
        (["report", "/dev/null"], "expected runs that have been evaluated"),
        (["report", "/dev/zero", "--out", "/"], "expected the name of a file"),
    ],
)
def test_names_that_are_paths_lead_nowhere(refused, arguments, said):
    refused(*arguments, said=said)


@pytest.mark.parametrize(
    "fault",
    [("status", 404), ("cut", 100), ("short", 7), ("redirect", "file:///etc/passwd"), ("garbage", 0), ("broken gzip", 0), None],
)
def test_a_host_that_fails_leaves_nothing_behind(refused, tmp_path, folder, fault):
    write(tmp_path / "file.hdf5", small_raw())
    content = (tmp_path / "file.hdf5").read_bytes() if fault else b"<html>busy</html>"
    with Host({"/file": content}, faults=[fault] if fault else []).serving() as address:
        refused("data", "fetch", NAME, "--from", f"{address}/file", said="could not be downloaded")
    assert list(folder.iterdir()) == []


# -- disks and folders -------------------------------------------------------------------------------------------------------


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_named_by_every_command_and_spoils_nothing(refused, toy, runs, made, tmp_path, monkeypatch, call):
    results = shutil.copytree(made / "results", tmp_path / "results")
    monkeypatch.setattr(os, call, full)
    refused("toy", "train", "moons", "--points", 50, "--out", toy, said="holds a run already")
    refused("toy", "train", "moons", "--points", 50, "--steps", 3, "--out", tmp_path / "new", said="No space left on device")
    refused("toy", "show", toy, "--samples", 50, said=f"could not write {toy / 'figure.png'}")
    refused("report", results, "--out", tmp_path / "report", said=f"could not write {tmp_path / 'report.md'}")
    refused("demo", "moons", "--samples", 50, "--out", tmp_path / "page", said=f"could not write {tmp_path / 'page'}")


@pytest.mark.parametrize("place", ["a file", "a file above"])
def test_a_file_where_a_folder_should_go_is_named(refused, tmp_path, made, place):
    (tmp_path / "taken").write_text("mine")
    out = tmp_path / "taken" if place == "a file" else tmp_path / "taken" / "new"
    refused("toy", "train", "moons", "--points", 50, "--out", out, said=out)
    refused("train", hopper_file(tmp_path), "--out", out, *settings(), said=tmp_path / "taken")
    refused("demo", "moons", "--samples", 50, "--out", out, said=tmp_path / "taken")
    results = shutil.copytree(made / "results", tmp_path / "results")
    if place != "a file":
        refused("report", results, "--out", out, said=tmp_path / "taken")


def test_a_planted_link_in_the_place_of_a_half_written_file_leads_nowhere(toy, outside):
    for name in ("weights", "state"):
        (toy / f".{name}.safetensors.partial").symlink_to(outside / "secret")
    run = resume_run(toy)
    run.save()
    assert (outside / "secret").read_text() == SECRET * 100 and not list(toy.glob(".*partial"))
