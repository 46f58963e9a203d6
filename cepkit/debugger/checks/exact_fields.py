"""A guidance or score that is not the exact one, where the truth is known."""

from cepkit.debugger.agreement import compare
from cepkit.debugger.factors import rms
from cepkit.debugger.findings import Findings
from cepkit.debugger.scene import Scene
from cepkit.debugger.thresholds import NEGLIGIBLE_SHARE


def check(scene: Scene) -> Findings:
    """Compare the guidance and the score with the exact ones, along t and over x."""
    if scene.truth is None:
        return
    points = {t: scene.clouds[t].guided for t in scene.times}
    exact = {t: scene.on_cloud("exact", t) for t in scene.times}
    exact_score = {t: scene.truth.score(x, t, scene.schedule) for t, x in points.items()}
    guidance = {t: (field, exact[t]) for t in scene.times if (field := scene.on_cloud("guidance", t)) is not None}
    score = {t: (field, exact_score[t]) for t in scene.times if (field := scene.on_cloud("score", t)) is not None}
    if guidance:
        negligible = frozenset(t for t in guidance if rms(exact[t]) <= NEGLIGIBLE_SHARE * rms(exact_score[t]))
        remedy = "an approximation, too little training, or another beta than the truth's"
        verdict = compare(scene, "truth-guidance", guidance, points, "the exact guidance", remedy, negligible=negligible)
        yield verdict
        drawn = scene.on_grid("guidance", verdict.t)
        if drawn is not None:
            error = (drawn - scene.on_grid("exact", verdict.t)).norm(dim=-1) / max(rms(exact[verdict.t]), 1e-12)
            scene.keep_map("error_map", error, verdict.t)
    if score:
        remedy = "another schedule, another parametrisation, or too little training"
        yield compare(scene, "truth-score", score, points, "the exact score", remedy)
