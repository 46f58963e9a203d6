"""Support actions: K draws from the behaviour policy in every state of the data, made once and kept on disk.

The in-support backup and the energy net look at actions through these draws alone, so that Q is never asked about an action
that the data do not cover.
"""

import torch
from torch import Tensor

from cepkit.rl.agent.agent_networks import BehaviourNet
from cepkit.rl.agent.behaviour import ActionDenoiser, draw_actions
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import AgentStage, Seeds


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
