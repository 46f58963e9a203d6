"""The behaviour policy mu(a|s): a diffusion model of the data's actions, given the state, by denoising score matching."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import sampling_steps
from cepkit.diffusion.schedules import Schedule
from cepkit.learning.losses import denoising_loss
from cepkit.rl.agent.agent_networks import BehaviourNet, build
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import Seeds, Stage


@dataclass(frozen=True, eq=False)
class ActionDenoiser:
    """A `cepkit.diffusion.denoisers.Denoiser` of actions (*members, ..., A) in given states, which broadcast with them.

    Attributes:
        network: (a_t, t, states) -> a prediction, such as `BehaviourNet`.
        states: (*members, ..., S), normalised as in training.
        schedule, parametrisation: as of every denoiser.
    """

    network: BehaviourNet
    states: Tensor
    schedule: Schedule
    parametrisation: str

    def __call__(self, x_t: Tensor, t: Tensor | float) -> Tensor:
        return self.network(x_t, t, self.states).to(x_t.dtype)


def behaviour_network(state_dim: int, action_dim: int, config: QGPOConfig, seeds: int | tuple[int, ...]) -> BehaviourNet:
    """The network of a configuration, initialised from its seed, or a stack of several."""
    return build(
        lambda members: BehaviourNet(
            state_dim,
            action_dim,
            config.schedule,
            widths=config.behaviour_widths,
            time_features=config.time_features,
            embedding=config.behaviour_embedding,
            members=members,
        ),
        seeds,
    )


class BehaviourTraining(Stage):
    """The first stage; iterate to train. `network` is the moving average of the weights, at any moment."""

    def __init__(self, data: Prepared, config: QGPOConfig, seeds: Seeds = None) -> None:
        super().__init__("behaviour", config.behaviour_steps, config, seeds, data.device)
        self.data = data
        network = behaviour_network(data.states.shape[1], data.actions.shape[1], config, self.initial)
        self.add("behaviour", network, learning_rate=config.behaviour_learning_rate, steps=config.behaviour_steps, ema=config.ema)

    @property
    def network(self) -> BehaviourNet:
        return self.fits["behaviour"].average

    def _losses(self) -> dict[str, Tensor]:
        config, data, batch = self.config, self.data, (self.config.behaviour_batch,)
        index = self.streams.randint(len(data), batch)
        t = config.t_min + (1 - config.t_min) * self.streams.rand(batch)
        noise = self.streams.randn((*batch, data.actions.shape[1]))
        noised = perturb(data.actions[index], t, config.schedule, noise=noise)
        denoiser = ActionDenoiser(self.fits["behaviour"].network, data.states[index], config.schedule, config.behaviour_target)
        return {"behaviour": denoising_loss(denoiser, noised, t, target=config.behaviour_target)[0]}


def draw_actions(denoiser: ActionDenoiser, noise: Tensor, *, steps: int, method: str = "dpmpp2m") -> Tensor:
    """Actions in [-1, 1] from standard normal noise of their shape."""
    for step in sampling_steps(denoiser, noise, steps=steps, method=method):
        x = step.x
    return torch.clamp(x, -1.0, 1.0)
