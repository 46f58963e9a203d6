"""Small data sets on disk and results as `cepkit eval` leaves them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np
from dataset_files import write

from cepkit.rl.data.datasets import SHIPPED_FOLDER
from cepkit.rl.data.hdf5 import read_hdf5
from cepkit.rl.study.results import Result

NO_WEIGHTS = hashlib.sha256().hexdigest()  # what `weights_of` says of a run folder without files of weights
TINY = (
    "behaviour_steps=12", "behaviour_batch=16", "behaviour_widths=8 4", "behaviour_embedding=8", "support_actions=2",
    "support_steps=2", "support_chunk=300", "warm_start_steps=4", "critic_steps=6", "critic_width=8",
    "energy_steps=6", "energy_batch=4", "energy_width=8", "energy_layers=2", "cloning_steps=6", "act_steps=2",
)  # fmt: skip


def settings(*more):
    """Options of a run that trains in a moment, and `more` of them as "name=value"."""
    words = []
    for pair in (*TINY, *more):
        name, value = pair.split("=")
        words += [f"--{name.replace('_', '-')}", *value.split()]
    return words


def maze_excerpt(folder, name="pointmaze-umaze"):
    """The first two episodes of the course's maze set, as a file of one's own."""
    raw = read_hdf5(SHIPPED_FOLDER / "pointmaze-umaze.hdf5")
    return write(folder / f"{name}.hdf5", {key: value[:600] for key, value in raw.items() if len(value) >= 600})


def hopper_file(folder, name="hopper-medium-v2"):
    """A random set of Hopper's sizes; policies trained on it fall at once, so episodes are short."""
    random = np.random.default_rng(0)
    raw = {
        "observations": random.standard_normal((120, 11)).astype(np.float32),
        "actions": random.uniform(-1, 1, (120, 3)).astype(np.float32),
        "rewards": random.uniform(0, 1, 120).astype(np.float32),
        "terminals": np.arange(120) % 40 == 39,
        "timeouts": np.zeros(120, bool),
    }
    return write(folder / f"{name}.hdf5", raw)


def result(
    policy, returns, *, run_seed=0, seed=0, data="hopper-medium-v2", engine="d4rl-v2", score=None, notes=(), weights=NO_WEIGHTS
):
    """A `Result` with these returns."""
    return Result(
        data=data,
        run_seed=run_seed,
        policy=policy,
        environment=data,
        engine=engine,
        gymnasium_id="Hopper-v4",
        versions={"gymnasium": "1.4.0", "mujoco": "3.3.7"},
        notes=list(notes),
        seed=seed,
        episodes=len(returns),
        checkpoint="last",
        weights=weights,
        returns=list(map(float, returns)),
        lengths=[10] * len(returns),
        success=None,
        score=score,
    )


def keep(folder, *results):
    """Results as files in run folders seed-<n> of `folder`."""
    for r in results:
        run = folder / f"seed-{r.run_seed}"
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.json").write_text("{}")
        (run / f"eval-{r.engine}-seed{r.seed}-episodes{r.episodes}-{r.policy}.json").write_text(json.dumps(asdict(r)))
    return folder
