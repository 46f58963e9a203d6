"""Results of trained runs: every policy of a run evaluated, kept in the run's folder, and pooled over training seeds.

A file eval-<engine>-seed<seed>-episodes<n>-<policy>.json holds one policy of one run: every return, and everything that the
returns depend on (environment, engine, versions, seed of the starts, weights by SHA-256). A policy is evaluated again only
where some of that has changed.
"""

import hashlib
import platform
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from cepkit import __version__
from cepkit.learning.checkpoints import read_json, write_json
from cepkit.rl.agent.baselines import best_of_k_policy, clone_policy, guided_policy
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_run import load_run
from cepkit.rl.agent.run_folders import read_config
from cepkit.rl.data.downloads import sha256_of
from cepkit.rl.data.scores import normalized_score
from cepkit.rl.envs.engines import Environment
from cepkit.rl.envs.rollouts import Policy
from cepkit.rl.study.evaluate import evaluate
from cepkit.validation import check_number

K = 16
CLONING, BEST_OF_K = "cloning", f"best-of-{K}"
_MEASURED = ("returns", "lengths", "success", "score")


@dataclass(frozen=True)
class Result:
    """One policy of one run, evaluated: the content of one file."""

    data: str  # name of the dataset that the run was trained on
    run_seed: int  # of the training
    policy: str  # "scale-<s>", "cloning" or "best-of-16"
    environment: str  # the name it was evaluated under
    engine: str  # one of `cepkit.rl.ENGINES`
    gymnasium_id: str  # Gymnasium's name of the environment
    versions: dict[str, str]  # of cepkit, torch, python, gymnasium and mujoco (and gymnasium-robotics for mazes)
    notes: list[str]  # how the environment differs from the task of that name
    seed: int  # of the episodes' starts
    episodes: int  # how many
    checkpoint: str  # which weights; always "last", those after the last step
    weights: str  # SHA-256 over the files of the weights
    returns: list[float]  # of each episode
    lengths: list[int]  # steps of each episode
    success: list[bool] | None  # whether each episode reached the goal, for mazes
    score: float | None  # D4RL's normalised score of the mean return, where D4RL defines one

    @property
    def settings(self) -> dict[str, object]:
        """All that decides the returns."""
        return {key: value for key, value in asdict(self).items() if key not in _MEASURED}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `evaluate_run` wrote.

        Raises:
            ValueError: it cannot be read, or a value is of another kind; the message names the file and the key.
        """
        found = read_json(path, cls)
        try:
            scale_of(found.policy)
        except ValueError as error:
            raise ValueError(f"{path}: policy: expected a scale or a baseline, got {found.policy!r}") from error
        for name in ("returns", "lengths", "success"):
            values = getattr(found, name)
            if values is not None and len(values) != found.episodes:
                raise ValueError(f"{path}: {name}: expected one for each of {found.episodes} episodes, got {len(values)}")
        return found


@dataclass(frozen=True)
class Pooled:
    """One policy over several training seeds."""

    returns: Tensor  # (R, E) float64, of every run and episode
    scores: Tensor | None  # (R, E), D4RL's normalised scores of the same, where D4RL defines them
    success: float | None  # share of episodes that reached the goal, for mazes

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())


def pool(results: Sequence[Result]) -> Pooled:
    """Pool the results of one policy: runs by rising training seed, the episodes of each concatenated over evaluation seeds.

    Raises:
        ValueError: no results, runs with different numbers of episodes, or several policies or environments.
    """
    if len({(r.policy, r.environment, r.engine) for r in results}) != 1:
        raise ValueError("results: expected those of one policy on one engine, got none or several")
    runs = sorted({r.run_seed for r in results})
    rows = [[value for r in results if r.run_seed == run for value in r.returns] for run in runs]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"results: expected as many episodes of every run, got {[len(row) for row in rows]}")
    returns = torch.tensor(rows, dtype=torch.float64)
    scores, success = None, None
    if all(r.score is not None for r in results):
        scores = normalized_score(results[0].environment, returns)
    if all(r.success is not None for r in results):
        success = float(np.concatenate([r.success for r in results]).mean())
    return Pooled(returns, scores, success)


def scale_name(scale: float) -> str:
    """The name of the guided policy at a scale, such as "scale-1.5"; scale 0 is the behaviour model itself."""
    return f"scale-{scale:g}"


def scale_of(policy: str) -> float | None:
    """The guidance scale of a policy's name, None for a baseline."""
    return float(policy.removeprefix("scale-")) if policy.startswith("scale-") else None


def read_results(folder: Path) -> list[Result]:
    """Every evaluation kept in a run folder, of whatever weights."""
    return [Result.read(path) for path in sorted(folder.glob("eval-*.json"))]


def weights_of(folder: Path) -> str:
    """SHA-256 over the files of a run's weights."""
    files = (folder / f"{name}.safetensors" for name in ("behaviour", "critic", "cloning"))
    return hashlib.sha256("".join(sha256_of(path) for path in files if path.is_file()).encode()).hexdigest()


def policies_of(qgpo: QGPO, scales: Sequence[float], *, baselines: bool, seed: int) -> dict[str, Policy]:
    """The policies to evaluate, by name: one for each scale, and cloning where it was trained.

    With `baselines` also the behaviour model (scale 0) and the best of its K draws by Q. All draw the same noise, decided by
    `seed`.
    """
    wanted = [check_number(scale, name="scales", low=0.0) for scale in scales]
    if baselines and 0.0 not in wanted:
        wanted.insert(0, 0.0)
    found = {scale_name(scale): guided_policy(qgpo, scale, seed) for scale in wanted}
    if qgpo.cloning is not None:
        found[CLONING] = partial(clone_policy, qgpo)
    if baselines:
        found[BEST_OF_K] = best_of_k_policy(qgpo, K, seed)
    return found


def evaluate_run(
    folder: Path,
    environment: Environment,
    *,
    scales: Sequence[float],
    episodes: int = 10,
    seed: int = 0,
    baselines: bool = False,
    device: torch.device | str = "cpu",
    on_result: Callable[[Result, bool], None] = lambda result, kept: None,
) -> list[Result]:
    """Evaluate `policies_of` a finished run and keep each result in its folder as soon as it is known.

    `on_result` is called with each result and whether it was kept from before; `find_environment` gives the environment.

    Raises:
        ValueError: a run that is not finished or is of another task, numbers out of range, or as `evaluate`.
        OSError: the folder cannot be written.
    """
    seed = check_number(seed, name="seed", low=0, integer=True)
    data, qgpo, weights = read_config(folder).data.name, load_run(folder, device=device), weights_of(folder)
    run_seed, found = qgpo.config.seed, []
    noise = int(np.random.SeedSequence([seed, run_seed]).generate_state(1)[0])
    for name, policy in policies_of(qgpo, scales, baselines=baselines, seed=noise).items():
        settings = {
            "data": data,
            "run_seed": run_seed,
            "policy": name,
            "environment": environment.name,
            "engine": environment.engine,
            "gymnasium_id": environment.gymnasium_id,
            "versions": versions(environment),
            "notes": [environment.difference] if environment.difference else [],
            "seed": seed,
            "episodes": episodes,
            "checkpoint": "last",
            "weights": weights,
        }
        path = folder / _file_name(settings)
        result = Result.read(path) if path.exists() else None
        kept = result is not None and result.settings == settings
        if not kept:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # how the environment differs is in the notes
                got = evaluate(policy, environment.name, episodes=episodes, engine=environment.engine, seed=seed, device=device)
            success = None if got.success is None else got.success.tolist()
            result = Result(
                **settings, returns=got.returns.tolist(), lengths=got.lengths.tolist(), success=success, score=got.score
            )
            write_json(path, asdict(result))
        found.append(result)
        on_result(result, kept)
    return found


def versions(environment: Environment) -> dict[str, str]:
    """Versions of the packages that an evaluation depends on."""
    packages = ["torch", "gymnasium", "mujoco"] + ["gymnasium-robotics"] * (environment.engine == "gymnasium-robotics")
    return {"cepkit": __version__, "python": platform.python_version()} | {name: version(name) for name in packages}


def _file_name(settings: Mapping[str, object]) -> str:
    other = "" if settings["environment"] == settings["data"] else f"-{settings['environment']}"
    name = f"eval-{settings['engine']}{other}-seed{settings['seed']}-episodes{settings['episodes']}-{settings['policy']}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", name) + ".json"
