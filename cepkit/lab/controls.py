"""The controls of the lab: traits that the browser shares, and the labels and ranges from which its script draws them."""

from __future__ import annotations

from collections.abc import Iterable

import traitlets

from cepkit.canvas.working_widget import WorkingWidget
from cepkit.lab.simulation import Settings

HEATS = ("none", "target", "data", "energies", "errors")
FIELDS = ("none", "guidance", "score", "sum")
SETTINGS = tuple(Settings.__dataclass_fields__)
LAYERS = ("heat", "field", "streamlines", "show_particles", "trajectories", "contours", "locked", "show_chart")
METHOD_LABELS = {"dpmpp2m": "DPM-Solver++(2M)", "ddim": "DDIM", "sde": "SDE"}
_METHODS = [{"value": value, "label": label} for value, label in METHOD_LABELS.items()]
CONTROLS = (
    {"name": "scale", "label": "scale s", "kind": "range", "min": 0, "max": 10, "step": 0.05, "hint": "Multiplies the guidance"},
    {"name": "beta", "label": "β", "kind": "range", "min": 0, "max": 20, "step": 0.25, "hint": "Inverse temperature"},
    {"name": "steps", "label": "steps", "kind": "range", "min": 1, "max": 100, "step": 1, "hint": "Steps of the sampler"},
    {"name": "method", "label": "sampler", "kind": "select", "options": _METHODS},
    {"name": "particles", "label": "particles", "kind": "number", "min": 1, "max": 20000, "step": 1},
    {"name": "seed", "label": "seed", "kind": "number", "min": 0, "max": 999999, "step": 1},
)


def choice(name: str, label: str, kind: str, values: Iterable[str], hint: str = "") -> dict:
    """A control that chooses among names: one ("select") or several ("many")."""
    options = [{"value": value, "label": value} for value in values]
    return {"name": name, "label": label, "kind": kind, "options": options, "hint": hint}


class LabControls(WorkingWidget):
    """A widget with a trait for every control of the lab."""

    scale = traitlets.Float(1.0).tag(sync=True)
    beta = traitlets.Float(3.0).tag(sync=True)
    steps = traitlets.Int(25).tag(sync=True)
    method = traitlets.Unicode("dpmpp2m").tag(sync=True)
    particles = traitlets.Int(2000).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    toy_name = traitlets.Unicode("8gaussians").tag(sync=True)
    panels = traitlets.List(traitlets.Unicode()).tag(sync=True)

    position = traitlets.Float(0.0).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    heat = traitlets.Enum(HEATS, "target").tag(sync=True)
    field = traitlets.Enum(FIELDS, "guidance").tag(sync=True)
    streamlines = traitlets.Bool(False).tag(sync=True)
    show_particles = traitlets.Bool(True).tag(sync=True)
    trajectories = traitlets.Bool(False).tag(sync=True)
    contours = traitlets.Bool(False).tag(sync=True)
    locked = traitlets.Bool(True).tag(sync=True)
    show_chart = traitlets.Bool(True).tag(sync=True)

    @property
    def settings(self) -> Settings:
        """The present values of the controls on which a sample depends."""
        return Settings(**{name: getattr(self, name) for name in SETTINGS})

    @traitlets.validate(*SETTINGS)
    def _check_setting(self, proposal: dict) -> object:
        Settings(**{proposal["trait"].name: proposal["value"]})
        return proposal["value"]
