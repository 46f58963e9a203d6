"""Support actions: K draws from the behaviour policy in every state of the data, made once and kept on disk.

The in-support backup and the energy net look at actions through these draws alone, so that Q is never asked about an action
that the data do not cover.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cepkit.learning.checkpoints import load_tensors, save_tensors
from cepkit.rl.agent.agent_networks import BehaviourNet
from cepkit.rl.agent.behaviour import ActionDenoiser, draw_actions
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import Seeds, Stage

_LAYOUT = 1  # of the cache; counted up when what is drawn changes for the same settings


class SupportSampling(Stage):
    """The second stage: each step draws the support actions of one chunk of states.

    Args:
        network: the finished behaviour network, or a stack of them.

    Attributes:
        actions: (*members, M, K, A) in [-1, 1], row by row with `Prepared.states`; filled as far as the steps went.
    """

    def __init__(self, data: Prepared, network: BehaviourNet, config: QGPOConfig, seeds: Seeds = None) -> None:
        chunks = -(-len(data.states) // config.support_chunk)
        super().__init__("support", chunks, config, seeds, data.device)
        self.data, self.network = data, network
        shape = (*self.members, len(data.states), config.support_actions, data.actions.shape[1])
        self.actions = torch.zeros(shape, device=data.device)
        if config.compile:
            network.trunk = torch.compile(network.trunk)

    def _take(self) -> dict[str, Tensor]:
        config, first = self.config, self.index * self.config.support_chunk
        states = self.data.states[first : first + config.support_chunk, None]
        states = states.expand(*self.members, *states.shape)
        noise = self.streams.randn((states.shape[-3], *self.actions.shape[-2:]))
        denoiser = ActionDenoiser(self.network, states, config.schedule, config.behaviour_target)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.mixed_precision), torch.no_grad():
            drawn = draw_actions(denoiser, noise, steps=config.support_steps, method=config.support_method)
        self.actions[..., first : first + states.shape[-3], :, :] = drawn
        return {}

    def tensors(self) -> dict[str, Tensor]:
        return super().tensors() | {"actions": self.actions}

    def load_tensors(self, tensors: dict[str, Tensor], index: int) -> None:
        super().load_tensors(tensors, index)
        self.actions.copy_(tensors["actions"])


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict, in hex."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def support_key(weights: Mapping[str, Tensor], fingerprint: str, config: QGPOConfig) -> str:
    """Of all that support actions depend on, in hex: other actions have another key.

    Args:
        weights: state dict of the behaviour network.
        fingerprint: of the transitions.
    """
    names = ("seed", "support_actions", "support_steps", "support_method", "support_chunk", "behaviour_target")
    values = config.to_dict()
    parts = {name: values[name] for name in (*names, "normalize_observations", "mixed_precision")}
    parts |= {"layout": _LAYOUT, "behaviour": weights_hash(weights), "data": fingerprint}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def support_path(folder: Path, key: str) -> Path:
    """Where the support actions of this key are kept."""
    return folder / f"support-{key[:16]}.safetensors"


def save_support(path: Path, actions: Tensor, key: str) -> None:
    """Keep finished support actions (M, K, A).

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    save_tensors(path, {"actions": actions}, {"key": key})


def load_support(path: Path, key: str, shape: tuple[int, ...]) -> Tensor | None:
    """The support actions of this key, or None where there are none yet.

    Raises:
        ValueError: the file does not read, or belongs to another key or shape.
    """
    if not path.exists():
        return None
    tensors, metadata = load_tensors(path)
    if metadata.get("key") != key or set(tensors) != {"actions"}:
        raise ValueError(f"{path}: expected support actions of key {key[:16]}, got another file; remove it to draw them again")
    if tensors["actions"].shape != torch.Size(shape):
        raise ValueError(f"{path}: expected actions of shape {tuple(shape)}, got {tuple(tensors['actions'].shape)}")
    return tensors["actions"]
