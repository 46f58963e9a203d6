"""Where points come from: the same draw for a seed, there and back through JSON, refused by name."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cepkit.learning import DataSource
from cepkit.learning.data_source import fingerprint
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import make_toy

WINE = Path(__file__).parents[2] / "data" / "wine.csv"


def test_a_toy_s_points_are_its_own_recipe_s():
    x, energy = DataSource("rings", n=100, seed=3).draw()
    expected = make_toy("rings").sample(100, generator=torch.Generator().manual_seed(3))
    assert torch.equal(x, expected[0]) and torch.equal(energy, expected[1]) and x.dtype == torch.float32


def test_a_file_s_points_are_blurred_as_asked():
    source = DataSource(str(WINE), n=500, std=0.2)
    x, energy = source.draw()
    assert x.shape == (500, 2) and energy.shape == (500,) and source.toy().name == "wine"
    sharp, _ = DataSource(str(WINE), n=500).draw()
    rows = torch.from_numpy(np.loadtxt(WINE, delimiter=",", skiprows=1)[:, :2])
    nearest, blurred = (torch.cdist(points.double(), rows).amin(-1) for points in (sharp, x))
    assert float(nearest.max()) < 1e-6 and float(blurred.mean()) > 0.01
    assert source.toy().truth.components().std.unique().item() == pytest.approx(0.2)


def test_standardizing_is_that_of_from_points():
    source = DataSource(str(WINE), n=50, standardize=True)
    assert source.toy().extent == from_points(WINE, standardize=True).extent


@pytest.mark.parametrize("source", [DataSource("moons"), DataSource("moons", n=7, seed=9)])
def test_a_source_comes_back_from_json(source):
    assert DataSource.from_dict(json.loads(json.dumps(source.to_dict()))) == source


def test_a_file_is_remembered_by_its_absolute_path(monkeypatch):
    monkeypatch.chdir(WINE.parent)
    source = DataSource("wine.csv", n=20, std=0.1, standardize=True)
    again = DataSource.from_dict(json.loads(json.dumps(source.to_dict())))
    monkeypatch.chdir("/")
    assert Path(again.name) == WINE.resolve() and (again.n, again.std, again.standardize) == (20, 0.1, True)
    assert again.draw()[0].shape == (20, 2)


def test_a_path_object_serves_as_a_name():
    assert DataSource(WINE, n=5).to_dict()["name"] == str(WINE.resolve())


@pytest.mark.parametrize("name", ["DATA.CSV", "plain.txt", "plain"])
def test_a_file_may_have_any_name(name, tmp_path):
    (tmp_path / name).write_bytes(WINE.read_bytes())
    source = DataSource(str(tmp_path / name), n=20)
    assert torch.equal(source.draw()[0], DataSource(str(WINE), n=20).draw()[0])
    assert DataSource.from_dict(source.to_dict()) == source


def test_numbers_of_any_library_become_plain_ones():
    source = DataSource("moons", n=np.int64(50), seed=3.0)
    json.dumps(source.to_dict())
    assert source == DataSource("moons", n=50, seed=3) and source.draw()[0].shape == (50, 2)


def test_a_fingerprint_tells_data_apart_and_ignores_where_they_lie():
    x, energy = DataSource("moons", n=50).draw()
    mark = fingerprint(x, energy)
    assert mark == fingerprint(x.clone(), energy.double()) == fingerprint(x.T.contiguous().T, energy)
    swapped = x.clone()
    swapped[0, 0] = torch.nextafter(x[0, 0], x[0, 0] + 1)
    others = [fingerprint(swapped, energy), fingerprint(x, energy.flip(0)), fingerprint(x[:-1], energy[:-1])]
    assert len({mark, *others}) == 4 and len(mark) == 64


BAD = {
    "unknown toy": ({"name": "moon"}, "^toy: expected one of .*did you mean 'moons'"),
    "number": ({"name": 5}, "^toy: expected"),
    "none": ({"name": None}, "^toy: expected"),
    "no points": ({"name": "moons", "n": 0}, "^n: expected"),
    "one point": ({"name": "moons", "n": 1}, "^n: expected"),
    "half a point": ({"name": "moons", "n": 2.5}, "^n: expected"),
    "points in words": ({"name": "moons", "n": "many"}, "^n: expected"),
    "no number of points": ({"name": "moons", "n": None}, "^n: expected"),
    "true": ({"name": "moons", "n": True}, "^n: expected"),
    "seed": ({"name": "moons", "seed": -1}, "^seed: expected"),
    "seed too long": ({"name": "moons", "seed": 2**64}, "^seed: expected"),
    "blur of a toy": ({"name": "moons", "std": 0.1}, "^std: expected 0"),
    "scaling of a toy": ({"name": "moons", "standardize": True}, "^std: expected 0"),
    "blur": ({"name": "x.csv", "std": -0.1}, "^std: expected"),
    "blur NaN": ({"name": "x.csv", "std": math.nan}, "^std: expected"),
    "blur in words": ({"name": "x.csv", "std": "0.2"}, "^std: expected"),
    "scaling in words": ({"name": "x.csv", "standardize": "no"}, "^standardize: expected"),
    "unknown key": ({"name": "moons", "noise": 1}, "^data key: expected"),
    "no name": ({"n": 5}, "^data: expected a name"),
    "a list": (["moons"], "^data: expected a mapping"),
    "nothing": (None, "^data: expected a mapping"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_source_that_makes_no_sense_is_refused_by_name(case):
    values, complaint = BAD[case]
    with pytest.raises(ValueError, match=complaint):
        DataSource.from_dict(values)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected a readable CSV file, got .*nowhere\.csv"):
        DataSource(str(tmp_path / "nowhere.csv")).draw()


def test_a_file_with_a_cell_that_is_no_number_is_refused(tmp_path):
    for cell, complaint in (("nan", "finite"), ("inf", "finite"), ("much", "expected numbers")):
        path = tmp_path / "points.csv"
        path.write_text(f"1,2,3\n4,{cell},6\n")
        with pytest.raises(ValueError, match=complaint):
            DataSource(str(path), n=5).draw()


@pytest.mark.parametrize("name", ["MINE.CSV", "plain.txt", "plain"])
def test_a_file_here_is_a_file_whatever_its_suffix(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("0,1,2\n1,0,3\n0.5,0.5,1\n")
    source = DataSource(name, n=10)
    assert source.toy().dim == 2 and source.to_dict()["name"] == str(tmp_path / name)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="expected a readable CSV file"):
        DataSource(str(tmp_path / name), n=10).draw()


def test_a_toy_is_a_toy_even_beside_a_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moons").write_text("")
    assert not DataSource("moons").is_file
