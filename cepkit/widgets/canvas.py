"""A canvas of side-by-side panels: heat map, arrows and particles, sent to the browser as binary arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from matplotlib import colormaps
from torch import Tensor

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title, note: plain text above and below the picture.
        heat: (side, side) values in [0, 1], rows from bottom to top, NaN for blank.
        arrows: (n, 4) of x, y and the displacement to draw, in data units.
        points: (n, 2).
        centre, extent: the square shown.
    """

    title: str
    note: str = ""
    heat: Tensor | None = None
    arrows: Tensor | None = None
    points: Tensor | None = None
    centre: tuple[float, float] = (0.0, 0.0)
    extent: float = 4.5
    cmap: str = field(default="cividis", repr=False)

    def payload(self) -> dict:
        """What travels to the browser: texts, numbers and little-endian binary buffers."""
        side = 0 if self.heat is None else self.heat.shape[0]
        return {
            "title": self.title,
            "note": self.note,
            "side": side,
            "heat": b"" if self.heat is None else _colours(self.heat, self.cmap),
            "arrows": b"" if self.arrows is None else _floats(self.arrows),
            "points": b"" if self.points is None else _floats(self.points),
            "centre": list(self.centre),
            "extent": self.extent,
        }


def _floats(values: Tensor) -> bytes:
    return values.detach().cpu().numpy().astype("<f4").tobytes()


def _colours(heat: Tensor, cmap: str) -> bytes:
    """RGBA bytes, top row first as a browser's image data wants it."""
    values = np.flipud(heat.detach().cpu().numpy())
    rgba = colormaps[cmap](np.nan_to_num(values), bytes=True)
    rgba[~np.isfinite(values), 3] = 0
    return rgba.tobytes()


class FieldCanvas(anywidget.AnyWidget):
    """Draws a list of `Panel`s; `show` replaces them in one message."""

    _esm = _HERE / "canvas.js"
    _css = _HERE / "canvas.css"
    frame = traitlets.Dict(default_value={"panels": []}).tag(sync=True)

    def show(self, panels: list[Panel]) -> None:
        """Draw these panels side by side."""
        self.frame = {"panels": [panel.payload() for panel in panels]}
