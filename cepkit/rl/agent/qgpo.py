"""QGPO, ready to act: sampling from mu(a|s) exp(beta Q(s, a)) as energy-guided diffusion over actions.

The guided score of an action is that of the behaviour plus scale times -grad f(a_t, t, s): `cepkit.diffusion.Guided`, the same
class as for points, with the state held fixed. Scale 0 is the behaviour itself; scale 1 the policy for which f was trained.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.diffusion.guidance import Guided, LearnedGuidance
from cepkit.diffusion.sampling import initial_noise
from cepkit.rl.agent.agent_networks import BehaviourNet, Critics, EnergyNet
from cepkit.rl.agent.behaviour import ActionDenoiser, draw_actions
from cepkit.rl.agent.critic import q_units
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.validation import check_number, check_points


@dataclass(frozen=True, eq=False)
class QGPO:
    """The three networks, for use on states as the environment gives them.

    Attributes:
        behaviour, critic, energy_net: trained networks, on one device.
        config: their settings.
        mean, std: (S,), of the states that the networks see.
        q_std: (), the spread of Q over the support of a state, see `QGPOConfig.q_scale`.
        cloning: the deterministic baseline, states -> actions, where it was trained.
    """

    behaviour: BehaviourNet
    critic: Critics
    energy_net: EnergyNet
    config: QGPOConfig
    mean: Tensor
    std: Tensor
    q_std: Tensor
    cloning: Callable[[Tensor], Tensor] | None = None

    @property
    def action_dim(self) -> int:
        return self.behaviour.last.weight.shape[-2]

    def normalized(self, states: Tensor) -> Tensor:
        """States (..., S) as the networks see them.

        Raises:
            ValueError: another size than S, or values that are not finite.
        """
        check_points(states, len(self.mean), name="states")
        return (states.to(self.mean) - self.mean) / self.std

    def denoiser(self, states: Tensor) -> ActionDenoiser:
        """The behaviour policy in these states (..., S), as a denoiser of actions (..., A) or whatever broadcasts."""
        return ActionDenoiser(self.behaviour, self.normalized(states), self.config.schedule, self.config.behaviour_target)

    def guidance(self, states: Tensor) -> LearnedGuidance:
        """The learned intermediate energy over actions in these states (..., S), and its field -grad f.

        For one state (S,) it takes actions (..., A), such as a grid to draw.
        """
        normalized = self.normalized(states)

        def energy(a_t: Tensor, t: Tensor | float) -> Tensor:
            return self.energy_net(a_t, t, normalized).to(a_t.dtype).expand(a_t.shape[:-1])

        return LearnedGuidance(energy, self.config.schedule)

    def q(self, states: Tensor, actions: Tensor) -> Tensor:
        """The least Q, (...), at states (..., S) and actions (..., A) that broadcast."""
        with torch.no_grad():
            return self.critic.least(self.normalized(states), actions)

    def energy(self, states: Tensor, actions: Tensor) -> Tensor:
        """E = -Q in the units of `q_units` at a support set: states (..., S), actions (..., K, A) -> (..., K).

        With `config.beta`, the energy net was trained on it.
        """
        q = self.q(states.unsqueeze(-2), actions)
        return -q / q_units(q, self.q_std, self.config.q_scale)

    def act(self, states: Tensor, scale: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draw an action in [-1, 1] for each state: (B, S) -> (B, A), at the guidance scale s.

        Raises:
            ValueError: states of another shape, or a scale that is not a finite number.
        """
        return self.draw(states, scale=scale, generator=generator)

    def draw(
        self, states: Tensor, *, scale: float = 0.0, steps: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw actions (..., A) for states (..., S); to draw many in one state, expand it.

        Args:
            scale: the guidance scale s.
            steps: of the sampler, by default `config.act_steps`.
            generator: of the initial noise, on the device of the networks.
        """
        scale = check_number(scale, name="scale")
        denoiser = self.denoiser(states)
        guided = denoiser if scale == 0 else Guided(denoiser, self.guidance(states), scale)
        shape = (*states.shape[:-1], self.action_dim)
        noise = initial_noise(shape, generator=generator, device=self.mean.device)
        return draw_actions(guided, noise, steps=self.config.act_steps if steps is None else steps)
