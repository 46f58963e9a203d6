"""Draw a toy, then see it guided exactly or learned."""

from __future__ import annotations

import ipywidgets

from cepkit.lab.draw_your_own import STD, DrawYourOwn
from cepkit.lab.guidance_lab import DEFAULT, GuidanceLab
from cepkit.truth.toys import Toy
from cepkit.validation import check_number

LEARNED = ("exact", "CEP", "MSE", "exp-MSE")


class DrawingLab(ipywidgets.VBox):
    """Paint a toy, then see it guided: exactly, and by an energy net learned from it.

    Args:
        drawing: the canvas; a fresh one by default.
        beta: where its slider starts.
        steps: of training each network, for "Learn it".
    """

    def __init__(self, drawing: DrawYourOwn | None = None, *, beta: float = 3.0, steps: int = 600) -> None:
        self.drawing = drawing or DrawYourOwn()
        self.lab: ipywidgets.DOMWidget | None = None  # shown below the canvas
        self._steps = check_number(steps, name="steps", low=1, integer=True)
        beta = check_number(beta, name="beta", low=0.0, high=20.0)
        wide = {"layout": ipywidgets.Layout(width="min(100%, 380px)")}
        self.std = ipywidgets.FloatSlider(value=STD, min=0.02, max=0.6, step=0.01, description="blur std", **wide)
        self.beta = ipywidgets.FloatSlider(value=beta, min=0, max=20, step=0.25, description="β", **wide)
        self.guide = ipywidgets.Button(description="Guide it", button_style="primary", tooltip="exact guidance of this drawing")
        self.learn = ipywidgets.Button(description="Learn it", tooltip="train energy nets on this drawing")
        row = ipywidgets.Box(
            [self.std, self.beta, ipywidgets.HBox([self.guide, self.learn])],
            layout=ipywidgets.Layout(flex_flow="row wrap", width="100%"),
        )
        self._below = ipywidgets.VBox()
        super().__init__([self.drawing, row, self._below], layout=ipywidgets.Layout(width="100%"))
        self.add_class("cepkit-drawing-lab")
        for button in (self.guide, self.learn):
            button.on_click(self._clicked)

    def _clicked(self, button: ipywidgets.Button) -> None:
        """Whatever the drawing lacks is said below it."""
        self.drawing.message, self.guide.disabled, self.learn.disabled = "", True, True
        try:
            toy = self.drawing.toy(std=self.std.value)
            if bool((self.drawing.energy == self.drawing.energy[0]).all()):
                raise ValueError("energies: expected some difference, got all equal, so nothing guides; use the energy brush")
            self._show(toy, LEARNED if button is self.learn else DEFAULT)
        except ValueError as error:
            self.drawing.message = str(error)
        finally:
            self.guide.disabled = self.learn.disabled = False

    def _show(self, toy: Toy, estimators: tuple[str, ...]) -> None:
        lab = GuidanceLab(toy, estimators, beta=self.beta.value, train_steps=self._steps)
        self._below.children = [lab]
        if self.lab is not None:
            self.lab.close()
        self.lab = lab

    def close(self) -> None:
        """Close the canvas, the controls and the lab below."""
        for button in (self.guide, self.learn):
            button.on_click(self._clicked, remove=True)
        for widget in (self.lab, self.std, self.beta, self.guide, self.learn, *self.children):
            if widget is not None:
                widget.close()
        super().close()
        self.unobserve_all()
