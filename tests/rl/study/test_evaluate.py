"""An evaluation's episodes are those that one environment gives alone, and its uncertainty is that of the mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cepkit.rl import bootstrap_interval, evaluate, make_env
from cepkit.rl.envs import maze
from cepkit.rl.envs.maze_data import reference_policy
from cepkit.rl.study.evaluate import Evaluation, episode_seed


def still(observations):
    return torch.zeros(len(observations), 3)


def sway(observations):
    return 0.02 * observations[:, -3:]


def alone(policy, name, seed, episode):
    """One episode in an environment of its own: return and length."""
    env = make_env(name)
    state, _ = env.reset(seed=episode_seed(seed, episode))
    total, length, done = 0.0, 0, False
    while not done:
        action = policy(torch.tensor(state, dtype=torch.float32)[None])[0].clamp(-1, 1).numpy()
        state, reward, terminated, truncated, _ = env.step(action)
        total, length, done = total + reward, length + 1, terminated or truncated
    return total, length


@pytest.mark.parametrize("at_once", [1, 3, 7, 64])
def test_episodes_are_the_same_however_many_run_at_once(at_once):
    got = evaluate(sway, "hopper-medium-v2", episodes=7, seed=5, at_once=at_once)
    expected = [alone(sway, "hopper-medium-v2", 5, episode) for episode in range(7)]
    assert got.lengths.tolist() == [length for _, length in expected] and len(set(got.lengths.tolist())) > 1
    assert got.returns.tolist() == pytest.approx([total for total, _ in expected], abs=1e-6)


def test_fewer_episodes_are_the_first_of_more_and_the_policy_does_not_change_the_starts():
    seen = {}

    def watched(policy):
        def act(observations):
            seen.setdefault(policy, observations.clone())
            return policy(observations)

        return act

    more = evaluate(watched(still), "hopper-medium-v2", episodes=5, seed=1)
    fewer = evaluate(watched(sway), "hopper-medium-v2", episodes=3, seed=1)
    assert torch.equal(seen[still][:3], seen[sway]) and seen[still].dtype == torch.float32
    assert torch.equal(evaluate(sway, "hopper-medium-v2", episodes=5, seed=1).returns[:3], fewer.returns)
    assert not torch.equal(more.returns, evaluate(still, "hopper-medium-v2", episodes=5, seed=2).returns)


def test_seeds_of_neighbours_have_nothing_in_common():
    seeds = [episode_seed(seed, episode) for seed in range(20) for episode in range(50)]
    assert len(set(seeds)) == 1000


def test_a_finished_episode_counts_no_further_step():
    sizes = []

    def policy(observations):
        sizes.append(len(observations))
        return still(observations)

    got = evaluate(policy, "hopper-medium-v2", episodes=6, at_once=4)
    assert sum(sizes) == int(got.lengths.sum()) and max(sizes) == 4 and sizes == sorted(sizes, reverse=True)
    assert got.returns.min() > 0 and (got.lengths < 1000).all()


def test_a_maze_reports_success_and_no_score():
    got = evaluate(reference_policy, maze.NAME, episodes=6, seed=3)
    assert got.success.tolist() == [True] * 6 and got.success_rate == 1.0 and got.score is None
    assert got.lengths.tolist() == [maze.STEPS] * 6 and got.environment.engine == "gymnasium-robotics"
    assert "success 100%" in str(got) and "6 episodes of seed 3" in str(got)
    away = evaluate(lambda o: torch.tensor([[1.0, 1.0]]).expand(len(o), 2), maze.NAME, episodes=6, seed=3, at_once=2)
    assert not away.success.any() and away.returns.sum() == 0 and away.success_rate == 0.0


def test_success_is_having_been_there_even_if_one_leaves():
    calls = []

    def visit(observations):
        calls.append(observations)
        return reference_policy(observations) if len(calls) < 200 else torch.ones(len(observations), 2)

    got = evaluate(visit, maze.NAME, episodes=4, seed=3)
    left = (calls[-1][:, :2] - torch.tensor(maze.GOAL)).norm(dim=1) > maze.GOAL_RADIUS
    assert left.all() and got.success.all() and (got.returns < 200).all()


def test_locomotion_has_no_success_and_runs_on_d4rl_s_engine():
    got = evaluate(still, "hopper-medium-v2", episodes=1)
    assert got.success is None and got.success_rate is None and got.environment.engine == "d4rl-v2" and got.environment.is_d4rls
    assert "Hopper-v4 on d4rl-v2" in str(got) and math.isnan(got.standard_error) and got.interval() == (got.mean, got.mean)


def test_another_engine_warns_once():
    with pytest.warns(UserWarning, match="scores differ") as caught:
        got = evaluate(still, "hopper-medium-v2", episodes=3, engine="gymnasium-v5")
    assert len(caught) == 1 and caught[0].filename == __file__ and got.environment.gymnasium_id == "Hopper-v5"


def some(returns):
    environment = evaluate(still, "hopper-medium-v2", episodes=1).environment
    return Evaluation(environment, 0, torch.tensor(returns, dtype=torch.float64), torch.ones(len(returns)), None)


def test_mean_median_and_error_by_hand():
    got = some([1.0, 2.0, 3.0, 10.0])
    assert got.mean == 4.0 and got.median == 2.5
    assert got.standard_error == pytest.approx(np.std([1, 2, 3, 10], ddof=1) / 2)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator, hits = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        low, high = bootstrap_interval(torch.randn(50, generator=generator, dtype=torch.float64) + 2, 0.9, resamples=400)
        hits += low <= 2.0 <= high
    assert 0.84 < hits / 300 < 0.94


def test_the_interval_is_the_same_for_a_seed_and_that_of_a_normal_mean():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low, high = bootstrap_interval(values)
    assert bootstrap_interval(values) == (low, high) != bootstrap_interval(values, seed=1)
    half = 1.96 * float(values.std()) / 20
    assert (low, high) == pytest.approx((float(values.mean()) - half, float(values.mean()) + half), abs=0.1 * half)
    assert bootstrap_interval(values, 0.5)[0] > low


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate(still, "hopper-medium-v2", episodes=0), "episodes: expected"),
        (lambda: evaluate(still, "hopper-medium-v2", seed=-1), "seed: expected"),
        (lambda: evaluate(still, "hopper-medium-v2", at_once=0), "at_once: expected"),
        (lambda: evaluate(still, "hopper-medum-v2"), "did you mean 'hopper-medium-v2'"),
        (lambda: evaluate(still, "hopper-medium-v2", engine="v4"), "engine: expected one of"),
        (lambda: evaluate(still, "walker2d-medium-v2", episodes=2), r"policy: expected still .*shape \(2, 6\), got \(2, 3\)"),
        (lambda: evaluate(lambda o: o[:, :3] / 0 * 0, "hopper-medium-v2", episodes=1), "policy: expected finite actions"),
        (lambda: bootstrap_interval(torch.tensor([])), "values: expected a non-empty vector"),
        (lambda: bootstrap_interval(torch.tensor([1.0, torch.nan])), "values: expected a non-empty vector of finite numbers"),
        (lambda: bootstrap_interval(torch.ones(3), 95), "level: expected"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
