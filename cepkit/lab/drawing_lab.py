"""Draw a toy, then see it guided exactly or learned."""

import ipywidgets

from cepkit.lab.draw_your_own import STD, DrawYourOwn
from cepkit.lab.guidance_lab import DEFAULT, GuidanceLab
from cepkit.learning.loop import OBJECTIVES


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
