"""D4RL's schema: one row per step, episodes one after another, `terminals` and `timeouts` marking their last steps.

    observations (N, S)   what the policy saw           actions (N, A)   what it did, in [-1, 1]
    rewards (N,)          what came of it               terminals (N,)   the task ended with this step
    timeouts (N,)         the clock ended it; absent in the oldest files, where the environment's time limit stands in

Columns written as (N, 1) are taken as (N,), as D4RL takes them. Keys beyond these (`infos/...`, `next_observations`) are
never read: D4RL's own successor is the next row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

REQUIRED = ("observations", "actions", "rewards", "terminals")
KEYS = (*REQUIRED, "timeouts")
_FLAGS = ("terminals", "timeouts")
_KINDS = dict.fromkeys(_FLAGS, ("biuf", "bool")) | {
    "rewards": ("iuf", "numbers")
}  # NumPy's letters: some files count in whole rewards
_TOLERANCE = 1e-3  # what rounding may put outside the bounds of an action


def check_raw(raw: Mapping[str, np.ndarray], where: str, *, content: bool = True) -> dict[str, np.ndarray]:
    """The five arrays of D4RL's schema, checked; flags as bool, the rest as it came.

    Args:
        raw: arrays by key.
        where: the file or argument that errors name.
        content: also check the values (finite, flags 0 or 1, actions within bounds), not only keys, shapes and dtypes.

    Raises:
        ValueError: a missing key, a wrong shape or dtype, lengths that disagree, values that are not finite or out of bounds.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}: expected a mapping of arrays by key, got {type(raw).__name__}")
    missing = [key for key in REQUIRED if key not in raw]
    if missing:
        found = ", ".join(sorted(map(str, raw))) or "nothing"
        raise ValueError(f"{where}: expected the keys {', '.join(REQUIRED)}; {', '.join(missing)} missing, found {found}")
    arrays = {key: _shaped(np.asarray(raw[key]), key, where) for key in KEYS if key in raw}
    rows = len(arrays["observations"])
    for key, array in arrays.items():
        if len(array) != rows:
            raise ValueError(f"{where}: {key}: expected {rows} rows as observations has, got {len(array)}")
    if rows == 0:
        raise ValueError(f"{where}: observations: expected at least one row, got none")
    if content:
        _check_content(arrays, where)
    return {key: array.astype(bool, copy=False) if key in _FLAGS else array for key, array in arrays.items()}


def _shaped(array: np.ndarray, key: str, where: str) -> np.ndarray:
    kinds, wanted = _KINDS.get(key, ("f", "floating-point numbers"))
    if array.dtype.kind not in kinds:
        raise ValueError(f"{where}: {key}: expected {wanted}, got dtype {array.dtype}")
    wide = key in ("observations", "actions")
    if not wide and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != (2 if wide else 1) or (wide and array.shape[1] == 0):
        wanted = "(N, dimensions)" if wide else "(N,)"
        raise ValueError(f"{where}: {key}: expected shape {wanted}, got {array.shape}")
    return array


def _check_content(arrays: Mapping[str, np.ndarray], where: str) -> None:
    for key, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = ~np.isfinite(array).reshape(len(array), -1).all(1)
            found = f"NaN or infinite in {bad.sum()} of {len(bad)} rows, first in row {bad.argmax()}"
            raise ValueError(f"{where}: {key}: expected finite values, got {found}")
        if key in _FLAGS and array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
            raise ValueError(f"{where}: {key}: expected 0 or 1, got values from {array.min():g} to {array.max():g}")
    actions = arrays["actions"]
    low, high = float(actions.min()), float(actions.max())
    if low < -1 - _TOLERANCE or high > 1 + _TOLERANCE:
        found = f"from {low:g} to {high:g}; rescale them by the bounds of the actuators"
        raise ValueError(f"{where}: actions: expected values in [-1, 1], got {found}")
