"""The exact answer over actions, and the error of the energy net against it.

For a state with support actions a_1 ... a_K and their Q, the behaviour is an empirical distribution of points with energies
E_k = -Q_k, so `Mixture.from_points` gives the intermediate energy and its field in closed form. The energy net learns the answer
for the behaviour, of which these K points are a sample. Its error against the field of K points therefore includes their
scatter, which falls like 1 / sqrt(K). With `other`, `guidance_errors` measures that scatter alone.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from cepkit.diffusion.process import perturb
from cepkit.rl.agent.qgpo import QGPO
from cepkit.truth.exact import Mixture
from cepkit.truth.metrics import relative_error

TRUTH_TIMES = (0.1, 0.3, 0.6)


def exact_answer(qgpo: QGPO, state: Tensor, actions: Tensor) -> Mixture:
    """Build the exact answer of a finite support set: state (S,), actions (K, A). Its beta is `qgpo.config.beta`."""
    return Mixture.from_points(actions, qgpo.energy(state, actions))


def guidance_errors(
    qgpo: QGPO,
    states: Tensor,
    actions: Tensor,
    *,
    times: Iterable[float] = TRUTH_TIMES,
    noises: int = 4,
    other: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Measure the relative error of the learned field at each time, over all states: 0 is perfect, 1 as bad as no guidance.

    Args:
        states: (B, S).
        actions: (B, K, A), the support actions of each state.
        times: noise levels, in (0, 1].
        noises: how often each support action is noised, x_t ~ q(x_t | a_k).
        other: (B, M, A), many more draws, whose exact field is measured in place of the learned one: roughly the best any
            network can do that has not seen the K draws.

    Returns:
        (number of times,): `cepkit.truth.metrics.relative_error` over states, actions and noises.
    """
    beta, schedule = qgpo.config.beta, qgpo.config.schedule

    def exact_field(points: Tensor, name: str) -> Callable[[Tensor, float], Tensor]:
        answers = [exact_answer(qgpo, *pair) for pair in zip(states, points, strict=True)]
        fields = [lambda x, t, m=m: getattr(m.fields(x, t, beta, schedule), name) for m in answers]
        return lambda a_t, t: torch.stack([field(x, t) for field, x in zip(fields, a_t, strict=True)])

    truth, score, errors = exact_field(actions, "guidance"), exact_field(actions, "score"), []
    field = qgpo.guidance(states[:, None]) if other is None else exact_field(other, "guidance")
    for t in times:
        a_t = perturb(actions.repeat(1, noises, 1), t, schedule, generator=generator).x_t
        errors.append(relative_error(field(a_t, t), truth(a_t, t), score(a_t, t)))
    return torch.stack(errors)
