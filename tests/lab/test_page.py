"""The saved page: small, self-contained, and made of the same numbers as the lab."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from cepkit.lab import GuidanceLab
from cepkit.lab.page import LARGEST, SCALES
from cepkit.truth.toys import make_toy


def stored(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)[1])


@pytest.fixture(scope="module")
def lab():
    return GuidanceLab("moons", ("exact", "no guidance"), particles=60, steps=6, scale=1.2)


@pytest.fixture(scope="module")
def page(lab, tmp_path_factory):
    return lab.save_html(tmp_path_factory.mktemp("page") / "lab.html", scales=(0, 1, 3), seeds=(0, 7))


def test_it_holds_every_scale_and_seed(page, lab):
    data = stored(page)
    assert data["scales"] == [0, 1, 3] and data["seeds"] == [0, 7] and data["scale"] == 1
    assert [[(run["paths"]["scale"], run["paths"]["seed"]) for run in row] for row in data["runs"]] == [
        [(0, 0), (1, 0), (3, 0)],
        [(0, 7), (1, 7), (3, 7)],
    ]
    assert data["beta"] == 3 and data["steps"] == 6 and data["method"] == "dpmpp2m"


def test_its_particles_are_the_labs(page, lab):
    run = stored(page)["runs"][0][1]["paths"]
    lab.scale = 1.0
    got = np.frombuffer(base64.b64decode(run["data"]["base64"]), "<i2").reshape(2, len(run["times"]), 60, 2)
    wanted = np.frombuffer(lab.paths["data"], "<i2").reshape(2, 7, 60, 2)
    assert run["times"] == lab.paths["times"][::2] and np.array_equal(got, wanted[:, ::2])


def test_scale_0_makes_the_panels_equal(page):
    run = stored(page)["runs"][1][0]["paths"]
    exact, none = np.frombuffer(base64.b64decode(run["data"]["base64"]), "<i2").reshape(2, -1)
    assert np.array_equal(exact, none)


def test_nothing_is_fetched_from_anywhere(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert "http" not in text.replace("http-equiv", "") and "import " not in text.split('<script type="module">')[1]


def test_the_standard_page_stays_under_its_size_with_six_panels(tmp_path):
    built_in = ("exact", "mean energy", "DPS", "no guidance")
    mine = {"inwards": lambda x, t: -x, "outwards": lambda x, t: x}
    lab = GuidanceLab("8gaussians", dict.fromkeys(built_in) | mine, particles=500)
    size = lab.save_html(tmp_path / "lab.html").stat().st_size
    assert len(SCALES) == 8 and size < LARGEST < 5_000_000


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "half a pair \ud83d"])
def test_any_name_is_written_and_none_breaks_out_of_the_page(tmp_path, name):
    toy = replace(make_toy("8gaussians"), name=name)
    path = GuidanceLab(toy, ("exact",), particles=5, steps=2).save_html(tmp_path / "x.html", scales=(0, 1))
    assert "<script>alert" not in path.read_text(encoding="utf-8") and stored(path)["setup"]["toy"] == name


def test_a_folder_that_does_not_exist_is_made(lab, tmp_path):
    path = lab.save_html(tmp_path / "build" / "pages" / "lab.html", scales=(0, 1), seeds=(0,))
    assert path == tmp_path / "build" / "pages" / "lab.html" and path.is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scales": (1.0,)}, "scales: expected at least two"),
        ({"scales": (1.0, 1.0)}, "scales: expected at least two"),
        ({"scales": (0.0, float("nan"))}, "scales: expected"),
        ({"seeds": ()}, "seeds: expected at least one"),
        ({"seeds": (-1,)}, "seeds: expected"),
        ({"scales": tuple(k / 100 for k in range(1000)), "seeds": range(9)}, "scales: expected fewer"),
    ],
)
def test_mistakes_are_named(lab, tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        lab.save_html(tmp_path / "x.html", **given)
    assert not (tmp_path / "x.html").exists()


def test_a_full_disk_is_said_and_the_old_page_stays(lab, tmp_path, monkeypatch):
    path = lab.save_html(tmp_path / "lab.html", scales=(0, 1), seeds=(0,))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*lab.html \(No space left on device\)"):
        lab.save_html(path, scales=(0, 2), seeds=(0,))
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["lab.html"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"could not make the folder .*file"):
        lab.save_html(tmp_path / "file" / "lab.html", scales=(0, 1), seeds=(0,))
