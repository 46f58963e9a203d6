"""Paint points and their energies with a brush, then see that toy guided exactly or learned."""

from pathlib import Path

import ipywidgets
import numpy as np
import torch
import traitlets
from torch import Tensor

from cepkit.canvas.to_browser import colour_tables, joined, pack_binary
from cepkit.canvas.working_widget import CheckedWidget
from cepkit.lab.guidance_lab import DEFAULT, GuidanceLab
from cepkit.learning.loop import OBJECTIVES
from cepkit.truth.own_points import from_points
from cepkit.truth.toys import TOYS, Toy, make_toy
from cepkit.validation import as_float64, check_points

_JS = Path(__file__).parent / "js"

LIMIT, STD, _TOY_POINTS = 4000, 0.15, 600
TOOLS = ("points", "energy", "distance", "erase")


def _numbers(packed: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(packed, dtype="<f4").astype(np.float32))


def _bytes(value: object, _widget: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value  # from the browser a buffer comes as a memoryview


class DrawYourOwn(CheckedWidget):
    """A square of x-space on which points are sprayed and their energies painted, with the mouse, a pen, a finger or keys.

    Low energy is good. It works from Python too: `set_points` and `start` to draw, `x` and `energy` to read. Networks learn a
    drawing like any other toy: `Training(*drawing.toy().sample(20_000), TrainingConfig(...))`.

    Attributes:
        points, energies: the drawing as little-endian float32, (n, 2) and (n,), with at most `LIMIT` points.
        extent: the square shown is [-extent, extent]^2.
        tool, brush_radius, brush_density, brush_energy: one of `TOOLS`, in units of x, points in each dab, in [0, 1].
        message: a sentence shown below the canvas.
    """

    _esm = joined(_JS, "data.js", "draw.js", "controls.js", "draw_own.js")
    _css = joined(_JS, "common.css", "draw_own.css")
    points = traitlets.Bytes(b"").tag(sync=True, from_json=_bytes)
    energies = traitlets.Bytes(b"").tag(sync=True, from_json=_bytes)
    extent = traitlets.Float(4.5).tag(sync=True)
    tool = traitlets.Enum(TOOLS, default_value="points").tag(sync=True)
    brush_radius = traitlets.Float(0.4, min=0.05, max=2.0).tag(sync=True)
    brush_density = traitlets.Int(8, min=1, max=40).tag(sync=True)
    brush_energy = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)
    setup = traitlets.Dict({"limit": LIMIT, "toys": list(TOYS), "luts": colour_tables()}).tag(sync=True)

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        super().__init__()
        self.on_msg(self._receive)

    @traitlets.validate("points", "energies")
    def _check_drawing(self, proposal: dict) -> bytes:
        name, packed = proposal["trait"].name, proposal["value"]
        size = 8 if name == "points" else 4
        if len(packed) % size or len(packed) > size * LIMIT or not bool(_numbers(packed).isfinite().all()):
            raise ValueError(f"{name}: expected up to {LIMIT} times {size} bytes of finite float32, got {len(packed)} bytes")
        return packed

    @property
    def x(self) -> Tensor:
        """The points (n, 2), float32."""
        return _numbers(self.points).reshape(-1, 2)

    @property
    def energy(self) -> Tensor:
        """Their energies (n,), float32."""
        return _numbers(self.energies)

    def set_points(self, x: object, energy: object) -> None:
        """Replace the drawing by points (n, 2) with energies (n,); the view grows if they lie outside it.

        Raises:
            ValueError: other shapes, values that are not finite, or more points than `LIMIT`.
        """
        x, energy = as_float64(x, "x").float(), as_float64(energy, "energy").float()
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x: expected shape (n, 2), got {tuple(x.shape)}")
        if energy.shape != x.shape[:1]:
            raise ValueError(f"energy: expected shape ({len(x)},), one per point, got {tuple(energy.shape)}")
        check_points(x, 2, name="x")
        check_points(energy, None, name="energy")
        if len(x) > LIMIT:
            raise ValueError(f"x: expected at most {LIMIT} points, got {len(x)}")
        reach = 1.05 * float(x.abs().max()) if len(x) else 0.0
        with self.hold_sync(), self.hold_trait_notifications():  # one message, and no observer sees half of it
            self.extent = max(self.extent, reach)
            self.points, self.energies = pack_binary(x, "<f4"), pack_binary(energy, "<f4")
            self.message = ""

    def start(self, toy: str) -> None:
        """Replace the drawing by samples of the toy of this name."""
        self.set_points(*make_toy(toy).sample(_TOY_POINTS, generator=self._generator))

    def toy(self, *, std: float = STD) -> Toy:
        """The drawing as a toy with its exact truth; each point is blurred by `std`.

        Raises:
            ValueError: fewer than two points, energies of another number of points, or a negative `std`.
        """
        if len(self.x) < 2:
            raise ValueError(f"points: expected at least 2, got {len(self.x)}; spray some on the canvas, or start from a toy")
        return from_points(self.x, self.energy, std=std, standardize=False, name="drawing")

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """Start from the toy of a button in the browser."""
        if isinstance(content, dict) and content.get("start") in TOYS:
            self.start(content["start"])


class DrawingLab(ipywidgets.VBox):
    """Paint a toy, then see it guided: exactly, and by energy nets trained on it.

    Args:
        train_steps: optimiser steps of each network that "Learn it" trains.

    Attributes:
        drawing: the canvas, a `DrawYourOwn`.
        lab: the `GuidanceLab` shown below it, if any.
    """

    def __init__(self, *, train_steps: int = 600) -> None:
        self.drawing = DrawYourOwn()
        self.lab: ipywidgets.DOMWidget | None = None
        self._train_steps = train_steps
        wide = {"layout": ipywidgets.Layout(width="min(100%, 380px)")}
        self.std = ipywidgets.FloatSlider(value=STD, min=0.02, max=0.6, step=0.01, description="blur std", **wide)
        self.beta = ipywidgets.FloatSlider(value=3.0, min=0, max=20, step=0.25, description="β", **wide)
        self.guide = ipywidgets.Button(description="Guide it", button_style="primary", tooltip="Exact guidance of this drawing")
        self.learn = ipywidgets.Button(description="Learn it", tooltip="Train energy nets on this drawing")
        wrapped = ipywidgets.Layout(flex_flow="row wrap", width="100%")
        row = ipywidgets.Box([self.std, self.beta, ipywidgets.HBox([self.guide, self.learn])], layout=wrapped)
        self._below = ipywidgets.VBox()
        super().__init__([self.drawing, row, self._below], layout=ipywidgets.Layout(width="100%"))
        self.add_class("cepkit-drawing-lab")
        for button in (self.guide, self.learn):
            button.on_click(self._on_click)

    def _on_click(self, button: ipywidgets.Button) -> None:
        """Show a lab for the drawing, or say below the canvas why it is not ready."""
        self.drawing.message, self.guide.disabled, self.learn.disabled = "", True, True
        try:
            toy = self.drawing.toy(std=self.std.value)
            if bool((self.drawing.energy == self.drawing.energy[0]).all()):
                raise ValueError("energies: expected some difference, got all equal, so nothing guides; use the energy brush")
            estimators = ("exact", *OBJECTIVES) if button is self.learn else DEFAULT
            lab = GuidanceLab(toy, estimators, beta=self.beta.value, train_steps=self._train_steps)
            self._below.children = [lab]
            if self.lab is not None:
                self.lab.close()
            self.lab = lab
        except ValueError as error:
            self.drawing.message = str(error)
        finally:
            self.guide.disabled = self.learn.disabled = False

    def close(self) -> None:
        """Close the canvas, the controls and the lab below."""
        for button in (self.guide, self.learn):
            button.on_click(self._on_click, remove=True)
        for widget in (self.lab, self.std, self.beta, self.guide, self.learn, *self.children):
            if widget is not None:
                widget.close()
        super().close()
        self.unobserve_all()
