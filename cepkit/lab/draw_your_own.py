"""A toy of one's own: paint points and their energies with a brush."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib import colormaps
from torch import Tensor

from cepkit.canvas.scripts import script, style
from cepkit.lab.shapes import EXTENT, SHAPES, starting_shape
from cepkit.learning.config import PARTS, TrainingConfig
from cepkit.learning.loop import Training
from cepkit.plots import ENERGY_MAP
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import Toy
from cepkit.validation import as_float64, check_number, check_points

_JS = Path(__file__).parent / "js"

LIMIT, STD = 4000, 0.15
TOOLS = ("points", "energy", "distance", "erase")
_TRAINING_POINTS = 20_000


def _bytes(value: object, _widget: object) -> bytes:
    return bytes(value)  # from the browser a buffer comes as a memoryview


class DrawYourOwn(anywidget.AnyWidget):
    """A square of x-space on which points are sprayed and their energies painted, with the mouse, a pen, a finger or keys.

    Low energy is good. It works from Python too: `set_points` and `start` to draw, `x` and `energy` to read.

    Args:
        extent: the square shown is [-extent, extent]^2.
        limit: the largest number of points.
        seed: of the starting shapes.

    Attributes:
        points, energies: the drawing as little-endian float32, (n, 2) and (n,).
        tool, brush_radius, brush_density, brush_energy: one of `TOOLS`, in units of x, points in each dab, in [0, 1].
        message: a sentence shown below the canvas.
    """

    _esm = script(_JS, "draw_own")
    _css = style(_JS, "draw_own")
    points = traitlets.Bytes(b"").tag(sync=True, from_json=_bytes)
    energies = traitlets.Bytes(b"").tag(sync=True, from_json=_bytes)
    extent = traitlets.Float(EXTENT).tag(sync=True)
    limit = traitlets.Int(LIMIT).tag(sync=True)
    tool = traitlets.Enum(TOOLS, default_value="points").tag(sync=True)
    brush_radius = traitlets.Float(0.4, min=0.05, max=2.0).tag(sync=True)
    brush_density = traitlets.Int(8, min=1, max=40).tag(sync=True)
    brush_energy = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)
    shapes = traitlets.List(traitlets.Unicode(), default_value=list(SHAPES)).tag(sync=True)
    palette = traitlets.Bytes(colormaps[ENERGY_MAP](np.arange(256), bytes=True)[:, :3].tobytes()).tag(sync=True)

    def __init__(self, *, extent: float = EXTENT, limit: int = LIMIT, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(check_number(seed, name="seed", low=0, integer=True))
        super().__init__(
            extent=check_number(extent, name="extent", low=1e-3, high=1e3),
            limit=check_number(limit, name="limit", low=2, integer=True),
        )
        self.on_msg(self._receive)

    @property
    def x(self) -> Tensor:
        """The points (n, 2), float32."""
        return torch.from_numpy(np.frombuffer(self.points, dtype="<f4").astype(np.float32)).reshape(-1, 2)

    @property
    def energy(self) -> Tensor:
        """Their energies (n,), float32."""
        return torch.from_numpy(np.frombuffer(self.energies, dtype="<f4").astype(np.float32))

    def set_points(self, x: object, energy: object) -> None:
        """Replace the drawing by points (n, 2) with energies (n,); the view grows if they lie outside it.

        Raises:
            ValueError: other shapes, values that are not finite, or more points than `limit`.
        """
        x, energy = as_float64(x, "x").float(), as_float64(energy, "energy").float()
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x: expected shape (n, 2), got {tuple(x.shape)}")
        if energy.shape != x.shape[:1]:
            raise ValueError(f"energy: expected shape ({len(x)},), one per point, got {tuple(energy.shape)}")
        check_points(x, 2, name="x")
        check_points(energy, None, name="energy")
        if len(x) > self.limit:
            raise ValueError(f"x: expected at most {self.limit} points, got {len(x)}")
        reach = 1.05 * float(x.abs().max()) if len(x) else 0.0
        with self.hold_sync(), self.hold_trait_notifications():  # one message, and no observer sees half of it
            self.extent = max(self.extent, reach)
            self.points = x.cpu().numpy().astype("<f4").tobytes()
            self.energies = energy.cpu().numpy().astype("<f4").tobytes()
            self.message = ""

    def start(self, shape: str) -> None:
        """Replace the drawing by one of `SHAPES`."""
        x, energy = starting_shape(shape, self.extent, generator=self._generator)
        self.set_points(x[: self.limit], energy[: self.limit])

    def toy(self, *, std: float = STD, name: str = "drawing") -> Toy:
        """The drawing as a toy with its exact truth; each point is blurred by `std`.

        Raises:
            ValueError: fewer than two points.
        """
        if len(self.x) < 2:
            raise ValueError(f"points: expected at least 2, got {len(self.x)}; spray some on the canvas, or start from a shape")
        return from_points(self.x, self.energy, std=check_number(std, name="std", low=0.0), name=name)

    def fit(
        self,
        *,
        steps: int = 600,
        beta: float = 3.0,
        std: float = STD,
        parts: tuple[str, ...] = PARTS,
        seed: int = 0,
        report: Callable[[int], None] | None = None,
    ) -> Training:
        """Train networks on samples of the blurred drawing, to the end: a few seconds with the defaults.

        Args:
            steps, beta, parts, seed: as in `TrainingConfig`. std: as in `toy`.
            report: called with the number of steps taken, after each.
        """
        config = TrainingConfig(beta=beta, steps=steps, parts=parts, seed=seed)
        data = self.toy(std=std).sample(_TRAINING_POINTS, generator=torch.Generator().manual_seed(config.seed))
        training = Training(*data, config)
        for step in training:
            if report is not None:
                report(step.index)
        return training

    def close(self) -> None:
        """Leave the page, and let go of everyone who listens."""
        self.on_msg(self._receive, remove=True)
        super().close()
        self.unobserve_all()

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """A shape's button in the browser."""
        if isinstance(content, dict) and content.get("start") in SHAPES:
            self.start(content["start"])
