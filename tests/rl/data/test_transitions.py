"""D4RL's semantics, against a plain loop over rows and against files small enough to read."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cepkit.rl.data.transitions import Transitions, qlearning_transitions, returns_of


def loop(raw, limit=None):
    """What D4RL 1.1 does, row by row: the rows it keeps, and for each whether it is a terminal."""
    kept, ends, step = [], [], 0
    for row in range(len(raw["rewards"]) - 1):
        done = bool(raw["terminals"][row])
        final = bool(raw["timeouts"][row]) if "timeouts" in raw else step == limit - 1
        if final:
            step = 0
            continue
        if done:
            step = 0
        kept.append(row)
        ends.append(done)
        step += 1
    return kept, ends


def numbered(terminals, timeouts=None, **extra):
    """A file whose row i has the observation (i, -i), the action i / 1000 and the reward i."""
    n = len(terminals)
    rows = np.arange(n, dtype=np.float32)
    raw = {"observations": np.stack([rows, -rows], 1), "actions": rows[:, None] / 1000, "rewards": rows}
    raw["terminals"] = np.array(terminals, dtype=bool)
    if timeouts is not None:
        raw["timeouts"] = np.array(timeouts, dtype=bool)
    return raw | extra


def flags(n, *true):
    return [row in true for row in range(n)]


def rows_of(transitions):
    """The row of the file that each transition came from; every field must agree on it."""
    rows = transitions.observations[:, 0].long()
    assert torch.equal(transitions.rewards.long(), rows)
    assert torch.equal(transitions.actions[:, 0], (rows.float() / 1000))
    assert torch.equal(transitions.next_observations, torch.stack([rows + 1.0, -rows - 1.0], -1))
    return rows.tolist()


# -- the traps, each on a file that can be read --------------------------------------------------------------------------


def test_the_step_before_a_time_out_is_dropped_and_the_last_row_too():
    made = qlearning_transitions(numbered(flags(6), flags(6, 2)))
    assert rows_of(made) == [0, 1, 3, 4]
    assert made.terminals.tolist() == [False] * 4 and made.ends.tolist() == [False, True, False, True]
    assert made.episode_returns.tolist() == [0 + 1 + 2]


def test_a_terminal_is_kept_and_its_successor_is_another_episode():
    made = qlearning_transitions(numbered(flags(5, 1), flags(5)))
    assert rows_of(made) == [0, 1, 2, 3]
    assert made.terminals.tolist() == [False, True, False, False] and made.ends.tolist() == [False, True, False, True]


def test_a_terminal_that_coincides_with_a_time_out_is_dropped():
    made = qlearning_transitions(numbered(flags(5, 2), flags(5, 2)))
    assert rows_of(made) == [0, 1, 3] and not made.terminals.any()


def test_a_terminal_in_the_last_row_is_dropped_and_still_closes_its_episode():
    made = qlearning_transitions(numbered(flags(4, 3), flags(4)))
    assert rows_of(made) == [0, 1, 2] and not made.terminals.any() and made.episode_returns.tolist() == [6.0]


def test_returns_are_of_whole_episodes_dropped_steps_included_and_the_open_one_left_out():
    made = qlearning_transitions(numbered(flags(8, 1), flags(8, 4)))
    assert made.episode_returns.tolist() == [0 + 1, 2 + 3 + 4]


def test_without_time_outs_the_time_limit_counts():
    made = qlearning_transitions(numbered(flags(8)), max_episode_steps=3)
    assert rows_of(made) == [0, 1, 3, 4, 6] and made.episode_returns.tolist() == [3.0, 12.0]


def test_without_time_outs_d4rl_counts_from_one_after_a_terminal_and_the_returns_do_not():
    """The episode of rows 2 to 4 ends at row 4; D4RL drops row 3 and takes the successor of row 4 for its own."""
    raw = numbered(flags(8, 1))
    made = qlearning_transitions(raw, max_episode_steps=3)
    assert rows_of(made) == loop(raw, limit=3)[0] == [0, 1, 2, 4, 5]
    assert made.episode_returns.tolist() == [1.0, 9.0, 18.0]


def test_a_name_gives_the_time_limit_and_a_file_without_one_is_refused():
    raw = numbered(flags(301))
    assert len(qlearning_transitions(raw, name="maze2d-umaze-v1")) == 299  # 300 rows with a successor, one of them final
    with pytest.raises(ValueError, match="my-file: expected the key timeouts, .* unless the dataset has one of D4RL's names"):
        qlearning_transitions(raw, name="my-file")
    with pytest.raises(ValueError, match="max_episode_steps: expected an integer of at least 1, got 0"):
        qlearning_transitions(raw, max_episode_steps=0)


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_files(n):
    made = qlearning_transitions(numbered(flags(n), flags(n)))
    assert len(made) == n - 1 and made.observations.shape == (n - 1, 2) and len(made.episode_returns) == 0
    everything_out = qlearning_transitions(numbered(flags(3), [True] * 3))
    assert len(everything_out) == 0 and everything_out.fingerprint() and everything_out.episode_returns.tolist() == [0, 1, 2]


def test_columns_other_dtypes_and_other_keys_are_read_as_d4rl_reads_them():
    raw = numbered(flags(5, 1), flags(5, 3))
    other = {
        "observations": raw["observations"].astype(np.float64),
        "actions": raw["actions"],
        "rewards": raw["rewards"].astype(np.float64)[:, None],
        "terminals": raw["terminals"].astype(np.float32)[:, None],
        "timeouts": raw["timeouts"].astype(np.uint8),
        "next_observations": np.full_like(raw["observations"], np.nan),
        "infos/qpos": np.array(["anything"]),
    }
    one, two = qlearning_transitions(raw), qlearning_transitions(other)
    assert one.fingerprint() == two.fingerprint()
    assert {str(value.dtype) for value in two.tensors.values()} == {"torch.float32", "torch.bool"}


# -- any file, against the loop ------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(data=st.data(), n=st.integers(1, 40), timeouts=st.booleans(), limit=st.integers(1, 9))
def test_any_file_agrees_with_the_loop(data, n, timeouts, limit):
    rare = st.integers(0, 3).map(lambda number: number == 0)
    terminals = data.draw(st.lists(rare, min_size=n, max_size=n))
    raw = numbered(terminals, data.draw(st.lists(rare, min_size=n, max_size=n)) if timeouts else None)
    made = qlearning_transitions(raw, max_episode_steps=limit)
    kept, ends = loop(raw, limit)
    assert rows_of(made) == kept
    assert made.terminals.tolist() == [bool(terminals[row]) for row in kept]
    following = [*kept[1:], None][: len(kept)]
    assert made.ends.tolist() == [end or after != row + 1 for row, after, end in zip(kept, following, ends, strict=True)]
    assert made.episode_returns.tolist() == whole_returns(raw, limit)


def whole_returns(raw, limit):
    """Sums over episodes that a terminal, a time-out or the `limit`-th step closes."""
    found, total, step = [], 0.0, 0
    for row, reward in enumerate(raw["rewards"]):
        total, step = total + float(reward), step + 1
        if raw["terminals"][row] or (raw["timeouts"][row] if "timeouts" in raw else step == limit):
            found.append(total)
            total, step = 0.0, 0
    return found


@pytest.mark.skipif(not importlib.util.find_spec("d4rl"), reason="d4rl (make d4rl)")
@settings(max_examples=100)
@given(n=st.integers(2, 40), seed=st.integers(0, 1000), timeouts=st.booleans(), limit=st.integers(1, 9))
def test_any_file_agrees_with_the_d4rl_package(n, seed, timeouts, limit):
    random = np.random.default_rng(seed)
    raw = numbered(random.random(n) < 0.2, random.random(n) < 0.2 if timeouts else None)
    theirs = d4rl_function()(SimpleNamespace(_max_episode_steps=limit), raw)
    ours = qlearning_transitions(raw, max_episode_steps=limit)
    assert len(theirs["rewards"]) == len(ours)
    for key, value in theirs.items():
        assert not len(ours) or np.array_equal(getattr(ours, key).numpy(), value), key


def d4rl_function():
    """Its `qlearning_dataset` alone: importing the package wants gym, mujoco-py and patience."""
    tree = ast.parse(Path(importlib.util.find_spec("d4rl").origin).read_text(encoding="utf-8"))
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "qlearning_dataset"]
    found = {"np": np}
    exec(compile(ast.Module(body, []), "d4rl", "exec"), found)
    return found["qlearning_dataset"]


# -- the object -----------------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_content_alone():
    raw = numbered(flags(9, 2), flags(9, 5))
    print_of = {qlearning_transitions(raw, name=name).fingerprint() for name in ("", "other")}
    assert len(print_of) == 1 and len(next(iter(print_of))) == 64
    for key in raw:
        changed = {name: value.copy() for name, value in raw.items()}
        changed[key][3] = 1 - changed[key][3]
        assert qlearning_transitions(changed).fingerprint() not in print_of, key


def test_nothing_is_shared_with_the_file_and_moving_keeps_the_values():
    raw = numbered(flags(6), flags(6, 2))
    made = qlearning_transitions(raw)
    before = made.fingerprint()
    for value in raw.values():
        value[...] = 0
    assert made.fingerprint() == before == made.to("cpu").fingerprint()
    assert made.to("meta").observations.device.type == "meta"


def test_fields_of_different_lengths_are_refused_by_name():
    parts = qlearning_transitions(numbered(flags(6), flags(6, 2))).tensors
    with pytest.raises(ValueError, match=r"actions: expected shape \(4, dimensions\), one row per reward, got \(3, 1\)"):
        Transitions(name="", **parts | {"actions": parts["actions"][:3]})


def test_returns_of_nothing():
    assert returns_of(np.ones(3, np.float32), np.zeros(3, bool)).shape == (0,)
