"""D4RL's references, typed in again from its paper and package, and the family of every name."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from cepkit.rl.data import datasets
from cepkit.rl.data.catalogue import CATALOGUE, MAKERS
from cepkit.rl.data.scores import FAMILIES, REFERENCE_SCORES, family_of, normalized_score

LOCOMOTION = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
}


@pytest.mark.parametrize("robot", LOCOMOTION)
def test_every_locomotion_name_scores_from_0_to_100_between_its_references(robot):
    low, high = LOCOMOTION[robot]
    kinds = ["random", "medium", "expert", "medium-replay", "medium-expert"]
    every = [(kind, version) for kind in kinds for version in ("v0", "v1", "v2")]
    for kind, version in [*every, ("full-replay", "v1"), ("full-replay", "v2")]:
        name = f"{robot}-{kind}-{version}"
        assert normalized_score(name, low) == 0 and normalized_score(name, high) == 100 and family_of(name) == "locomotion"


@pytest.mark.parametrize(
    ("name", "family", "reference"),
    [
        ("antmaze-umaze-v0", "antmaze", (0, 1)),
        ("antmaze-large-diverse-v2", "antmaze", (0, 1)),
        ("maze2d-open-v0", "maze2d", (0.01, 20.66)),
        ("maze2d-large-v1", "maze2d", (6.7, 273.99)),
        ("kitchen-partial-v0", "kitchen", (0, 4)),
        ("pen-human-v1", "adroit", (96.262799, 3076.8331017826877)),
        ("relocate-human-v0", "adroit", (-6.425911, 4233.877797728884)),
        ("halfcheetah-small-replay", "locomotion", LOCOMOTION["halfcheetah"]),
    ],
)
def test_other_families(name, family, reference):
    assert family_of(name) == family and REFERENCE_SCORES[name] == reference


def test_the_papers_scores_come_back_from_returns():
    """QGPO's 54.1 on halfcheetah-medium is a return of 6,436; 98.0 on hopper-medium one of 3,169."""
    assert normalized_score("halfcheetah-medium-v2", 0.541 * (12135 + 280.178953) - 280.178953) == pytest.approx(54.1)
    assert normalized_score("hopper-medium-v2", 3169.21) == pytest.approx(98.0, abs=0.01)
    assert normalized_score("antmaze-umaze-v2", 0.964) == pytest.approx(96.4)


def test_scores_have_the_shape_and_kind_of_the_returns():
    returns = torch.tensor([[0.0, 12135.0]])
    scores = normalized_score("halfcheetah-medium-v2", returns)
    assert scores.shape == (1, 2) and scores.dtype == torch.float32 and float(scores[0, 1]) == 100
    assert isinstance(normalized_score("ant-medium-v2", np.ones((3, 1))), np.ndarray)
    assert normalized_score("antmaze-umaze-v2", [0, 1]).tolist() == [0, 100]
    assert normalized_score("antmaze-umaze-v2", torch.tensor([1])).tolist() == [100]
    assert isinstance(normalized_score("antmaze-umaze-v2", 1), float)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("hopper-medum-v2", "hopper-medium-v2"), ("halfcheeta-medium-expert-v2", "halfcheetah-medium-expert-v2"), ("antmaze", None)],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, nearest):
    for function in (family_of, lambda name: normalized_score(name, 1.0)):
        with pytest.raises(ValueError, match=f"dataset: expected a known name, got {name!r}") as error:
            function(name)
        assert nearest is None or f"nearest: {nearest}" in str(error.value)
    assert family_of(name, otherwise="mine") == "mine"


def test_names_without_references_say_so():
    with pytest.raises(ValueError, match="expected a dataset with reference scores, got 'pointmaze-umaze' .family maze."):
        normalized_score("pointmaze-umaze", 3.0)
    with pytest.raises(ValueError, match="got 'minari:mujoco/hopper/medium-v0'"):
        normalized_score("minari:mujoco/hopper/medium-v0", 3.0)
    with pytest.raises(ValueError, match="returns: expected numbers, got 'many'"):
        normalized_score("hopper-medium-v2", "many")


@pytest.mark.parametrize(
    ("name", "family"),
    [("mujoco/ant/expert-v0", "locomotion"), ("D4RL/antmaze/umaze-v1", "antmaze"), ("D4RL/pointmaze/large-v2", "maze")],
)
def test_families_of_minari_sets(name, family):
    assert family_of(f"minari:{name}") == family
    with pytest.raises(ValueError, match="expected a known name"):
        family_of("minari:atari/pong/expert-v0")


def test_the_catalogue_is_whole():
    assert {entry.family for entry in CATALOGUE.values()} == set(FAMILIES)
    assert {name for name, entry in CATALOGUE.items() if entry.shipped} == {*MAKERS, "halfcheetah-small-replay"}
    files = [entry.file for entry in CATALOGUE.values() if entry.file]
    assert len({file.rpartition("/")[2] for file in files}) == len(files), "the Hugging Face copy has one flat folder"
    assert CATALOGUE["hopper-medium-expert-v2"].transitions == 1_999_906
    limits = {"antmaze-umaze-v0": 700, "maze2d-large-v1": 800, "kitchen-mixed-v0": 280, "pen-human-v0": 100, "door-human-v0": 200}
    assert {name: CATALOGUE[name].episode_steps for name in limits} == limits


@pytest.mark.skipif(not importlib.util.find_spec("d4rl"), reason="d4rl (make d4rl)")
def test_everything_agrees_with_the_d4rl_package():
    infos = runpy.run_path(str(Path(importlib.util.find_spec("d4rl").origin).with_name("infos.py")))
    compared = [name for name in CATALOGUE if name in infos["REF_MIN_SCORE"]]
    for name in compared:
        assert REFERENCE_SCORES[name] == (infos["REF_MIN_SCORE"][name], infos["REF_MAX_SCORE"][name])
        assert datasets.mirrors(name)[0] == infos["DATASET_URLS"][name].replace("http:", "https:")
    assert len(compared) == 115
