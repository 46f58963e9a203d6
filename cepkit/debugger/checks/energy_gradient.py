"""A field that is not the gradient of its own function: guidance of its energy, score of its log density."""

from cepkit.debugger.agreement import compare
from cepkit.debugger.calls import RecordedCallable
from cepkit.debugger.findings import Finding, Findings
from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import GRADIENT_TOLERANCE

_POINTS = 256  # finite differences take 2 D calls each


def check(scene: Scene) -> Findings:
    """Is the guidance minus the gradient of the given energy, and the score the gradient of the given log density?"""
    if scene.guidance is not None and scene.energy is not None:
        points = {t: scene.clouds[t].guided[:_POINTS] for t in scene.times}
        forces, how = _minus_gradients(scene, scene.energy, points)
        given = {t: field for t in scene.times if (field := scene.on_cloud("guidance", t)) is not None}
        pairs = {t: (given[t][:_POINTS], force) for t, force in forces.items() if t in given}
        # central differences in float32 carry errors of about a hundredth themselves
        tolerance = GRADIENT_TOLERANCE * (2 if how == "finite differences" else 1)
        remedy = "the two are not of one energy: another beta, another t, or a detached part of the graph"
        reference = f"minus the gradient of your energy ({how})"
        if pairs:
            yield compare(scene, "energy-gradient", pairs, points, reference, remedy, tolerance=tolerance)
    elif scene.guidance is not None and scene.truth is None:
        text = "Neither an energy nor a truth was given, so a wrong sign or factor of the guidance would go unseen."
        yield Finding("reference", "note", text, remedy="give energy=..., or truth=... and beta=...")
    if scene.score is not None and scene.truth is None and isinstance(scene.support, RecordedCallable):
        points = {t: scene.clouds[t].x[:_POINTS] for t in scene.times}
        downhill, how = _minus_gradients(scene, scene.support, points)
        given = {t: field for t, x in points.items() if (field := scene.score(x, t)) is not None}
        pairs = {t: (given[t], -field) for t, field in downhill.items() if t in given}
        if pairs:
            remedy = "another schedule, another parametrisation, or another density than the model's"
            yield compare(scene, "density-score", pairs, points, f"the gradient of your log density ({how})", remedy)
        else:
            text = "The log density or the score failed, so the two could not be compared."
            yield Finding("density-score", "note", text, remedy="the log density must return (n,) for x_t of shape (n, D)")


def _minus_gradients(scene: Scene, function: RecordedCallable, points: dict) -> tuple[dict, str]:
    """-grad of a function at the points of each level where it can be had, and the way the last was found, in words."""
    found = {t: function.minus_gradient(x, t, scene.domain.reach) for t, x in points.items()}
    return {t: field for t, (field, _) in found.items() if field is not None}, [how for _, how in found.values()][-1]
