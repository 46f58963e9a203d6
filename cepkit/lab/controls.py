"""The controls of the lab as traits that the browser shares; their labels and ranges are in `js/lab.js`."""

import traitlets

from cepkit.canvas.working_widget import WorkingWidget
from cepkit.lab.simulation import SampleSettings

HEATS = ("none", "target", "data", "energies", "errors")
FIELDS = ("none", "guidance", "score", "sum")
SETTINGS = tuple(SampleSettings.__dataclass_fields__)
LAYERS = ("heat", "field", "streamlines", "show_particles", "trajectories", "contours", "locked", "show_chart")


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
    def settings(self) -> SampleSettings:
        """The present values of the controls on which a sample depends."""
        return SampleSettings(**{name: getattr(self, name) for name in SETTINGS})

    @traitlets.validate(*SETTINGS)
    def _check_setting(self, proposal: dict) -> object:
        SampleSettings(**{proposal["trait"].name: proposal["value"]})
        return proposal["value"]
