"""The baselines of guidance: cloning the data's actions, the behaviour model itself, and the best of K of its draws by Q.

Deterministic cloning regresses the action on the state: where the data are bimodal it predicts the mean, which may be neither
mode. The behaviour model at scale 0 is a sampling clone, which keeps both. The best of K greedily picks a draw by Q; it uses the
same Q as guidance, and K draws for each action.
"""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from cepkit.rl.agent.agent_networks import CloningNet
from cepkit.rl.agent.prepared import Prepared
from cepkit.rl.agent.qgpo import QGPO
from cepkit.rl.agent.qgpo_config import BATCH, QGPOConfig
from cepkit.rl.agent.stage import AgentStage, Seeds
from cepkit.rl.envs.rollouts import Policy
from cepkit.validation import check_number, check_points


class CloningTraining(AgentStage):
    """Behaviour cloning by least squares on the data's actions; iterate to train."""

    def __init__(self, data: Prepared, config: QGPOConfig, seeds: Seeds = None) -> None:
        super().__init__("cloning", config.cloning_steps, config, seeds, data.device)
        self.data = data
        rate, steps = config.critic_learning_rate, config.cloning_steps
        self.add("cloning", self.make_networks(data.sizes)["cloning"], learning_rate=rate, steps=steps, ema=config.ema)

    @property
    def network(self) -> CloningNet:
        """The moving average of the weights."""
        return self.fits["cloning"].average

    def _losses(self) -> dict[str, Tensor]:
        index = self.streams(torch.randint, len(self.data), (BATCH,))
        return {"cloning": mse_loss(self.fits["cloning"].network(self.data.states[index]).float(), self.data.actions[index])}


def guided_policy(qgpo: QGPO, scale: float, seed: int) -> Policy:
    """Make the guided policy at a scale, whose noise starts from `seed`."""
    generator = torch.Generator(qgpo.mean.device).manual_seed(seed)
    return lambda states: qgpo.act(states, scale, generator)


def best_of_k_policy(qgpo: QGPO, k: int, seed: int) -> Policy:
    """Make `best_of_k` a policy whose noise starts from `seed`."""
    generator = torch.Generator(qgpo.mean.device).manual_seed(seed)
    return lambda states: best_of_k(qgpo, states, k, generator)


def clone_policy(qgpo: QGPO, states: Tensor) -> Tensor:
    """Predict the actions (B, A) of deterministic cloning in states (B, S).

    Raises:
        ValueError: a run without cloning (`cloning_steps` 0).
    """
    if qgpo.cloning is None:
        raise ValueError("qgpo: expected a run with behaviour cloning (cloning_steps above 0), got one without")
    with torch.no_grad():
        return qgpo.cloning(qgpo.normalized(states))


def best_of_k(qgpo: QGPO, states: Tensor, k: int = 16, generator: torch.Generator | None = None) -> Tensor:
    """Draw `k` actions from the behaviour model in each state (B, S) and take the one with the highest Q: (B, A)."""
    k = check_number(k, name="k", low=1, integer=True)
    check_points(states, len(qgpo.mean), name="states")
    actions = qgpo.draw(states[:, None].expand(-1, k, -1), generator=generator)
    best = qgpo.q(states[:, None], actions).argmax(-1)
    return actions[torch.arange(len(states), device=actions.device), best]
