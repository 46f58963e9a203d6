"""An evaluation's episodes are those that one environment gives alone, and its uncertainty is that of the mean."""

from __future__ import annotations

import math

import pytest
import torch
from run_coverage import coverage, quick_cases
from scipy import stats

from cepkit.rl import evaluate, make_env, mean_interval
from cepkit.rl.envs import maze
from cepkit.rl.envs.maze_data import reference_policy
from cepkit.rl.study.evaluate import episode_seed


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
    assert got.success.tolist() == [True] * 6 and got.score is None
    assert got.lengths.tolist() == [maze.STEPS] * 6 and got.environment.engine == "gymnasium-robotics"
    assert "success 100%" in str(got) and "6 episodes of seed 3" in str(got)
    away = evaluate(lambda o: torch.tensor([[1.0, 1.0]]).expand(len(o), 2), maze.NAME, episodes=6, seed=3, at_once=2)
    assert not away.success.any() and away.returns.sum() == 0 and "success 0%" in str(away)


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
    assert got.success is None and got.environment.engine == "d4rl-v2"
    assert "Hopper-v4 on d4rl-v2" in str(got)


def test_another_engine_warns_once():
    with pytest.warns(UserWarning, match="scores differ") as caught:
        got = evaluate(still, "hopper-medium-v2", episodes=3, engine="gymnasium-v5")
    assert len(caught) == 1 and caught[0].filename == __file__ and got.environment.gymnasium_id == "Hopper-v5"


@pytest.mark.parametrize("case", quick_cases(), ids=str)
def test_the_interval_covers_the_mean_as_often_as_it_says(case):
    assert 0.93 < coverage(case, trials=3000) < 0.97


def test_the_interval_is_student_s_over_the_means_of_runs():
    values = torch.tensor([[0.0, 2.0], [4.0, 6.0], [1.0, 5.0]])
    found = stats.ttest_1samp([1.0, 5.0, 3.0], 0.0).confidence_interval()
    assert mean_interval(values) == mean_interval(values.mean(1, keepdim=True)) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(
    "values",
    [torch.arange(60.0)[None], torch.rand(2, 60), torch.full((3, 4), 0.1), torch.eye(3), torch.ones(1, 1)],
    ids=["one run", "two runs", "no spread at all", "runs of one mean", "a single number"],
)
def test_there_is_no_interval_where_nothing_is_known_of_the_spread_over_trainings(values):
    assert all(map(math.isnan, mean_interval(values)))


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
        (lambda: mean_interval(torch.ones(0, 3)), "returns: expected finite numbers of shape"),
        (lambda: mean_interval(torch.ones(10)), r"of shape \(R, E\), R runs of E episodes, got \(10,\)"),
        (lambda: mean_interval(torch.tensor([[1.0, torch.nan]])), "returns: expected finite numbers"),
        (lambda: mean_interval(torch.ones(2, 2, 2)), r"got \(2, 2, 2\)"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
