"""A guidance that is not minus the gradient of its energy."""

from cepkit.debugger.agreement import compare
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import GRADIENT_TOLERANCE

_POINTS = 256  # finite differences take 2 D calls each


def check(scene: Scene) -> Findings:
    """Is the guidance minus the gradient of the given energy? Without an energy or a truth, say what stays unknown."""
    if scene.guidance is None:
        return
    if scene.energy is None:
        if scene.truth is None:
            text = "Neither an energy nor a truth was given, so a wrong sign or factor of the guidance would go unseen."
            yield Finding("reference", "note", text, remedy="give energy=..., or truth=... and beta=...")
        return
    points, pairs = {t: cloud.guided[:_POINTS] for t, cloud in scene.clouds.items()}, {}
    for t, (guidance,) in scene.fields("guidance").items():
        force, how = scene.energy.minus_gradient(points[t], t, scene.domain.reach)
        if force is not None:
            pairs[t] = (guidance[:_POINTS], force)
    if pairs:
        # central differences in float32 carry errors of about a hundredth themselves
        tolerance = GRADIENT_TOLERANCE * (2 if how == "finite differences" else 1)
        remedy = "the two are not of one energy: another beta, another t, or a detached part of the graph"
        reference = f"minus the gradient of your energy ({how})"
        yield compare(scene, "energy-gradient", pairs, points, reference, remedy, tolerance=tolerance)
