"""A guidance that is not the gradient of anything: it rotates."""

import torch
from torch import Tensor

from cepkit.debugger.factors import ZERO_SHARE, finite_rows, rms
from cepkit.debugger.findings import Finding, Findings, grade
from cepkit.debugger.scene import Scene

# The antisymmetric share of the Jacobian: 0 for a gradient, 1 for a rotation. Central differences of an exact field give 1e-6
# in float64 and below 0.02 in float32 with the larger step; a rotation of a tenth of the field gives about 0.1.
WARNING = 0.03
ERROR = 0.3
STEP_DOUBLE = 1e-4  # of the domain's half width; the truncation error is of its square
STEP_SINGLE = 1e-2  # float32 values carry seven digits, so the step must be larger
DROWNED = 1e-5  # relative to the score, whose size is about 1 / sigma_t: a weaker field of float32 is mostly rounding
WIDER = 4.0  # the second step in float32, where a weak field of a network may drown in rounding with the first

_POINTS = 128  # four calls each; the share of curl is a ratio of two means and needs no more


def curl_share(jacobian: Tensor) -> float:
    """|antisymmetric part| / |Jacobian| over points (n, 2, 2) that are finite: 0 for a gradient field, 1 for a rotation."""
    jacobian = jacobian[finite_rows(jacobian.flatten(1))].double()
    whole = float(jacobian.square().sum())
    return float(((jacobian - jacobian.mT) / 2).square().sum() / whole) ** 0.5 if whole > 0 else 0.0


def _jacobian(scene: Scene, x: Tensor, t: float, step: float) -> Tensor | None:
    """Derivatives of the guidance in the plane, (n, 2, 2): entry [i, j] is that of component i along axis j."""
    slopes = [scene.guidance.slope(x, t, direction, step) for direction in scene.plane.basis.to(x)]
    return None if any(slope is None for slope in slopes) else torch.stack([scene.plane.project(s) for s in slopes], -1)


def check(scene: Scene) -> Findings:
    """Is the guidance a gradient field? An energy's guidance has no curl."""
    if not scene.fields("guidance"):
        return
    if {"random", "batch"} & set(scene.guidance.kinds):
        text = "The curl was not measured, because the guidance depends on chance or on the other points."
        yield Finding("curl", "note", text, remedy="see the findings on the calls")
        return
    double = scene.guidance.is_double(scene.clouds[scene.times[0]].guided[:64].double(), scene.times[0])
    dtype = torch.float64 if double else scene.dtype
    step = scene.domain.reach * (STEP_DOUBLE if double else STEP_SINGLE)
    shares, worst_x = {}, {}
    for t, (guidance,) in scene.fields("guidance").items():
        if not double and rms(guidance) * float(scene.schedule.sigma(t)) < DROWNED:
            continue
        x = scene.clouds[t].guided[:_POINTS].to(dtype)
        jacobian = _jacobian(scene, x, t, step)
        if jacobian is None or rms(jacobian.flatten(1)) * scene.domain.reach < ZERO_SHARE:
            continue
        shares[t] = curl_share(jacobian)
        if not double and shares[t] > WARNING:
            # rounding falls with a wider step and truncation with a narrower one; a rotation stays
            wider = _jacobian(scene, x, t, WIDER * step)
            shares[t] = shares[t] if wider is None else min(shares[t], curl_share(wider))
        worst_x[t] = x[(jacobian[:, 0, 1] - jacobian[:, 1, 0]).abs().nan_to_num().argmax()]
    if not shares:
        return
    t = max(shares, key=shares.get)
    scene.keep_curve("curl", shares)
    jacobian = _jacobian(scene, scene.grid.to(dtype), t, step)
    if jacobian is not None:
        curl = (jacobian[:, 1, 0] - jacobian[:, 0, 1]).abs() / max(rms(jacobian.flatten(1)), 1e-30) / 2**0.5
        scene.keep_map("curl_map", curl, t)
    text = f"The curl of the guidance is at most {shares[t]:.1%} of its Jacobian, at t = {t:g}. An energy gradient has none."
    severity = grade(shares[t], warning=WARNING, error=ERROR)
    remedy = "a network whose output is a vector need not be a gradient: differentiate an energy instead; or a swapped index"
    yield Finding("curl", severity, text, figure=shares[t], x=scene.plane.coordinates(worst_x[t]), t=t, remedy=remedy)
