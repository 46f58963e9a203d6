"""Scripts and style sheets for the browser, tensors and colour maps as bytes that they read, and whole pages."""

from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from cepkit import plots
from cepkit.learning.checkpoints import make_folder, write_atomically

_LEVELS, _BLANK = 254, 255
_SHARED = Path(__file__).parent / "js"


def joined(folder: Path, *names: str) -> str:
    """These files of `folder`, or else of the shared scripts, one after the other: "draw.js", "lab.js" make one ES module."""
    paths = [folder / name if (folder / name).is_file() else _SHARED / name for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def save_page(path: str | Path, text: str) -> Path:
    """Write a page and return its path; a folder that does not exist is made. What UTF-8 cannot hold, as in a name, becomes "?".

    Raises:
        OSError: the folder cannot be written, or the disk is full; the message names the file, and an old one stays.
    """
    path = Path(path)
    make_folder(path.parent)
    write_atomically(path, text.encode("utf-8", errors="replace"))
    return path


def colour_tables() -> dict:
    """The course's colour maps, 256 x 3 bytes each."""
    names = {"density": plots.DENSITY_MAP, "energy": plots.ENERGY_MAP, "error": plots.ERROR_MAP}
    return {key: colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes() for key, name in names.items()}


def pack_picture(values: Tensor, limits: tuple[float, float] | None = None) -> dict:
    """Pack pictures (T, S, S) as bytes between limits, given or each time's own; NaN is blank, and all NaN gives no data."""
    finite = torch.isfinite(values)
    if not bool(finite.any()):
        return {"data": None, "low": [], "high": []}
    if limits is None:
        low, high = (torch.where(finite, values, bound).flatten(1) for bound in (torch.inf, -torch.inf))
        low, high = low.amin(1).nan_to_num(0.0, 0.0), high.amax(1).nan_to_num(0.0, 0.0, 0.0)
    else:
        low, high = (torch.full((len(values),), limit) for limit in limits)
    width = (high - low).clamp_min(1e-9)
    level = ((values - low[:, None, None]) / width[:, None, None]).clamp(0, 1) * _LEVELS
    level = torch.where(finite, level.round(), float(_BLANK)).nan_to_num(_BLANK)
    return {"data": pack_binary(level, "u1"), "low": low.tolist(), "high": (low + width).tolist()}


def pack_binary(values: Tensor, kind: str) -> bytes:
    """Pack numbers as the browser's typed array of this kind, such as "<f4", reads them."""
    return values.detach().cpu().numpy().astype(kind).tobytes()
