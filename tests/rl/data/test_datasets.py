"""Datasets by one name: where they are looked for, how they are checked, and the errors when they are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dataset_files import Host, small_raw, write

from cepkit.rl.data import datasets
from cepkit.rl.data.datasets import dataset_folder, fetch, find_file, is_path, load_dataset, manifest, mirrors, name_of
from cepkit.rl.data.downloads import read_record, sha256_of
from cepkit.rl.data.hdf5 import write_hdf5
from cepkit.rl.data.transitions import qlearning_transitions

NAME = "hopper-medium-v2"
OFFICIAL = "hopper_medium-v2.hdf5"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A checkout's data folder."""
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setattr(datasets, "SHIPPED_FOLDER", path)
    return path


@pytest.fixture
def content(tmp_path):
    """The bytes of a right file."""
    write_hdf5(tmp_path / "right.hdf5", small_raw())
    return (tmp_path / "right.hdf5").read_bytes()


def same_as(raw):
    return qlearning_transitions(raw).fingerprint()


# -- files -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_loaded_by_its_path_and_nothing_is_written_beside_it(tmp_path, kind):
    path = write(tmp_path / "mine.hdf5", small_raw())
    made = load_dataset(kind(path))
    assert made.name == "mine" and made.fingerprint() == same_as(small_raw())
    assert [other.name for other in tmp_path.iterdir()] == ["mine.hdf5"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (f"some/{OFFICIAL}", NAME),
        (Path(f"{NAME}.hdf5"), NAME),
        ("a/Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5", "antmaze-umaze-v2"),
        ("walker_mixed.h5", "walker2d-medium-replay-v0"),
        ("maze2d-large-sparse-v1.hdf5", "maze2d-large-v1"),
        ("maze2d-large-v1-sparse.hdf5", "maze2d-large-v1"),
        (f"{NAME}.HDF5", NAME),
        ("mine.hdf5", "mine"),
        ("d4rl:pen-human-v1", "pen-human-v1"),
    ],
)
def test_the_official_file_names_are_known(source, name):
    assert name_of(source) == name


@pytest.mark.parametrize("file", ["MINE.HDF5", "mine.hdf", "plain"])
def test_a_file_here_is_a_file_whatever_its_suffix(tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / file, small_raw())
    assert is_path(file) and load_dataset(file).fingerprint() == same_as(small_raw())
    assert not is_path(NAME) and not is_path("other") and not is_path("minari:a/b-v0")


def test_a_minari_id_without_its_prefix_is_recognised():
    with pytest.raises(ValueError, match="looks like Minari's; write minari:mujoco/hopper/medium-v0"):
        load_dataset("mujoco/hopper/medium-v0")


def test_a_d4rl_file_without_time_outs_has_the_time_limit_of_its_name(tmp_path):
    raw = small_raw(250)
    del raw["timeouts"]
    raw["terminals"][:] = False
    assert len(load_dataset(write(tmp_path / "pen-v0_demos_clipped.hdf5", raw))) == 247  # 249 rows less two of 100 steps
    with pytest.raises(ValueError, match="mine: expected the key timeouts, true where a time limit"):
        load_dataset(write(tmp_path / "mine.hdf5", raw))


def test_a_file_without_a_finished_episode_is_refused_except_of_maze2d(tmp_path):
    raw = small_raw()
    raw["timeouts"][:] = raw["terminals"][:] = False
    path = write(tmp_path / "open.hdf5", raw)
    with pytest.raises(ValueError, match=f"{path}: terminals, timeouts: expected at least one finished episode, got none"):
        load_dataset(path)
    assert len(load_dataset(write(tmp_path / "maze2d-umaze-v1.hdf5", raw))) == 59
    raw["timeouts"][:] = True
    with pytest.raises(ValueError, match="observations: expected at least one transition, got none"):
        load_dataset(write(tmp_path / "all.hdf5", raw))


def test_wrong_content_is_named_by_file_and_key(tmp_path):
    raw = small_raw()
    raw["rewards"][5] = np.nan
    path = write(tmp_path / "mine.hdf5", raw)
    with pytest.raises(ValueError, match=f"^{path}: rewards: expected finite values"):
        load_dataset(path)
    with pytest.raises(ValueError, match="absent.hdf5: expected an HDF5 file in D4RL's schema, found none"):
        load_dataset(tmp_path / "absent.hdf5")


# -- D4RL's names ------------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_argument_or_the_variable_or_in_the_home(tmp_path, folder, monkeypatch):
    assert dataset_folder(tmp_path) == tmp_path and dataset_folder() == folder
    monkeypatch.delenv("CEPKIT_DATA")
    monkeypatch.setenv("HOME", "/home/someone")
    assert dataset_folder() == Path("/home/someone/.cepkit/datasets")
    monkeypatch.setenv("CEPKIT_DATA", "~/elsewhere")
    assert dataset_folder() == Path("/home/someone/elsewhere")


def test_a_file_put_there_by_hand_is_recorded_on_first_use_and_compared_ever_after(folder):
    folder.mkdir()
    for place in (f"{NAME}.hdf5", OFFICIAL):
        path = write(folder / place, small_raw())
        made = load_dataset(NAME)
        assert made.name == NAME and made.fingerprint() == same_as(small_raw())
        assert read_record(path).source == "put there by hand" and find_file(NAME) == path
        write(path, small_raw(seed=1))
        with pytest.raises(ValueError, match=f"{path}: the file has changed: expected SHA-256"):
            load_dataset(NAME)
        path.unlink()


def test_a_name_is_downloaded_once_announced_recorded_and_loaded(folder, content, capsys, monkeypatch):
    host = Host({f"/{OFFICIAL}": content})
    with host.serving() as address:
        monkeypatch.setattr(datasets, "HOSTS", (address + "/official/{file}", address + "/{base}"))
        made = load_dataset(NAME)
        assert load_dataset(NAME).fingerprint() == made.fingerprint() == same_as(small_raw())
    assert host.asked == [f"/official/gym_mujoco_v2/{OFFICIAL}", f"/{OFFICIAL}"]
    assert capsys.readouterr().err == f"Downloading {NAME} into {folder}\n"
    path = folder / f"{NAME}.hdf5"
    assert path.read_bytes() == content
    record = read_record(path)
    assert (record.source, record.sha256, record.bytes) == (f"{address}/{OFFICIAL}", sha256_of(path), len(content))
    assert sorted(other.name for other in folder.iterdir()) == [path.name, path.name + ".json"]


def test_another_folder_is_used_when_asked_for(tmp_path, folder, content, monkeypatch):
    with Host({f"/{OFFICIAL}": content}).serving() as address:
        monkeypatch.setattr(datasets, "HOSTS", (address + "/{base}",))
        load_dataset(NAME, folder=tmp_path / "other")
    assert (tmp_path / "other" / f"{NAME}.hdf5").is_file() and not folder.exists()


def test_a_file_that_is_cut_or_foreign_or_lacks_a_key_is_not_kept(folder, content, tmp_path):
    lacking = write(
        tmp_path / "lacking.hdf5", {key: value for key, value in small_raw().items() if key != "rewards"}
    ).read_bytes()
    host = Host({"/cut": content[:-500], "/page": b"<html>", "/lacking": lacking, "/whole": content})
    with host.serving() as address:
        bad = [f"{address}/{name}" for name in ("cut", "page", "lacking")]
        with pytest.raises(ConnectionError) as error:
            fetch(NAME, urls=bad)
        assert list(folder.iterdir()) == []
        assert fetch(NAME, urls=[*bad, f"{address}/whole"]).read_bytes() == content
    message = str(error.value)
    assert message.count("sent something else (expected a whole HDF5 file") == 2 and "rewards missing, found" in message
    assert message.endswith(f"Get it by other means and save it as {folder / NAME}.hdf5")


def test_the_mirrors_are_the_official_host_and_then_hugging_face():
    assert mirrors("halfcheetah-medium-replay-v2") == (
        "https://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2/halfcheetah_medium_replay-v2.hdf5",
        "https://huggingface.co/datasets/imone/D4RL/resolve/main/halfcheetah_medium_replay-v2.hdf5",
    )
    with pytest.raises(ValueError, match="pointmaze-umaze: expected one of D4RL's names"):
        mirrors("pointmaze-umaze")


@pytest.mark.parametrize("function", [load_dataset, fetch, find_file, mirrors])
def test_an_unknown_name_is_refused_with_the_nearest(folder, function):
    with pytest.raises(ValueError, match="got 'hopper-medium-v3'; nearest: hopper-medium-v2"):
        function("hopper-medium-v3")
    assert not folder.exists()


# -- what ships --------------------------------------------------------------------------------------------------------------


def test_a_shipped_set_is_read_from_the_checkout_and_compared_with_the_manifest(shipped, folder):
    path = shipped / "pointmaze-umaze.hdf5"
    write_hdf5(path, small_raw())
    folder.mkdir()
    write_hdf5(folder / "pointmaze-umaze.hdf5", small_raw(seed=2))
    assert load_dataset("pointmaze-umaze").fingerprint() == same_as(small_raw())
    entry = {"pointmaze-umaze.hdf5": {"sha256": sha256_of(path)}}
    (shipped / "manifest.json").write_text(json.dumps(entry))
    made = load_dataset("pointmaze-umaze")
    assert made.name == "pointmaze-umaze" and len(list(shipped.iterdir())) == 2
    write_hdf5(path, small_raw(seed=1))
    with pytest.raises(ValueError, match=r"pointmaze-umaze.hdf5: the file has changed: .* \(in data/manifest.json\)"):
        load_dataset("pointmaze-umaze")


def test_one_made_on_this_machine_stands_in_and_without_either_the_command_is_named(shipped, folder):
    with pytest.raises(ValueError, match="expected its file .*, found none; make it with: cepkit data make pointmaze-umaze"):
        load_dataset("pointmaze-umaze")
    folder.mkdir()
    write_hdf5(folder / "pointmaze-umaze.hdf5", small_raw())
    assert len(load_dataset("pointmaze-umaze")) > 0 and manifest() == {}


def test_a_manifest_that_somebody_changed_is_refused(shipped):
    write_hdf5(shipped / "pointmaze-umaze.hdf5", small_raw())
    for content in ("null", "[1]", '{"pointmaze-umaze.hdf5": 3}', "{"):
        (shipped / "manifest.json").write_text(content)
        with pytest.raises(ValueError, match=r"manifest\.json: (pointmaze-umaze\.hdf5: )?expected"):
            load_dataset("pointmaze-umaze")


def test_the_manifest_of_the_project_is_read():
    assert "wine.csv" in manifest()


# -- the d4rl package ---------------------------------------------------------------------------------------------------------


def test_the_d4rl_package_is_used_where_it_works(monkeypatch):
    raw = small_raw()
    del raw["timeouts"]
    env = SimpleNamespace(get_dataset=lambda: raw, _max_episode_steps=20)
    monkeypatch.setitem(sys.modules, "d4rl", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "gym", SimpleNamespace(make={NAME: env}.__getitem__))
    made = load_dataset(f"d4rl:{NAME}")
    expected = qlearning_transitions(raw, max_episode_steps=20)
    assert made.name == NAME and made.fingerprint() == expected.fingerprint()
    with pytest.raises(ValueError, match="d4rl:hopper-random-v2: expected .* mujoco-py, but KeyError"):
        load_dataset("d4rl:hopper-random-v2")


def test_without_the_d4rl_package_the_plain_name_is_recommended(monkeypatch):
    monkeypatch.setitem(sys.modules, "d4rl", None)
    with pytest.raises(ValueError, match="d4rl:hopper-medium-v2: expected .*; the plain name hopper-medium-v2 needs none"):
        load_dataset(f"d4rl:{NAME}")


def test_the_package_imports_without_the_optional_ones():
    code = (
        "import sys\n"
        "for name in ('h5py', 'minari', 'gymnasium', 'mujoco', 'd4rl', 'gym'): sys.modules[name] = None\n"
        "import cepkit.rl\n"
        "try: cepkit.rl.load_dataset('mine.hdf5')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install -e '.[rl]'" in done.stdout, done.stderr


def test_loading_touches_no_global_random_state(tmp_path):
    path = write(tmp_path / "mine.hdf5", small_raw())
    before = torch.random.get_rng_state()
    load_dataset(path)
    assert torch.equal(torch.random.get_rng_state(), before)
