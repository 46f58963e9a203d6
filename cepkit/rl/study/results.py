"""What trained runs earn: each policy of each run evaluated, and kept in the run's folder.

A file eval-<engine>-seed<seed>-episodes<n>-<policy>.json holds one policy of one run: every return, and everything they depend
on (environment, engine, versions, seed of the starts, weights by SHA-256, which checkpoint). What has been evaluated is not
evaluated again as long as all of that is the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cepkit import __version__
from cepkit.learning.checkpoints import write_atomically
from cepkit.rl.agent.baselines import best_of_k_policy, clone_policy, guided_policy
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_run import load_run, read_config
from cepkit.rl.data.checksums import sha256_of
from cepkit.rl.envs.engines import Environment
from cepkit.rl.envs.rollouts import Policy
from cepkit.rl.study.evaluate import evaluate
from cepkit.validation import check_number, import_extra

K = 16
CLONING, BEST_OF_K = "cloning", f"best-of-{K}"
_WEIGHTS = ("behaviour", "critic", "cloning")


def scale_name(scale: float) -> str:
    """What the policy of a guidance scale is called: "scale-1.5"; scale 0 is the behaviour model itself."""
    return f"scale-{scale:g}"


def scale_of(policy: str) -> float | None:
    """The guidance scale of a policy's name, None for a baseline."""
    return float(policy.removeprefix("scale-")) if policy.startswith("scale-") else None


@dataclass(frozen=True)
class Result:
    """One policy of one run, evaluated.

    Attributes:
        data: name of the data set that the run was trained on.
        run_seed: of the training.
        policy: "scale-<s>", "cloning" or "best-of-16".
        environment: the name it was evaluated under.
        engine: one of `cepkit.rl.ENGINES`.
        gymnasium_id: Gymnasium's name of the environment.
        versions: of cepkit, torch, python, gymnasium and mujoco (and gymnasium-robotics for mazes).
        notes: in what the environment differs from the data's.
        seed: of the episodes' starts.
        episodes: how many.
        checkpoint: which weights, "last": those after the last step, none were picked by return.
        weights: SHA-256 over the files of the weights.
        returns: of each episode.
        lengths: steps of each episode.
        success: whether the goal was reached, for mazes.
        score: D4RL's normalised score of the mean return, where it has a meaning.
    """

    data: str
    run_seed: int
    policy: str
    environment: str
    engine: str
    gymnasium_id: str
    versions: dict[str, str]
    notes: list[str]
    seed: int
    episodes: int
    checkpoint: str
    weights: str
    returns: list[float]
    lengths: list[int]
    success: list[bool] | None
    score: float | None

    def settings(self) -> dict[str, object]:
        """All that decides the returns."""
        return {key: value for key, value in asdict(self).items() if key not in ("returns", "lengths", "success", "score")}

    @classmethod
    def read(cls, path: Path) -> Result:
        """What `evaluate_run` wrote.

        Raises:
            ValueError: a file that does not read.
        """
        try:
            found = cls(**json.loads(path.read_text(encoding="utf-8")))
            if len(found.returns) != found.episodes or not all(map(math.isfinite, found.returns)):
                raise ValueError(f"expected {found.episodes} finite returns, got {len(found.returns)}")
        except (UnicodeDecodeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected what `cepkit eval` writes, but it does not read ({error})") from error
        return found


def read_results(folder: Path) -> list[Result]:
    """Every evaluation kept in a run folder."""
    return [Result.read(path) for path in sorted(folder.glob("eval-*.json"))]


def policies_of(qgpo: QGPO, scales: Sequence[float], *, baselines: bool, seed: int) -> dict[str, Policy]:
    """The policies to evaluate by name: each scale, cloning where it was trained; with `baselines` the behaviour model (scale 0)
    and the best of its K draws too. All draw the same noise, decided by `seed`."""
    wanted = [check_number(scale, name="scales", low=0.0) for scale in scales]
    if baselines and 0.0 not in wanted:
        wanted.insert(0, 0.0)
    found = {scale_name(scale): guided_policy(qgpo, scale, seed) for scale in wanted}
    if qgpo.cloning is not None:
        found[CLONING] = partial(clone_policy, qgpo)
    if baselines:
        found[BEST_OF_K] = best_of_k_policy(qgpo, K, seed)
    return found


def weights_of(folder: Path) -> str:
    """SHA-256 over the files of a run's weights."""
    files = (folder / f"{name}.safetensors" for name in _WEIGHTS)
    return hashlib.sha256("".join(sha256_of(path) for path in files if path.exists()).encode()).hexdigest()


def evaluate_run(
    folder: Path,
    environment: Environment,
    *,
    scales: Sequence[float],
    episodes: int = 10,
    seed: int = 0,
    baselines: bool = False,
    device: torch.device | str = "cpu",
    told: Callable[[Result, bool], None] | None = None,
) -> list[Result]:
    """Evaluate the policies of a finished run and keep each in its folder as soon as it is known.

    Args:
        environment: see `cepkit.rl.envs.engines.find_environment`.
        scales, baselines: which policies, see `policies_of`.
        told: called with each result and whether it was there before.

    Raises:
        ValueError: a run that is not finished, observations or actions of another size, numbers out of range, or as `evaluate`.
        OSError: the folder cannot be written.
    """
    written, qgpo, weights = read_config(folder), load_run(folder, device=device), weights_of(folder)
    _check_sizes(environment, written["state_dim"], written["action_dim"], written["data"]["name"])
    found = []
    run_seed = qgpo.config.seed
    draws = int(np.random.SeedSequence([seed, run_seed]).generate_state(1)[0])
    for name, policy in policies_of(qgpo, scales, baselines=baselines, seed=draws).items():
        settings = {
            "data": written["data"]["name"],
            "run_seed": run_seed,
            "policy": name,
            "environment": environment.name,
            "engine": environment.engine,
            "gymnasium_id": environment.gymnasium_id,
            "versions": versions(environment),
            "notes": differences(environment),
            "seed": seed,
            "episodes": episodes,
            "checkpoint": "last",
            "weights": weights,
        }
        path = folder / _file_name(settings)
        before = Result.read(path) if path.exists() else None
        known = before is not None and before.settings() == settings
        result = before if known else _evaluated(policy, environment, settings, device)
        if not known:
            write_atomically(path, (json.dumps(asdict(result), indent=1) + "\n").encode())
        found.append(result)
        if told is not None:
            told(result, known)
    return found


def _evaluated(policy: Policy, environment: Environment, settings: Mapping[str, object], device) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `differences` has said it
        got = evaluate(
            policy,
            environment.name,
            engine=environment.engine,
            episodes=settings["episodes"],
            seed=settings["seed"],
            device=device,
        )
    success = None if got.success is None else got.success.tolist()
    return Result(**settings, returns=got.returns.tolist(), lengths=got.lengths.tolist(), success=success, score=got.score)


def _file_name(settings: Mapping[str, object]) -> str:
    other = "" if settings["environment"] == settings["data"] else f"-{settings['environment']}"
    name = f"eval-{settings['engine']}{other}-seed{settings['seed']}-episodes{settings['episodes']}-{settings['policy']}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", name) + ".json"


def versions(environment: Environment) -> dict[str, str]:
    """Versions of what an evaluation depends on."""
    found = {"cepkit": __version__, "torch": torch.__version__, "python": platform.python_version()}
    for module in ("gymnasium", "mujoco"):
        found[module] = import_extra(module).__version__
    if environment.engine == "gymnasium-robotics":
        from importlib.metadata import version

        found["gymnasium-robotics"] = version("gymnasium-robotics")
    return found


def differences(environment: Environment) -> list[str]:
    """In what an environment is not the task that its name stands for."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        environment.warn()
    return [str(each.message) for each in caught]


def _check_sizes(environment: Environment, state_dim: int, action_dim: int, data: str) -> None:
    env = environment.build()
    try:
        got = (env.observation_space.shape[0], env.action_space.shape[0])
    finally:
        env.close()
    if got != (state_dim, action_dim):
        raise ValueError(
            f"{environment.name}: expected an environment with {state_dim} observations and {action_dim} actions, as {data} has, "
            f"got {got[0]} and {got[1]}"
        )
