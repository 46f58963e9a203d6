"""The behaviour policy mu(a|s), a diffusion model of the data's actions given the state, and the support actions drawn from it.

Support actions are K draws in every state of the data, made once and kept on disk. The in-support backup and the energy net look
at actions through these draws alone, so that Q is never asked about an action that the data do not cover.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cepkit.diffusion.process import perturb
from cepkit.diffusion.sampling import sampling_steps
from cepkit.diffusion.schedules import Schedule
from cepkit.learning.losses import denoising_loss
from cepkit.rl.agent.agent_networks import BehaviourNet
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo_config import T_MIN, QGPOConfig
from cepkit.rl.agent.stage import AgentStage, Seeds


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


class BehaviourTraining(AgentStage):
    """The first stage; iterate to train."""

    def __init__(self, data: Prepared, config: QGPOConfig, seeds: Seeds = None) -> None:
        super().__init__("behaviour", config.behaviour_steps, config, seeds, data.device)
        self.data = data
        rate, steps = config.behaviour_learning_rate, config.behaviour_steps
        self.add("behaviour", self.make_networks(data.sizes)["behaviour"], learning_rate=rate, steps=steps, ema=config.ema)

    @property
    def network(self) -> BehaviourNet:
        """The moving average of the weights, at any moment."""
        return self.fits["behaviour"].average

    def _losses(self) -> dict[str, Tensor]:
        config, data, batch = self.config, self.data, (self.config.behaviour_batch,)
        index = self.streams(torch.randint, len(data), batch)
        t = T_MIN + (1 - T_MIN) * self.streams(torch.rand, batch)
        noise = self.streams(torch.randn, (*batch, data.actions.shape[1]))
        noised = perturb(data.actions[index], t, config.schedule, noise=noise)
        denoiser = ActionDenoiser(self.fits["behaviour"].network, data.states[index], config.schedule, config.behaviour_target)
        return {"behaviour": denoising_loss(denoiser, noised, t, target=config.behaviour_target)[0]}


def draw_actions(denoiser: ActionDenoiser, noise: Tensor, *, steps: int) -> Tensor:
    """Sample actions in [-1, 1] by DPM-Solver++(2M) from standard normal noise of their shape."""
    for step in sampling_steps(denoiser, noise, steps=steps, method="dpmpp2m"):
        x = step.x
    return torch.clamp(x, -1.0, 1.0)


class SupportSampling(AgentStage):
    """The second stage: each step draws the support actions of one chunk of states.

    Args:
        network: the finished behaviour network, or a stack of them.

    Attributes:
        actions: (*members, M, K, A) in [-1, 1], row by row with `Prepared.states`; filled as far as the steps went.
    """

    def __init__(self, data: Prepared, network: BehaviourNet, config: QGPOConfig, seeds: Seeds = None) -> None:
        chunks = -(-len(data.states) // config.support_chunk)
        # each save writes all actions, so there are about ten
        super().__init__("support", chunks, config, seeds, data.device, save_every=max(1, chunks // 10))
        self.data, self.network = data, network
        shape = (*self.members, len(data.states), config.support_actions, data.actions.shape[1])
        self.actions = torch.zeros(shape, device=data.device)
        self.extras["actions"] = self.actions

    def networks(self) -> list[nn.Module]:
        return [self.network]

    def _losses(self) -> dict[str, Tensor]:
        config, first = self.config, self.index * self.config.support_chunk
        states = self.data.states[first : first + config.support_chunk, None]
        states = states.expand(*self.members, *states.shape)
        noise = self.streams(torch.randn, (states.shape[-3], *self.actions.shape[-2:]))
        denoiser = ActionDenoiser(self.network, states, config.schedule, config.behaviour_target)
        with torch.no_grad():
            drawn = draw_actions(denoiser, noise, steps=config.support_steps)
        self.actions[..., first : first + states.shape[-3], :, :] = drawn
        return {}
