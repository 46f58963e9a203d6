"""D4RL's normalised score: 0 for a random policy's return, 100 for an expert's (Fu et al. 2020, section 5).

score = 100 (return - lowest) / (highest - lowest), with the reference returns of the task. The references belong to D4RL's
own environments and to its own policies; Minari's sets have others, so a score is refused for them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cepkit.rl.data.catalogue import CATALOGUE, unknown_name

FAMILIES = ("locomotion", "antmaze", "maze2d", "maze", "kitchen", "adroit")
REFERENCE_SCORES: dict[str, tuple[float, float]] = {
    name: entry.reference for name, entry in CATALOGUE.items() if entry.reference is not None
}
_MINARI = {
    "mujoco": dict.fromkeys(("halfcheetah", "hopper", "walker2d", "ant"), "locomotion"),
    "D4RL": {"antmaze": "antmaze", "pointmaze": "maze", "kitchen": "kitchen"}
    | dict.fromkeys(("pen", "hammer", "door", "relocate"), "adroit"),
}


def family_of(name: str, *, otherwise: str | None = None) -> str:
    """The family of a data set: it decides the reward convention, the presets and the environment.

    Args:
        name: a D4RL name, the name of a shipped set, or "minari:ID" of Minari's `mujoco` and `D4RL` groups.
        otherwise: what to return for a name that is none of these, such as a file of one's own; None to raise.

    Returns:
        One of `FAMILIES`.

    Raises:
        ValueError: an unknown name and no `otherwise`; the nearest names are suggested.
    """
    entry = CATALOGUE.get(str(name))
    if entry is not None:
        return entry.family
    if str(name).startswith("minari:"):
        group, _, rest = str(name).removeprefix("minari:").partition("/")
        family = _MINARI.get(group, {}).get(rest.partition("/")[0])
        if family is not None:
            return family
    if otherwise is not None:
        return otherwise
    raise unknown_name(name)


def normalized_score(name: str, returns: float | np.ndarray | Tensor) -> float | np.ndarray | Tensor:
    """100 (return - lowest) / (highest - lowest), D4RL's score.

    Args:
        name: a data set with reference returns, see `REFERENCE_SCORES`.
        returns: undiscounted returns of whole episodes, of any shape.

    Returns:
        Scores, of the shape and kind that came.

    Raises:
        ValueError: an unknown name, with the nearest; a known one without references.
    """
    if name not in REFERENCE_SCORES:
        family = family_of(name)
        raise ValueError(f"name: expected a data set with reference scores, got {name!r} (family {family}), which has none")
    low, high = REFERENCE_SCORES[name]
    if not isinstance(returns, (Tensor, np.ndarray)):
        try:
            returns = float(returns) if np.ndim(returns) == 0 else np.asarray(returns, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"returns: expected numbers, got {returns!r}") from error
    elif isinstance(returns, Tensor) and not returns.is_floating_point():
        returns = returns.to(torch.get_default_dtype())
    return 100.0 * (returns - low) / (high - low)
