"""D4RL's normalised score: 0 for a random policy's return, 100 for an expert's (Fu et al. 2020, section 5).

score = 100 (return - random) / (expert - random), with the reference returns of the task. The references belong to D4RL's own
environments and its own policies. Minari's datasets come from others, so they have no score.
"""

import numpy as np
from torch import Tensor

from cepkit.rl.data.catalogue import CATALOGUE, entry_of

FAMILIES = ("locomotion", "antmaze", "maze2d", "maze", "kitchen", "adroit")
REFERENCE_SCORES = {name: entry.reference for name, entry in CATALOGUE.items() if entry.reference is not None}
_MINARI = {f"minari:mujoco/{robot}": "locomotion" for robot in ("halfcheetah", "hopper", "walker2d", "ant")}
_MINARI |= {f"minari:D4RL/{hand}": "adroit" for hand in ("pen", "hammer", "door", "relocate")}
_MINARI |= {"minari:D4RL/antmaze": "antmaze", "minari:D4RL/pointmaze": "maze", "minari:D4RL/kitchen": "kitchen"}


def family_of(name: str, *, otherwise: str | None = None) -> str:
    """The family of a dataset, one of `FAMILIES`: it decides the reward convention, the presets and the environment.

    Args:
        name: a D4RL name, the name of a shipped dataset, or "minari:ID" of Minari's groups `mujoco` and `D4RL`.
        otherwise: what to return for any other name, such as that of your own file; None to raise.

    Raises:
        ValueError: an unknown name and no `otherwise`; the nearest names are suggested.
    """
    family = _MINARI.get("/".join(str(name).split("/")[:2]), otherwise)
    return entry_of(name).family if name in CATALOGUE or family is None else family


def normalized_score(name: str, returns: float | np.ndarray | Tensor) -> float | np.ndarray | Tensor:
    """D4RL's score, 100 (return - random) / (expert - random), of the shape and kind of `returns`.

    Args:
        name: a dataset with reference returns, see `REFERENCE_SCORES`.
        returns: undiscounted returns of whole episodes, of any shape.

    Raises:
        ValueError: an unknown name, with the nearest; a known one without references.
    """
    if name not in REFERENCE_SCORES:
        family = family_of(name)
        raise ValueError(f"name: expected a dataset with reference scores, got {name!r} (family {family}), which has none")
    low, high = REFERENCE_SCORES[name]
    if not isinstance(returns, (Tensor, np.ndarray)):
        try:
            returns = float(returns) if np.ndim(returns) == 0 else np.asarray(returns, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"returns: expected numbers, got {returns!r}") from error
    return 100.0 * (returns - low) / (high - low)
