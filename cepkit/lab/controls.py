"""What the controls of the lab are: names of traits, labels and ranges, read by the script that draws them."""

from __future__ import annotations

from cepkit.truth.toys import TOYS

HEATS = ("none", "target", "data", "energies", "errors")
FIELDS = ("none", "guidance", "score", "sum")
METHOD_LABELS = {"dpmpp2m": "DPM-Solver++(2M)", "ddim": "DDIM", "sde": "SDE"}


def options(labels: dict) -> list[dict]:
    """Values and what stands beside them."""
    return [{"value": value, "label": label} for value, label in labels.items()]


CONTROLS = (
    {"name": "scale", "label": "scale s", "kind": "range", "min": 0, "max": 10, "step": 0.05, "hint": "Multiplies the guidance"},
    {"name": "beta", "label": "β", "kind": "range", "min": 0, "max": 20, "step": 0.25, "hint": "Inverse temperature"},
    {"name": "steps", "label": "steps", "kind": "range", "min": 1, "max": 100, "step": 1, "hint": "Steps of the sampler"},
    {"name": "method", "label": "sampler", "kind": "select", "options": options(METHOD_LABELS)},
    {"name": "particles", "label": "particles", "kind": "number", "min": 1, "max": 20000, "step": 1},
    {"name": "seed", "label": "seed", "kind": "number", "min": 0, "max": 999999, "step": 1},
)


def toy_control(own: str) -> dict:
    """A choice of the six toys and one's own."""
    names = dict.fromkeys((*TOYS, own))
    return {"name": "toy_name", "label": "toy", "kind": "select", "options": options({name: name for name in names})}


def panel_control(names: tuple[str, ...]) -> dict:
    """Check boxes for the estimators to show."""
    hint = "CEP, MSE and exp-MSE are trained here, in some seconds each"
    return {"name": "panels", "label": "panels", "kind": "many", "options": options({name: name for name in names}), "hint": hint}
