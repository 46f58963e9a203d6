"""The files of a QGPO run that do not change while it trains: its settings, and what finished stages leave."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from cepkit import __version__
from cepkit.learning.checkpoints import fill, load_tensors, read_settings, save_tensors, write_atomically
from cepkit.rl.agent.baselines import cloning_network
from cepkit.rl.agent.behaviour import behaviour_network
from cepkit.rl.agent.critic import critic_networks
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.data.transitions import Transitions

CONFIG = "config.json"


def log_folder(folder: Path, stage: str) -> Path:
    """Where the losses of a stage go, made."""
    path = folder / "log" / stage
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"could not make the folder {path} ({error.strerror})") from error
    return path


def load_part(
    path: Path, name: str, sizes: tuple[int, int], config: QGPOConfig, device: torch.device | str
) -> dict[str, torch.nn.Module]:
    """The frozen networks of a finished stage, by part."""
    tensors, _ = load_tensors(path)
    if name == "behaviour":
        parts = {"behaviour": behaviour_network(*sizes, config, config.seed)}
    elif name == "critic":
        parts = dict(zip(("critic", "energy"), critic_networks(*sizes, config, config.seed), strict=True))
    else:
        parts = {"cloning": cloning_network(*sizes, config, config.seed)}
    for part, network in parts.items():
        mine = {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
        fill(network, mine, path)
        network.to(device).eval().requires_grad_(False)
    return parts


def write_config(folder: Path, config: QGPOConfig, transitions: Transitions, fingerprint: str, save_every: int) -> None:
    """Write down what a run is."""
    written = {
        "cepkit": __version__,
        "data": {"name": transitions.name, "sha256": fingerprint, "transitions": len(transitions)},
        "state_dim": transitions.observations.shape[1],
        "action_dim": transitions.actions.shape[1],
        "save_every": save_every,
        "qgpo": config.to_dict(),
    }
    write_atomically(folder / CONFIG, (json.dumps(written, indent=2) + "\n").encode())


def read_config(folder: Path) -> dict:
    """What `start_run` wrote down.

    Raises:
        ValueError: no run there, or a file that does not read.
    """
    return read_settings(folder / CONFIG, ("data", "state_dim", "action_dim", "save_every", "qgpo"))


def keep_weights(run: Path, target: Path) -> None:
    """Copy what `load_run` reads of a finished run, without logs, support actions and what only training needs."""
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / CONFIG, (run / CONFIG).read_bytes())
    for name in ("behaviour", "critic", "cloning"):
        if (run / f"{name}.safetensors").exists():
            tensors, about = load_tensors(run / f"{name}.safetensors")
            kept = {key: value for key, value in tensors.items() if not key.startswith("value.")}
            save_tensors(target / f"{name}.safetensors", kept, about)


def load_run(folder: str | Path, *, device: torch.device | str = "cpu") -> QGPO:
    """What a finished run has learned, with frozen weights.

    Raises:
        ValueError: no run there, a stage that is not finished, or files that do not read or belong to another architecture.
    """
    folder = Path(folder)
    written = read_config(folder)
    config = QGPOConfig.from_dict(written["qgpo"])
    sizes = (written["state_dim"], written["action_dim"])
    parts: dict[str, torch.nn.Module] = {}
    for name in ("behaviour", "critic", "cloning"):
        path = folder / f"{name}.safetensors"
        if name == "cloning" and not path.exists():
            continue
        if not path.exists():
            raise ValueError(f"{folder}: expected a finished run, but its {name} stage is not; resume it")
        parts |= load_part(path, name, sizes, config, device)
    scale = load_tensors(folder / "behaviour.safetensors")[0]
    q_std = load_tensors(folder / "critic.safetensors")[0]["q_std"].to(device)
    return QGPO(
        parts["behaviour"],
        parts["critic"],
        parts["energy"],
        config,
        scale["mean"].to(device),
        scale["std"].to(device),
        q_std,
        parts.get("cloning"),
    )
