"""The guidance lab: the same particles under several estimators, with every field and map, beside the exact truth."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
import traitlets

from cepkit import plots
from cepkit.canvas.packing import colour_tables
from cepkit.canvas.scripts import script, style
from cepkit.canvas.worker import Worker
from cepkit.canvas.working_widget import WorkingWidget
from cepkit.diffusion.denoisers import Denoiser
from cepkit.diffusion.schedules import Schedule
from cepkit.lab.controls import CONTROLS, FIELDS, HEATS, panel_control, toy_control
from cepkit.lab.packing import pack_chart, pack_maps, pack_paths, pack_readout
from cepkit.lab.page import SCALES, lab_page
from cepkit.lab.panels import Field
from cepkit.lab.simulation import TABLE_SIDE, Paths, Settings, Simulation
from cepkit.truth.toys import TOYS, Toy, make_toy
from cepkit.validation import check_name

_JS = Path(__file__).parent / "js"

DEFAULT = ("exact", "mean energy", "DPS", "no guidance")
_COLOURS = ("#882255", "#44AA99", "#999933", "#AA4499")  # of callables that the course has no colour for
_FIRST_PARTICLES, _FIRST_HOLD = 200, 3
_SLOW = 0.11  # seconds for all particles, above which a first, coarser answer goes ahead
_SENDING = 0.015  # seconds in which a first answer leaves; that is another thread's work, and this one would hold it up
_HAND_PAUSES = 0.2  # seconds without a newer setting before the maps follow
_HAND_RESTS = 0.3  # and before the finished samples are measured
_RETRAINED_EVERY = 1.5  # seconds of training between two pictures of it
_SETTINGS = tuple(Settings.__dataclass_fields__)


class GuidanceLab(WorkingWidget):
    """Panels side by side for the chosen estimators, over the same sliders.

    Every control is a trait, so `lab.scale = 2.0` does what the slider does. In a notebook the work happens between two events
    and what has become stale is dropped; `lab.settle()` finishes it now.

    Args:
        toy: a toy or its name; own points come from `cepkit.truth.toys.from_points`.
        estimators: names of `cepkit.lab.BUILT_IN`, or a mapping from a title to any callable (x_t, t) -> guidance (None: the
            built-in of that name). "CEP", "MSE" and "exp-MSE" are trained on the spot, at the `beta` given here.
        denoiser: what every panel samples with; the exact one when absent.
        scale, beta, steps, method, particles, seed: where the controls start, see `cepkit.lab.Settings`.
        heat, field, contours, trajectories: the layers shown at first, see the traits of these names.
        train_steps: optimiser steps of a network trained here.

    Raises:
        ValueError: an unknown name, a toy that is not two-dimensional, or a setting out of range.
    """

    _esm = script(_JS, "data", "draw", "chart", "controls", "lab")
    _css = style(_JS, "common", "lab")

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

    setup = traitlets.Dict().tag(sync=True)
    paths = traitlets.Dict().tag(sync=True)
    maps = traitlets.Dict().tag(sync=True)
    readout = traitlets.Dict().tag(sync=True)
    chart = traitlets.Dict().tag(sync=True)
    drops = traitlets.List().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        toy: Toy | str = "8gaussians",
        estimators: Iterable[str] | Mapping[str, Field | None] = DEFAULT,
        *,
        denoiser: Denoiser | None = None,
        schedule: Schedule | None = None,
        scale: float = 1.0,
        beta: float = 3.0,
        steps: int = 25,
        method: str = "dpmpp2m",
        particles: int = 2000,
        seed: int = 0,
        heat: str = "target",
        field: str = "guidance",
        contours: bool = False,
        trajectories: bool = False,
        train_steps: int = 1000,
    ) -> None:
        settings = Settings(scale, beta, steps, method, particles, seed)
        self.toy = make_toy(toy) if isinstance(toy, str) else toy
        self.simulation = Simulation(
            self.toy, estimators, denoiser=denoiser, schedule=schedule, beta=settings.beta, train_steps=train_steps
        )
        self._own_toy, self._fixed = self.toy, denoiser is not None
        self._worker = Worker(lambda: self._work(self.settings), self._cannot)
        self._forget()
        layers = {
            "heat": check_name(heat, HEATS, name="heat"),
            "field": check_name(field, FIELDS, name="field"),
            "contours": contours,
            "trajectories": trajectories,
        }
        view = {"setup": self._setup(), "toy_name": self.toy.name, "panels": list(self.simulation.names)}
        super().__init__(position=float(settings.steps), **view, **layers, **vars(settings))
        self._listen(self._on_message)
        self._follow(self._changed, *_SETTINGS)
        self._follow(self._rebuild, "toy_name", "panels")
        self._worker.start(until=lambda: bool(self.paths))  # something to look at before the first event

    @property
    def settings(self) -> Settings:
        """What the controls say."""
        return Settings(**{name: getattr(self, name) for name in _SETTINGS})

    def drop(self, x: float, y: float, t_index: int = 0) -> None:
        """Put a particle down at (x, y) at the sampler's time of this index and show its path under every estimator."""
        self._dropped.append((float(x), float(y), min(max(int(t_index), 0), self.steps)))
        self._draw_drops(self.settings)

    def clear_drops(self) -> None:
        """Take all dropped particles away."""
        self._dropped = []
        self.drops = []

    def save_html(self, path: str | Path, *, scales: Iterable[float] = SCALES, seeds: Iterable[int] = (0, 1, 2)) -> Path:
        """Write the lab at the present beta, steps and sampler as one file that needs neither Python nor a network.

        Scale, seed, t and all layers still move there: the particles are computed at these scales and seeds, and between two
        scales they are interpolated, which the page says.

        Args:
            path: of the file, such as "lab.html".
            scales: guidance scales to compute, at least two.
            seeds: of the noise.

        Returns:
            The path.

        Raises:
            ValueError: fewer than two scales, no seed, or more of them than fit into a page of `page.LARGEST` bytes.
        """
        path = Path(path)
        path.write_text(lab_page(self, tuple(scales), tuple(seeds)), encoding="utf-8")
        return path

    # -- controls --------------------------------------------------------------------------------------------------

    @traitlets.validate(*_SETTINGS)
    def _check(self, proposal: dict) -> object:
        Settings(**{proposal["trait"].name: proposal["value"]})
        if proposal["trait"].name == "beta":
            self.toy.truth.tilt(proposal["value"])
        return proposal["value"]

    @traitlets.validate("toy_name")
    def _check_toy(self, proposal: dict) -> str:
        known = [self.toy.name] if self._fixed else [*TOYS, self._own_toy.name]
        return check_name(proposal["value"], known, name="toy_name")

    @traitlets.validate("panels")
    def _check_panels(self, proposal: dict) -> list[str]:
        known = self.simulation.estimators.known
        for name in proposal["value"]:
            check_name(name, known, name="panels")
        return [name for name in known if name in proposal["value"]] or list(self.simulation.names)

    def _setup(self) -> dict:
        estimators, names = self.simulation.estimators, self.simulation.names
        spare = dict(zip((n for n in estimators.known if n not in plots.ESTIMATOR_COLOURS), _COLOURS * 9, strict=False))
        toys = [] if self._fixed else [toy_control(self._own_toy.name)]
        return {
            "toy": self.toy.name,
            "names": list(names),
            "colours": [plots.ESTIMATOR_COLOURS.get(name) or spare[name] for name in names],
            "centre": list(self.toy.centre),
            "extent": self.toy.extent,
            "luts": colour_tables(),
            "controls": [*toys, *CONTROLS, panel_control(estimators.known)],
            "note": f"{self.toy.name}: sums over the data are looked up in tables of {TABLE_SIDE} × {TABLE_SIDE} points.",
        }

    def _forget(self) -> None:
        """Nothing that is shown now is worth keeping: another toy or other panels."""
        self._seconds: dict[bool, float] = {}  # that all particles took last time, where tables had to be made and where not
        self._tabulated: set[tuple[float, int]] = set()  # the beta and steps for which tables were made
        self._mapped: tuple[float, int] | None = None  # the beta and steps of the maps shown
        self._untold = False  # whether a network has learned since it was last drawn
        self._failures: dict[str, list[str]] = {}
        self._dropped: list[tuple[float, float, int]] = []

    def _rebuild(self, change: dict) -> None:
        if change["name"] == "toy_name":
            self.toy = self._own_toy if change["new"] == self._own_toy.name else make_toy(change["new"])
            self.simulation = self.simulation.on(self.toy)
        else:
            self.simulation.estimators.choose(change["new"])
        self._worker.answered = True  # what is under way is of other panels
        self._forget()
        with self.hold_sync():
            self.setup, self.maps, self.chart, self.readout, self.drops = self._setup(), {}, {}, {}, []
            self.paths = {}
            self._worker.start(until=lambda: bool(self.paths))

    def _on_message(self, content: dict) -> None:
        if content.get("type") == "drop":
            self.drop(content["x"], content["y"], round(content["position"]))
        elif content.get("type") == "clear":
            self.clear_drops()

    def _changed(self, change: dict) -> None:
        if change["name"] == "steps":  # the same fraction of the way
            self.position = min(self.position / change["old"], 1.0) * change["new"]
        self._worker.start()

    def _cannot(self, error: Exception) -> None:
        self._say(f"Cannot draw this: {type(error).__name__}: {error}")

    # -- work, in pieces of a few milliseconds ---------------------------------------------------------------------

    def _work(self, settings: Settings) -> Iterator[float | None]:
        simulation = self.simulation
        new = (settings.beta, settings.steps) not in self._tabulated
        if self._seconds.get(new, math.inf) > _SLOW and settings.particles > _FIRST_PARTICLES:
            first = yield from simulation.paths(settings, particles=_FIRST_PARTICLES, coarse=new, hold=_FIRST_HOLD)
            self._show(pack_paths(first, settings, self.toy, "first"), first.failures)
            self._worker.answered = True
            yield _SENDING
        begin = time.perf_counter()
        paths = yield from simulation.paths(settings)
        self._seconds[new] = time.perf_counter() - begin
        self._tabulated.add((settings.beta, settings.steps))
        self._show(pack_paths(paths, settings, self.toy, "full"), paths.failures)
        self._worker.answered = True
        self._draw_drops(settings)
        if self._mapped != (settings.beta, settings.steps):
            yield _HAND_PAUSES if self._mapped else None  # maps of a toy not mapped yet come at once
            yield from self._map(settings)
        yield _HAND_RESTS
        yield from self._measure(paths, settings)
        yield from self._train(settings)

    def _map(self, settings: Settings) -> Iterator[None]:
        maps = yield from self.simulation.maps(settings.beta, settings.steps)
        self._note_failures("maps", maps.failures)
        self.maps = pack_maps(maps, settings.beta)
        yield
        along = yield from self.simulation.along(settings.beta, settings.steps)
        self.chart = pack_chart(along)
        self._mapped = (settings.beta, settings.steps)

    def _measure(self, paths: Paths, settings: Settings) -> Iterator[None]:
        finished = yield from self.simulation.finished(paths, settings.beta)
        with self.hold_sync():
            self.readout = pack_readout(finished)
            self._say("")

    def _train(self, settings: Settings) -> Iterator[None]:
        """Train the networks that are shown here, with a new picture every now and then."""
        shown = time.perf_counter()
        for name in self.simulation.estimators.train():
            self._untold = True
            if time.perf_counter() - shown > _RETRAINED_EVERY:
                self._say(f"{name}: {self.simulation.estimators.progress(name)}")
                yield from self._redraw(settings)
                shown = time.perf_counter()
            yield
        if self._untold:
            yield from self._redraw(settings)

    def _redraw(self, settings: Settings) -> Iterator[None]:
        paths = yield from self.simulation.paths(settings)
        self._show(pack_paths(paths, settings, self.toy, "full"), paths.failures)
        yield from self._map(settings)
        yield from self._measure(paths, settings)
        self._untold = False

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _show(self, packed: dict, failures: list) -> None:
        self._note_failures("paths", failures)
        with self.hold_sync():
            self.paths = packed
            self.readout = {}
            self._say("computing …" if packed["stage"] == "first" else self.status.get("busy", ""))

    def _note_failures(self, source: str, failures: list) -> None:
        self._failures[source] = ["" if failure is None else str(failure) for failure in failures]

    def _say(self, busy: str) -> None:
        notes = [self.simulation.estimators.progress(name) for name in self.simulation.names]
        failures = [next(filter(None, column), "") for column in zip(*self._failures.values(), strict=True)]
        self.status = {"busy": busy, "failures": failures, "notes": notes}

    def _draw_drops(self, settings: Settings) -> None:
        drops = []
        for x, y, start in self._dropped:
            paths = self.simulation.drop((x, y), min(start, settings.steps), settings)
            drops.append({"x": x, "y": y, "start": start, "panels": [p.to(torch.float32).numpy().tobytes() for p in paths]})
        self.drops = drops
