"""`cepkit data ...` as a user types it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from dataset_files import Host, small_raw, write

from cepkit.commands.cli import main
from cepkit.rl.data import datasets
from cepkit.rl.data.catalogue import CATALOGUE
from cepkit.rl.data.downloads import read_record, sha256_of
from cepkit.rl.data.hdf5 import write_hdf5

NAME = "hopper-medium-v2"


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """The data folder of a checkout, with a manifest and nothing else."""
    path = tmp_path / "data"
    path.mkdir()
    (path / "manifest.json").write_text("{}")
    monkeypatch.setattr(datasets, "SHIPPED_FOLDER", path)
    return path


@pytest.fixture
def maker(monkeypatch):
    """A maker of pointmaze-umaze; what it makes follows its seed."""

    def make(path):
        write_hdf5(path, small_raw(seed=make.seed))

    make.seed = 0
    monkeypatch.setitem(sys.modules, "cepkit.rl.envs.maze_data", SimpleNamespace(make=make))
    return make


def run(capsys, *arguments, code=0):
    """Output and errors of a command that ends with `code`."""
    assert main(["data", *map(str, arguments)]) == code
    return capsys.readouterr()


def lines_of(out):
    """First word of each line with the rest of it."""
    return {line.split("  ")[0]: line.split("  ", 1)[-1].strip() for line in out.splitlines()}


# -- list -----------------------------------------------------------------------------------------------------------------------


def test_list_shows_every_name_with_its_family_its_size_and_whether_it_is_here(capsys, folder):
    folder.mkdir()
    write(folder / f"{NAME}.hdf5", small_raw())
    out = run(capsys, "list").out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and line.split()[0] in CATALOGUE}
    assert rows.keys() == CATALOGUE.keys() and str(folder) in out
    assert rows[NAME] == ["locomotion", "999,906", "yes"] and rows["walker2d-medium-expert-v2"] == ["locomotion", "1,999,995"]
    assert rows["pointmaze-umaze"] == ["maze"] and rows["pen-human-v1"] == ["adroit"]


# -- info -----------------------------------------------------------------------------------------------------------------------


def test_info_of_a_set_that_is_here(capsys, folder):
    folder.mkdir()
    raw = small_raw(100)
    raw["rewards"][:] = np.repeat([0, 1, 2, 3, 4], 20) * 1.0
    path = write(folder / f"{NAME}.hdf5", raw)
    said = lines_of(run(capsys, "info", NAME).out)
    assert said["family"] == "locomotion" and said["transitions"] == "97, of them 2 terminal"
    assert said["observations"] == "3 numbers" and said["actions"] == "2 numbers" and said["episodes"] == "5 finished"
    assert said["returns"] == "lowest 0, 10 % 8, median 40, 90 % 72, highest 80, mean 40"
    assert said["scores"].startswith("lowest 0.6229, ") and "highest 3.081" in said["scores"]
    assert said["training rewards"] == "times 1000 / (highest - lowest episode return)"
    assert said["source"] == "put there by hand" and said["SHA-256"] == sha256_of(path) and str(path) in said["file"]


def test_info_of_a_file_of_ones_own(capsys, tmp_path):
    said = lines_of(run(capsys, "info", write(tmp_path / "mine.hdf5", small_raw())).out)
    assert said["name"] == "mine" and said["family"] == "none known; training needs one" and "scores" not in said
    assert said["source"] == "a file of your own" and said["training rewards"] == "by the family it is trained as"


def test_info_of_a_shipped_set_quotes_the_manifest(capsys, shipped, maker):
    path = shipped / "pointmaze-umaze.hdf5"
    maker(path)
    entry = {"source": "a controller in PointMaze", "licence": "MIT", "sha256": sha256_of(path)}
    (shipped / "manifest.json").write_text(json.dumps({path.name: entry}))
    said = lines_of(run(capsys, "info", "pointmaze-umaze").out)
    assert said["source"] == entry["source"] and said["licence"] == "MIT" and said["SHA-256"] == entry["sha256"]


def test_info_of_what_is_not_here_says_how_to_get_it_and_fetches_nothing(capsys, folder):
    said = lines_of(run(capsys, "info", NAME).out)
    assert said["here"] == f"no; get it with: cepkit data fetch {NAME}" and not folder.exists()
    assert said["transitions"] == "999,906 rows, as reported elsewhere"
    assert lines_of(run(capsys, "info", "pointmaze-umaze").out)["here"] == "no; get it with: cepkit data make pointmaze-umaze"
    assert "ships with" in lines_of(run(capsys, "info", "halfcheetah-small-replay").out)["here"]


# -- fetch -----------------------------------------------------------------------------------------------------------------------


def test_fetch_from_an_address_then_a_changed_byte(capsys, folder, tmp_path):
    content = write(tmp_path / "right.hdf5", small_raw()).read_bytes()
    path = folder / f"{NAME}.hdf5"
    with Host({"/file": content}).serving() as address:
        said = run(capsys, "fetch", NAME, "--from", f"{address}/file")
        assert said.out.splitlines() == [str(path), f"0.0 MB, SHA-256 {sha256_of(path)}", f"from {address}/file"]
        assert run(capsys, "fetch", NAME, "--from", f"{address}/file").err == "", "it is here"
    assert lines_of(run(capsys, "info", NAME).out)["source"] == f"{address}/file"
    path.write_bytes(content + b"\0")
    for command in ("fetch", "info"):
        assert f"{path}: the file has changed: expected SHA-256" in run(capsys, command, NAME, code=2).err


def test_fetch_without_a_network_says_where_the_file_goes(capsys, folder):
    said = run(capsys, "fetch", NAME, "--from", "http://127.0.0.1:9/file", code=2).err
    assert "Connection refused" in said and said.endswith(f"save it as {folder / NAME}.hdf5\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fetch", "hopper-v2"], "dataset: expected a known name, got 'hopper-v2'; nearest: hopper-"),
        (["fetch", "pointmaze-umaze"], "this dataset ships with the project and is not downloaded"),
        (["info", "hoper-medium-v2"], "nearest: hopper-medium-v2"),
        (["info", "nowhere.hdf5"], "nowhere.hdf5: expected an HDF5 file in D4RL's schema, found none"),
        (["make", NAME], "name: expected one of pointmaze-umaze, got"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, folder, arguments, complaint):
    error = run(capsys, *arguments, code=2).err
    assert complaint in error and error.count("\n") == 1 and not folder.exists()


# -- make -----------------------------------------------------------------------------------------------------------------------


def test_make_writes_the_shipped_file_and_says_whether_it_is_the_shipped_one(capsys, shipped, maker):
    path = shipped / "pointmaze-umaze.hdf5"
    out = run(capsys, "make", "pointmaze-umaze").out
    assert str(path) in out and "not in data/manifest.json" in out and sorted(f.name for f in shipped.iterdir()) == [
        "manifest.json", path.name,
    ]  # fmt: skip
    (shipped / "manifest.json").write_text(json.dumps({path.name: {"sha256": sha256_of(path)}}))
    assert run(capsys, "make", "pointmaze-umaze").out.rstrip().endswith(", as in data/manifest.json")


def test_make_replaces_nothing_that_differs_unless_told(capsys, shipped, maker, tmp_path):
    path = shipped / "pointmaze-umaze.hdf5"
    run(capsys, "make", "pointmaze-umaze")
    before = path.read_bytes()
    maker.seed = 1
    error = run(capsys, "make", "pointmaze-umaze", code=2).err
    assert f"{path}: expected to make the same file again, but SHA-256" in error and path.read_bytes() == before
    out = run(capsys, "make", "pointmaze-umaze", "--out", tmp_path / "other.hdf5").out
    assert str(tmp_path / "other.hdf5") in out and path.read_bytes() == before
    assert read_record(tmp_path / "other.hdf5").source == "cepkit data make pointmaze-umaze"


def test_make_without_a_checkout_writes_into_the_folder(capsys, shipped, folder, maker):
    (shipped / "manifest.json").unlink()
    run(capsys, "make", "pointmaze-umaze")
    assert "cepkit data make pointmaze-umaze" in run(capsys, "info", "pointmaze-umaze").out and len(list(folder.iterdir())) == 2


def test_a_maker_that_fails_or_makes_nonsense_leaves_nothing(capsys, shipped, monkeypatch):
    for make, complaint in (
        (lambda path: path.write_bytes(b"nonsense"), "expected a whole HDF5 file"),
        (lambda path: None, "expected an HDF5 file in D4RL's schema, found none"),
    ):
        monkeypatch.setitem(sys.modules, "cepkit.rl.envs.maze_data", SimpleNamespace(make=make))
        assert complaint in run(capsys, "make", "pointmaze-umaze", code=2).err
        assert [file.name for file in shipped.iterdir()] == ["manifest.json"]
