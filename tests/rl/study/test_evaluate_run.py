"""A finished run, evaluated in a real environment: every policy, everything its returns depend on, and nothing twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from qgpo_problems import finish, tiny, walk

from cepkit.rl import evaluate_run, find_environment, load_run, normalized_score, start_run
from cepkit.rl.study.evaluate import evaluate
from cepkit.rl.study.results import policies_of, read_results, weights_of

HOPPER = "hopper-medium-v2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    data = replace(walk(state_dim=11, action_dim=3), name=HOPPER)
    return finish(start_run(tmp_path_factory.mktemp("run") / "seed-4", tiny(seed=4), data)).folder


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "seed-4")


def evaluated(folder, name=HOPPER, engine=None, **settings):
    """The results, and which of them were kept from before."""
    kept = []
    settings = {"scales": (0, 2), "episodes": 2, "seed": 5} | settings
    results = evaluate_run(folder, find_environment(name, engine), **settings, on_result=lambda _, before: kept.append(before))
    return results, kept


def test_every_policy_with_all_that_its_returns_depend_on(folder):
    results, kept = evaluated(folder, baselines=True)
    assert [r.policy for r in results] == ["scale-0", "scale-2", "cloning", "best-of-16"] and kept == [False] * 4
    assert {r.policy: r for r in read_results(folder)} == {r.policy: r for r in results}
    one = results[1]
    assert (folder / "eval-d4rl-v2-seed5-episodes2-scale-2.json").is_file()
    assert (one.data, one.environment, one.engine, one.gymnasium_id) == (HOPPER, HOPPER, "d4rl-v2", "Hopper-v4")
    assert (one.run_seed, one.seed, one.episodes, one.checkpoint, one.notes) == (4, 5, 2, "last", [])
    assert one.weights == weights_of(folder) and one.versions.keys() == {"cepkit", "torch", "python", "gymnasium", "mujoco"}
    assert one.score == pytest.approx(float(normalized_score(HOPPER, sum(one.returns) / 2))) and one.success is None
    noise = int(np.random.SeedSequence([5, 4]).generate_state(1)[0])  # of the starts' seed and the training's
    policies = policies_of(load_run(folder), (2,), baselines=False, seed=noise)
    for policy, result in zip(policies, results[1:3], strict=True):
        alone = evaluate(policies[policy], HOPPER, episodes=2, seed=5)
        assert result.returns == alone.returns.tolist() and result.lengths == alone.lengths.tolist()


def test_nothing_is_evaluated_twice_unless_something_has_changed(folder):
    first, _ = evaluated(folder)
    assert evaluated(folder) == (first, [True] * 3)
    assert evaluated(folder, seed=6)[1] == evaluated(folder, episodes=1)[1] == [False] * 3
    path = folder / "eval-d4rl-v2-seed5-episodes2-scale-2.json"
    written = json.loads(path.read_text())
    for changed in ({"weights": "of other weights"}, {"versions": written["versions"] | {"mujoco": "2"}}):
        path.write_text(json.dumps(written | changed | {"returns": [1.0, 2.0]}))
        assert evaluated(folder) == (first, [True, False, True]) and json.loads(path.read_text()) == written


def test_another_environment_or_engine_has_files_of_its_own_and_says_how_it_differs(folder):
    (result, _), _ = evaluated(folder, "hopper-random-v2", "gymnasium-v4", scales=(1,), episodes=1, seed=0)
    assert (folder / "eval-gymnasium-v4-hopper-random-v2-seed0-episodes1-scale-1.json").is_file()
    assert result.environment == "hopper-random-v2" and result.data == HOPPER
    assert len(result.notes) == 1 and "masses and inertias" in result.notes[0]


def test_mistakes_are_named(folder):
    with pytest.raises(ValueError, match=r"states: expected shape \(\.\.\., 11\), got \(2, 17\)"):
        evaluated(folder, "walker2d-medium-v2")
    for wrong in ({"scales": (-1,)}, {"episodes": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
            evaluated(folder, **wrong)
    assert read_results(folder) == []
