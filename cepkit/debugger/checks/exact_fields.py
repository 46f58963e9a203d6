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
    points = {t: cloud.guided for t, cloud in scene.clouds.items()}
    guidance, score = scene.fields("guidance", "exact"), scene.fields("score", "exact score")
    if guidance:
        exact = scene.fields("exact", "exact score")
        negligible = frozenset(t for t, (force, score) in exact.items() if rms(force) <= NEGLIGIBLE_SHARE * rms(score))
        remedy = "an approximation, too little training, or another beta than the truth's"
        finding = compare(scene, "truth-guidance", guidance, points, "the exact guidance", remedy, negligible=negligible)
        yield finding
        t = finding.t
        drawn = scene.on_grid("guidance", t)
        if drawn is not None:
            error = (drawn - scene.on_grid("exact", t)).norm(dim=-1) / max(rms(guidance[t][1]), 1e-12)
            scene.keep_map("error_map", error, t)
    if score:
        remedy = "another schedule, another parametrisation, or too little training"
        yield compare(scene, "truth-score", score, points, "the exact score", remedy)
