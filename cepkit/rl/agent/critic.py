"""Twin Q by the in-support softmax backup, and the energy net by contrastive energy prediction on E = -Q.

With K support actions a_k of the next state and the least of the target networks as Q,

    target = r + discount (1 - terminal) sum_k softmax_k(beta_q Q(s', a_k)) Q(s', a_k)        (Lu et al. 2023, section 5)

is the value of the policy mu exp(beta_q Q), estimated by self-normalised importance weights: never at an action outside the
support. beta_q = 0 evaluates the behaviour. The energy net then learns E_t over noisy actions from the support of each state:
its K actions share one noise level, and their labels are softmax(beta Q(s, a_k)).

The other backup takes r + discount (1 - terminal) V(s'), where V(s) is the `expectile` of min Q(s, a) over the actions that
the data hold in states like s (Kostrikov et al. 2022, implicit Q-learning, arXiv 2110.06169, equations 5 and 6). It is fitted
where Q is fitted, on the data's own pairs, and costs one action for each state rather than K.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cepkit.diffusion.process import perturb
from cepkit.learning.losses import cep_loss, pooled_energy
from cepkit.rl.agent.agent_networks import Critics, EnergyNet, build
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo_config import QGPOConfig
from cepkit.rl.agent.stage import Seeds, Stage, rows

_LABEL_ROWS = 4096
_SPREAD_MEMORY = 0.99


def softmax_backup(q_next: Tensor, rewards: Tensor, going: Tensor, *, discount: float, beta_q: float | Tensor) -> Tensor:
    """The target of Q, shape (...).

    Args:
        q_next: Q at the support actions of s', (..., K).
        rewards: (...).
        going: (...), 0 at terminals and 1 elsewhere.
        beta_q: inverse temperature, a number or a tensor that goes with `q_next`.
    """
    weight = (beta_q * q_next).softmax(-1)
    return rewards + discount * going * (weight * q_next).sum(-1)


def q_units(q: Tensor, q_std: Tensor, q_scale: str) -> Tensor:
    """What beta counts Q in over a support set, see `QGPOConfig.q_scale`: (*members, ..., 1) for Q (*members, ..., K).

    Args:
        q_std: (*members,), the spread over all states.
    """
    common = q_std.reshape(q_std.shape + (1,) * (q.ndim - q_std.ndim))
    if q_scale != "state":
        return common
    return torch.maximum(q.std(-1, correction=0, keepdim=True), common)


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """mean |expectile - 1[error < 0]| error^2 for error = Q - V; its least V is the expectile of Q, at 0.5 the mean."""
    return (torch.where(error < 0, 1 - expectile, expectile) * error.square()).mean()


def critic_networks(
    state_dim: int, action_dim: int, config: QGPOConfig, seeds: int | tuple[int, ...]
) -> tuple[Critics, EnergyNet]:
    """The networks of a configuration, initialised from its seed, or stacks of several."""
    critics = build(
        lambda members: Critics(
            state_dim,
            action_dim,
            critics=config.critics,
            width=config.critic_width,
            layers=config.critic_layers,
            norm=config.critic_norm,
            members=members,
        ),
        seeds,
    )
    energy = build(
        lambda members: EnergyNet(
            state_dim,
            action_dim,
            config.schedule,
            width=config.energy_width,
            layers=config.energy_layers,
            time_features=config.time_features,
            modulated=config.modulated,
            members=members,
        ),
        seeds,
    )
    return critics, energy


def value_network(state_dim: int, config: QGPOConfig, seeds: int | tuple[int, ...]) -> Critics:
    """V(s) of the expectile backup: a critic whose action is always one 0, see `state_value`."""
    return build(
        lambda members: Critics(
            state_dim,
            1,
            critics=1,
            width=config.critic_width,
            layers=config.critic_layers,
            norm=config.critic_norm,
            members=members,
        ),
        seeds,
    )


def state_value(network: Critics, states: Tensor) -> Tensor:
    """V(s), (*members, ...), by a `value_network`."""
    return network.least(states, torch.zeros_like(states[..., :1])).float()


class CriticTraining(Stage):
    """The third stage: warm start of Q, backups, energy net; iterate to train.

    Args:
        support: (*members, M, K, A), the support actions of `data.states`.

    Attributes:
        q_std: (*members,), the spread of Q over the support of a state, 1 if `config.q_scale` is "none". See `q_units`.
    """

    def __init__(self, data: Prepared, support: Tensor, config: QGPOConfig, seeds: Seeds = None) -> None:
        self.first_backup = config.warm_start_steps
        self.last_backup = self.first_backup + config.critic_steps
        self.first_energy = self.first_backup if config.together else self.last_backup
        steps = max(self.last_backup, self.first_energy + config.energy_steps)
        super().__init__("critic", steps, config, seeds, data.device)
        self.data, self.support = data, support
        critics, energy = critic_networks(data.states.shape[1], data.actions.shape[1], config, self.initial)
        networks = {"critic": critics}
        if config.backup == "expectile":
            networks["value"] = value_network(data.states.shape[1], config, self.initial)
        if config.warm_start_steps or config.backup == "expectile":
            for network in networks.values():
                network.set_scale(float(data.returns.mean()), float(data.returns.std(correction=0)))
        rate = config.critic_learning_rate
        for part, network in networks.items():
            self.add(part, network, learning_rate=rate, steps=self.last_backup, ema=1 - config.tau)
        rate = config.energy_learning_rate
        self.add("energy", energy, learning_rate=rate, steps=config.energy_steps, ema=config.ema)
        self.q_std = torch.ones(self.members, device=self.device)
        self._final_q: Tensor | None = None

    @property
    def critic(self) -> Critics:
        """The target network, whose least counts."""
        return self.fits["critic"].average

    @property
    def energy_net(self) -> EnergyNet:
        """The moving average of the energy net."""
        return self.fits["energy"].average

    def _fit_index(self, part: str, index: int) -> int:
        first, last = (0, self.last_backup) if part != "energy" else (self.first_energy, self.steps)
        return max(0, min(index, last) - first)

    def _losses(self) -> dict[str, Tensor]:
        config, losses = self.config, {}
        learns_q = self.index < self.last_backup
        size = config.critic_batch if learns_q else config.energy_batch
        index = self.streams.randint(len(self.data), (size,))
        if learns_q:
            losses["critic"] = self._critic_loss(index)
            if self.config.backup == "expectile":
                losses["value"] = self._value_loss(index)
        if self.first_energy <= self.index < self.first_energy + config.energy_steps:
            losses["energy"] = self._energy_loss(index[..., : config.energy_batch])
        return losses

    def _critic_loss(self, index: Tensor) -> Tensor:
        data = self.data
        with torch.no_grad():
            target = data.returns[index] if self.index < self.first_backup else self._target(index)
        critics = self.fits["critic"].network
        axis = len(self.members)
        error = critics(data.states[index], data.actions[index]).float() - target.unsqueeze(axis)
        size = critics.size.reshape(self.members + (1,) * (error.ndim - axis))
        return (error / size).square().mean() * self.config.critics

    def _value_loss(self, index: Tensor) -> Tensor:
        states, value = self.data.states[index], self.fits["value"].network
        with torch.no_grad():
            q = self.critic.least(states, self.data.actions[index]).float()
        size = value.size.reshape(self.members + (1,) * (q.ndim - len(self.members)))
        return expectile_loss((q - state_value(value, states)) / size, self.config.expectile)

    def _target(self, index: Tensor) -> Tensor:
        config, data = self.config, self.data
        following = data.successors[index]
        if config.backup == "expectile":
            ahead = state_value(self.fits["value"].network, data.states[following])
            target = data.rewards[index] + config.discount * data.going[index] * ahead
            return target.clamp(data.low, data.high) if config.clip_targets else target
        q_next = self._q(following)
        self._follow_spread(q_next)
        beta_q = config.beta_q / q_units(q_next, self.q_std, config.q_scale)
        target = softmax_backup(q_next, data.rewards[index], data.going[index], discount=config.discount, beta_q=beta_q)
        return target.clamp(data.low, data.high) if config.clip_targets else target

    def _q(self, index: Tensor) -> Tensor:
        """The least target Q at the support of rows of the state table, (*members, B, K)."""
        actions = rows(self.support, index, self.members)
        return self.critic.least(self.data.states[index].unsqueeze(-2), actions).float()

    def _follow_spread(self, q: Tensor) -> None:
        if self.config.q_scale == "none":
            return
        spread = self._spread(q)
        if self.index == self.first_backup:
            self.q_std.copy_(spread)
        self.q_std.lerp_(spread, 1 - _SPREAD_MEMORY)

    @staticmethod
    def _spread(q: Tensor) -> Tensor:
        """Root mean square of the scatter within a state, (*members,) from (*members, B, K)."""
        return q.var(-1, correction=0).mean(-1).sqrt().clamp_min(1e-6)

    def _energy_loss(self, index: Tensor) -> Tensor:
        config, lead = self.config, self.members
        if config.together:
            with torch.no_grad():
                q = self._q(index)
        else:
            if self._final_q is None:
                self._final_q = self.final_q()
            q = rows(self._final_q, index, lead)
        energy = -q / q_units(q, self.q_std, config.q_scale)
        actions = rows(self.support, index, lead)
        log_scale: float | Tensor = 0.0
        if config.labels == "unnormalized":
            log_scale = torch.logsumexp(-config.beta * energy, -1, keepdim=True) - math.log(energy.shape[-1])
            pick = self.streams.randint(energy.shape[-1], tuple(energy.shape[len(lead) :]))
            energy = energy.gather(-1, pick)
            actions = actions.gather(-2, pick[..., None].expand_as(actions))
        t = config.t_min + (1 - config.t_min) * self.streams.rand((index.shape[-1],))
        a_t = perturb(actions, t, config.schedule, noise=self.streams.randn(tuple(actions.shape[len(lead) :]))).x_t
        f = self.fits["energy"].network(a_t, t, self.data.states[index].unsqueeze(-2)).float()
        if config.pooled:
            energy = pooled_energy(energy, actions, a_t, t, config.beta, config.schedule)
        return cep_loss(f, energy, config.beta, labels=config.labels, log_scale=log_scale)[0]

    def final_q(self) -> Tensor:
        """Q at every support action of the observations, (*members, N, K), now that it no longer changes; sets `q_std`."""
        index = torch.arange(len(self.data), device=self.device)
        with torch.no_grad():
            chunks = [self._q(part.expand(*self.members, -1)) for part in index.split(_LABEL_ROWS)]
        q = torch.cat(chunks, -2)
        if self.config.q_scale != "none":
            self.q_std.copy_(self._spread(q))
        return q

    def tensors(self) -> dict[str, Tensor]:
        return super().tensors() | {"q_std": self.q_std}

    def load_tensors(self, tensors: dict[str, Tensor], index: int) -> None:
        super().load_tensors(tensors, index)
        self.q_std.copy_(tensors["q_std"])
        self._final_q = None
