"""Twin Q by the in-support softmax backup, and the energy net by contrastive energy prediction on E = -Q.

With K support actions a_k of the next state and the least of the target networks as Q,

    target = r + discount (1 - terminal) sum_k softmax_k(beta_q Q(s', a_k)) Q(s', a_k)        (Lu et al. 2023, section 5)

is the value of the policy mu exp(beta_q Q), estimated by self-normalised importance weights: never at an action outside the
support. beta_q = 0 evaluates the behaviour. The energy net then learns E_t over noisy actions from the support of each state:
its K actions share one noise level, and their labels are softmax(beta Q(s, a_k)).
"""

import torch
from torch import Tensor

from cepkit.diffusion.process import perturb
from cepkit.learning.losses import cep_loss, pooled_energy
from cepkit.rl.agent.agent_networks import Critics, EnergyNet
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo_config import BATCH, BETA_Q, T_MIN, QGPOConfig
from cepkit.rl.agent.stage import AgentStage, Seeds, rows

_LABEL_ROWS = 4096
_SPREAD_MEMORY = 0.99


def softmax_backup(q_next: Tensor, rewards: Tensor, not_done: Tensor, *, discount: float, beta_q: float | Tensor) -> Tensor:
    """Compute the target of Q, shape (...).

    Args:
        q_next: Q at the support actions of s', (..., K).
        rewards: (...).
        not_done: (...), 0 at terminals and 1 elsewhere.
        beta_q: inverse temperature, a number or a tensor that goes with `q_next`.
    """
    weight = (beta_q * q_next).softmax(-1)
    return rewards + discount * not_done * (weight * q_next).sum(-1)


def q_units(q: Tensor, q_std: Tensor, q_scale: str) -> Tensor:
    """The unit of Q over a support set, see `QGPOConfig.q_scale`: (*members, ..., 1) for Q (*members, ..., K).

    Args:
        q_std: (*members,), the spread over all states.
    """
    common = q_std.reshape(q_std.shape + (1,) * (q.ndim - q_std.ndim))
    if q_scale != "state":
        return common
    return torch.maximum(q.std(-1, correction=0, keepdim=True), common)


class CriticTraining(AgentStage):
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
        critics, energy = self.make_networks(data.sizes).values()
        if config.warm_start_steps:
            critics.set_scale(float(data.returns.mean()), float(data.returns.std(correction=0)))
        self.add("critic", critics, learning_rate=config.critic_learning_rate, steps=self.last_backup, ema=1 - config.tau)
        self.add("energy", energy, learning_rate=config.energy_learning_rate, steps=config.energy_steps, ema=config.ema)
        self.q_std = torch.ones(self.members, device=self.device)
        self.extras["q_std"] = self.q_std
        self._final_q: Tensor | None = None

    @property
    def critic(self) -> Critics:
        """The target network, whose least counts."""
        return self.fits["critic"].average

    @property
    def energy_net(self) -> EnergyNet:
        """The moving average of the energy net."""
        return self.fits["energy"].average

    def _losses(self) -> dict[str, Tensor]:
        config, losses = self.config, {}
        learns_q = self.index < self.last_backup
        size = BATCH if learns_q else config.energy_batch
        index = self.streams(torch.randint, len(self.data), (size,))
        if learns_q:
            losses["critic"] = self._critic_loss(index)
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

    def _target(self, index: Tensor) -> Tensor:
        config, data = self.config, self.data
        q_next = self._q(data.successors[index])
        self._follow_spread(q_next)
        beta_q = BETA_Q / q_units(q_next, self.q_std, config.q_scale)
        target = softmax_backup(q_next, data.rewards[index], data.not_done[index], discount=config.discount, beta_q=beta_q)
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
        t = T_MIN + (1 - T_MIN) * self.streams(torch.rand, (index.shape[-1],))
        a_t = perturb(actions, t, config.schedule, noise=self.streams(torch.randn, tuple(actions.shape[len(lead) :]))).x_t
        f = self.fits["energy"].network(a_t, t, self.data.states[index].unsqueeze(-2)).float()
        if config.pooled:
            energy = pooled_energy(energy, actions, a_t, t, config.beta, config.schedule)
        return cep_loss(f, energy, config.beta, labels="normalized")[0]

    def final_q(self) -> Tensor:
        """Compute the finished Q at every support action of the observations, (*members, N, K), and set `q_std`."""
        index = torch.arange(len(self.data), device=self.device)
        with torch.no_grad():
            chunks = [self._q(part.expand(*self.members, -1)) for part in index.split(_LABEL_ROWS)]
        q = torch.cat(chunks, -2)
        if self.config.q_scale != "none":
            self.q_std.copy_(self._spread(q))
        return q
