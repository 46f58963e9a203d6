"""Evaluations as files, and their numbers over runs and episodes against those worked out by hand."""

from __future__ import annotations

import pytest
from cli_runs import keep, result

from cepkit.rl.data.scores import normalized_score
from cepkit.rl.study.results import pool, read_results, scale_name, scale_of


def test_a_damaged_result_is_named(tmp_path):
    folder = keep(tmp_path, result("scale-1", [1, 2])) / "seed-0"
    (path,) = folder.glob("eval-*.json")
    whole = path.read_text()
    wrong = [("2.0", "NaN"), ('"episodes": 2', '"episodes": 3'), ('"seed": 0', '"seed": null'), ("[]", "{}"), ('"1.4.0"', "[1]")]
    wrong += [('"scale-1"', policy) for policy in ("3", '"scale-x"')]
    for text in (whole[:40], "{}", "null", "[" * 100_000, "3", *(whole.replace(*pair) for pair in wrong)):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"scale-1\.json: .*expected"):
            read_results(folder)


def test_pooled_numbers_are_those_worked_out_by_hand():
    found = pool([result("scale-1", [0, 2], run_seed=0, score=0.0), result("scale-1", [4, 10], run_seed=3, score=0.0)])
    assert found.mean == 4.0 and found.returns.tolist() == [[0, 2], [4, 10]]
    assert found.scores.tolist() == normalized_score("hopper-medium-v2", found.returns).tolist()
    assert pool([result("scale-1", [0, 2])]).scores is None
    two = pool([result("scale-1", [0, 2]), result("scale-1", [4, 4], seed=1)])
    assert two.returns.tolist() == [[0, 2, 4, 4]]
    with pytest.raises(ValueError, match="expected as many episodes of every run"):
        pool([result("scale-1", [0, 2]), result("scale-1", [1], run_seed=1)])
    with pytest.raises(ValueError, match="expected those of one policy"):
        pool([result("scale-1", [0, 2]), result("cloning", [1, 1], run_seed=1)])


def test_names_of_scales_go_both_ways():
    assert [scale_name(s) for s in (0.0, 1.5, 10.0)] == ["scale-0", "scale-1.5", "scale-10"]
    assert scale_of("scale-1.5") == 1.5 and scale_of("cloning") is None
