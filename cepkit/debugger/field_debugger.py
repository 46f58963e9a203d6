"""The debugger: hand over a score and a guidance as callables, get what is wrong with them in words and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from cepkit.debugger.calls import Probe, check_calls, score_of
from cepkit.debugger.checks.agreement import check_against_density, check_against_truth, check_energy_gradient, check_reference
from cepkit.debugger.checks.gradients import check_curl, check_norm_ratio, check_time_dependence
from cepkit.debugger.checks.levels import check_score
from cepkit.debugger.checks.paths import check_paths, check_samples, check_steps, guided_path
from cepkit.debugger.findings import Outcome
from cepkit.debugger.report import Report
from cepkit.debugger.scene import Scene
from cepkit.debugger.slices import Domain, Slice
from cepkit.diffusion.denoisers import Denoiser
from cepkit.diffusion.guidance import same_schedule
from cepkit.diffusion.sampling import METHODS
from cepkit.diffusion.schedules import Schedule
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactDenoiser
from cepkit.truth.metrics import PROBE_TIMES
from cepkit.validation import check_beta, check_name, check_number, check_points


class FieldDebugger:
    """Finds what goes wrong in a guided diffusion model, in two dimensions or on a plane through more.

    Callables take x_t of shape (n, D) and a scalar `t` (a 0-dim float64 tensor, as the samplers pass it) and are called with
    gradients off. The sign convention is the package's: guidance = -grad E_t with beta inside, and the guided score is
    score + scale * guidance.

    Args:
        score: (x_t, t) -> (n, D), or a denoiser of any parametrisation. With a `truth` it may be left out: the exact one.
        guidance: (x_t, t) -> (n, D).
        schedule: may be left out when `score` is a denoiser, which has one.
        domain: where the clean data are, in slice coordinates: a half width, (centre, half width) or
            ((x_lo, x_hi), (y_lo, y_hi)).
        energy: (x_t, t) -> (n,), the energy whose minus gradient the guidance should be.
        truth: the exact `Mixture`; needs `beta`.
        beta: the inverse temperature of the truth's target.
        scale: what the guidance is multiplied with.
        slice: the plane that is looked at; the two axes of a two-dimensional space when absent.
        times: noise levels in (0, 1] to look at.
        particles: points at each level, and paths.
        steps, method: of the sampler that is examined, see `cepkit.diffusion.sampling`.
        seed: of all randomness; two runs with one seed agree.
        support: where there is no truth, log q(x_t, t) as a callable to (n,), or clean data points (m, D).
        device, dtype: of the points; by default those of the support points, else of the first torch module found, else
            float32 on the CPU.

    What it cannot know: without `energy` or `truth` nothing tells a wrong sign or factor of the guidance, and without `truth`
    or `support` a factor of the score that is 1 at full noise, such as a missing sigma_t.

    Raises:
        ValueError: an argument that is not what it should be, by name.
    """

    def __init__(
        self,
        *,
        score: Callable | Denoiser | None = None,
        guidance: Callable | None = None,
        schedule: Schedule | None = None,
        domain: object = 4.5,
        energy: Callable | None = None,
        truth: Mixture | None = None,
        beta: float | None = None,
        scale: float = 1.0,
        slice: Slice | None = None,
        times: Iterable[float] = PROBE_TIMES,
        particles: int = 512,
        steps: int = 25,
        method: str = "dpmpp2m",
        seed: int = 0,
        support: Callable | Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if score is None and guidance is None:
            raise ValueError("score, guidance: expected at least one callable (x_t, t) -> tensor, got neither")
        probes = {
            name: None if given is None else Probe(given, name, per_point=name == "energy")
            for name, given in (("score", score), ("guidance", guidance), ("energy", energy))
        }
        plane = Slice.axes(2) if slice is None else slice
        if not isinstance(plane, Slice):
            raise ValueError(f"slice: expected a cepkit.debugger.Slice, got {type(slice).__name__}")
        schedule = _schedule(schedule, score)
        same_schedule(guidance, schedule, "guidance")
        _check_truth(truth, beta, plane)
        points = _check_support(support, plane)
        device, dtype = _where(device, dtype, points, (score, guidance, energy))
        if score is None and truth is not None:
            score = ExactDenoiser(truth, schedule)
        if score is not None:
            probes["score"] = Probe(score_of(score), "score")
        self.scene = Scene(
            schedule=schedule,
            domain=Domain.of(domain),
            plane=plane,
            times=_times(times),
            score=probes["score"],
            guidance=probes["guidance"],
            energy=probes["energy"],
            truth=truth,
            beta=0.0 if beta is None else check_beta(beta),
            scale=check_number(scale, name="scale"),
            support=points.to(device=device, dtype=dtype) if isinstance(points, Tensor) else points,
            particles=check_number(particles, name="particles", low=16, integer=True),
            steps=check_number(steps, name="steps", low=1, integer=True),
            method=check_name(method, METHODS, name="method"),
            seed=check_number(seed, name="seed", low=0, integer=True),
            device=device,
            dtype=dtype,
        )

    def run(self) -> Report:
        """Every check, each on what the callables gave; one that fails leaves the others standing."""
        scene = self.scene
        path = None if scene.score is None else guided_path(scene)
        outcomes = [
            check_norm_ratio(scene),
            check_curl(scene),
            check_energy_gradient(scene),
            check_against_truth(scene),
            check_against_density(scene),
            check_reference(scene),
            check_score(scene),
            check_time_dependence(scene),
            check_paths(scene, path),
            check_steps(scene),
            check_samples(scene, path),
            _background(scene),
        ]
        if scene.energy is not None:
            scene.energy(scene.grid, scene.times[0])
        findings = check_calls(scene.probes, scene.plane) + [item for outcome in outcomes for item in outcome.findings]
        arrays = {name: value for outcome in outcomes for name, value in outcome.arrays.items()}
        ordered = sorted(findings, key=lambda item: -item.rank)
        return Report(tuple(ordered), arrays, scene.plane.labels, scene.domain.box, _heading(scene))


def _background(scene: Scene) -> Outcome:
    """What the pictures are drawn over: the fields in the plane, and the density where it is known."""
    arrays = {"times": np.array(scene.times), "grid": scene.uv.cpu().double().numpy()}
    for name in ("score", "guidance"):
        values = [scene.on_grid(name, t) for t in scene.times]
        if all(value is not None for value in values):
            arrays[name] = np.stack([scene.picture(scene.plane.project(value)) for value in values])
    densities = [scene.log_support(scene.grid, t) for t in scene.times]
    if all(value is not None for value in densities):
        arrays["log_q"] = np.stack([scene.picture(value) for value in densities])
    elif scene.clean[0] is not None:
        arrays["points"] = scene.plane.coordinates(scene.clean[0]).cpu().numpy()
    return Outcome(arrays=arrays)


def _heading(scene: Scene) -> str:
    kind = "two dimensions" if scene.dim == 2 else f"a plane through {scene.dim} dimensions"
    with_truth = f"with the truth, beta = {scene.beta:g}" if scene.truth is not None else "without a truth"
    return (
        f"{kind}, {with_truth}; scale {scene.scale:g}, {scene.steps} steps of {scene.method}, "
        f"{scene.particles} points drawn from {scene.source} at each of {len(scene.times)} noise levels"
    )


def _schedule(schedule: Schedule | None, score: object) -> Schedule:
    own = score.schedule if isinstance(score, Denoiser) else None
    schedule = own if schedule is None else schedule
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule: expected a cepkit Schedule such as VPLinear(), got {type(schedule).__name__}")
    if own is not None and own != schedule:
        raise ValueError(f"schedule: expected the denoiser's own {own}, got {schedule}")
    return schedule


def _times(times: Iterable[float]) -> tuple[float, ...]:
    try:
        values = [times] if isinstance(times, (int, float)) else list(times)
    except TypeError as error:
        raise ValueError(f"times: expected noise levels in (0, 1], got {times!r}") from error
    if not values:
        raise ValueError("times: expected at least one noise level in (0, 1], got none")
    return tuple(sorted({check_number(t, name="times", low=1e-4, high=1.0) for t in values}))


def _check_truth(truth: object, beta: object, plane: Slice) -> None:
    if truth is None:
        return
    if not isinstance(truth, Mixture):
        raise ValueError(f"truth: expected a cepkit.truth.exact.Mixture, got {type(truth).__name__}")
    if truth.dim != plane.dim:
        hint = "; give a slice of that dimension" if plane.dim == 2 else ""
        raise ValueError(f"truth: expected the {plane.dim} dimensions of the slice, got {truth.dim}{hint}")
    if beta is None:
        raise ValueError("beta: expected the inverse temperature of the truth's target, a number of at least 0, got None")


def _check_support(support: object, plane: Slice) -> Probe | Tensor | None:
    if support is None:
        return None
    if callable(support):
        return Probe(support, "support", per_point=True)
    points = torch.as_tensor(support) if isinstance(support, (Tensor, np.ndarray)) else None
    if points is None:
        raise ValueError(f"support: expected a callable log q(x_t, t) or points (m, {plane.dim}), got {type(support).__name__}")
    check_points(points, plane.dim, name="support")
    if points.ndim != 2 or len(points) < 16:
        raise ValueError(f"support: expected at least 16 points, shape (m, {plane.dim}), got {tuple(points.shape)}")
    return points.detach()


def _where(
    device: torch.device | str | None, dtype: torch.dtype | None, support: object, candidates: Sequence[object]
) -> tuple[torch.device, torch.dtype]:
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
    example = support if isinstance(support, Tensor) else next((p for item in candidates for p in _parameters(item)), None)
    known = example is not None and example.dtype in (torch.float32, torch.float64)
    device = torch.device("cpu" if example is None else example.device) if device is None else torch.device(device)
    return device, dtype or (example.dtype if known else torch.float32)


def _parameters(item: object, depth: int = 2) -> list[Tensor]:
    """The first parameter of a torch module, or of one that the object holds as an attribute."""
    if isinstance(item, torch.nn.Module):
        return [p.detach() for p in item.parameters()][:1]
    inner = list(vars(item).values()) if depth and hasattr(item, "__dict__") else []
    return next((found for value in inner if (found := _parameters(value, depth - 1))), [])
