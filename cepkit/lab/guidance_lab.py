"""The guidance lab: the same particles under several estimators, with every field and map, beside the exact truth."""

import itertools
import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path

import traitlets

from cepkit import plots
from cepkit.calling import words_of
from cepkit.canvas.to_browser import colour_tables, joined, pack_binary, save_page
from cepkit.canvas.worker import Worker
from cepkit.diffusion.denoisers import Denoiser
from cepkit.lab.controls import LAYERS, SETTINGS, LabControls
from cepkit.lab.packing import pack_maps, pack_numbers, pack_paths
from cepkit.lab.page import SCALES, lab_page
from cepkit.lab.simulation import FARTHEST, PREVIEW_PARTICLES, TABLE_SIDE, Paths, SampleSettings, Simulation, finish
from cepkit.lab.tabulated import Field
from cepkit.truth.toys import TOYS, Toy, make_toy
from cepkit.validation import check_name, check_number

_JS = Path(__file__).parent / "js"

DEFAULT = ("exact", "mean energy", "DPS", "no guidance")
_COLOURS = ("#882255", "#44AA99", "#999933", "#AA4499")  # of callables that the course has no colour for
_SLOW_SECONDS = 0.11  # for all particles, above which a first, coarser answer goes ahead
_SENDING_SECONDS = 0.015  # in which a first answer leaves; that is another thread's work, and this one would hold it up
_MAPS_DEBOUNCE_SECONDS = 0.2  # without a newer setting before the maps follow
_MEASURES_DEBOUNCE_SECONDS = 0.3  # and before the finished samples are measured
_REDRAW_SECONDS = 1.5  # of training between two pictures of it


class GuidanceLab(LabControls):
    """Panels side by side for the chosen estimators, over the same sliders.

    Every control is a trait, so `lab.scale = 2.0` does what the slider does. In a notebook the work happens between two events,
    and work that has become stale is dropped; `lab.settle()` finishes it now.

    Args:
        toy: a toy or its name; own points come from `cepkit.truth.own_points.from_points`.
        estimators: names of `cepkit.lab.BUILT_IN`, or a mapping from a title to any callable (x_t, t) -> guidance (None: the
            built-in of that name). "CEP", "MSE" and "exp-MSE" are trained on the spot, at the `beta` given here.
        denoiser: what every panel samples with; the toy's exact one when absent.
        scale, beta, steps, method, particles, seed: where the controls start, see `cepkit.lab.SampleSettings`.
        train_steps: optimiser steps of a network trained here.

    Raises:
        ValueError: an unknown name, a toy that is not two-dimensional, or a setting out of range.
    """

    _esm = joined(_JS, "data.js", "draw.js", "chart.js", "controls.js", "lab.js")
    _css = joined(_JS, "common.css", "lab.css")

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
        scale: float = 1.0,
        beta: float = 3.0,
        steps: int = 25,
        method: str = "dpmpp2m",
        particles: int = 2000,
        seed: int = 0,
        train_steps: int = 1000,
    ) -> None:
        settings = SampleSettings(scale, beta, steps, method, particles, seed)
        self.toy = self._first_toy = make_toy(toy) if isinstance(toy, str) else toy
        self.simulation = Simulation(self.toy, estimators, denoiser=denoiser, beta=settings.beta, train_steps=train_steps)
        self._toys = (self.toy.name,) if denoiser else tuple(dict.fromkeys((*TOYS, self.toy.name)))
        self._worker = Worker(lambda: self._work(self.settings), self._show_error)
        self._reset()
        view = {"setup": self._setup(), "toy_name": self.toy.name, "panels": list(self.simulation.estimators.names)}
        super().__init__(position=float(settings.steps), **view, **vars(settings))
        self._listen(self._on_message)
        self._follow(self._on_setting, *SETTINGS)
        self._follow(self._rebuild, "toy_name", "panels")
        self._worker.start(until=lambda: bool(self.paths))  # something to look at before the first event

    def drop(self, x: float, y: float, t_index: int = 0) -> None:
        """Put a particle down at (x, y) at the sampler's time of this index and show its path under every estimator.

        Raises:
            ValueError: numbers that are not finite, or farther out than particles are followed.
        """
        place = [check_number(value, name=name, low=-FARTHEST, high=FARTHEST) for name, value in (("x", x), ("y", y))]
        self._dropped.append((place, max(check_number(t_index, name="t_index", integer=True), 0)))
        finish(self._draw_drops(self.settings))

    def clear_drops(self) -> None:
        """Take all dropped particles away."""
        self._dropped = []
        self.drops = []

    def save_html(self, path: str | Path, *, scales: Iterable[float] = SCALES, seeds: Iterable[int] = (0, 1, 2)) -> Path:
        """Write the lab at the present beta, steps and sampler as one file that needs neither Python nor a network.

        Scale, seed, t and all layers still move there. The particles are computed at these scales and seeds; between two
        scales they are interpolated, which the page says.

        Args:
            path: of the file, such as "build/lab.html"; a folder that does not exist is made.
            scales: guidance scales to compute, at least two.
            seeds: of the noise.

        Returns:
            The path.

        Raises:
            ValueError: fewer than two scales, no seed, or more of them than fit into a page of `page.LARGEST` bytes.
            OSError: as `cepkit.canvas.to_browser.save_page`.
        """
        self.settle()
        view = {name: getattr(self, name) for name in (*LAYERS, "setup")} | {"status": {**self.status, "busy": ""}}
        text = lab_page(self.simulation, self.settings, view, scales, seeds)
        return save_page(path, text)

    # -- controls --------------------------------------------------------------------------------------------------

    @traitlets.validate("toy_name")
    def _check_toy(self, proposal: dict) -> str:
        return check_name(proposal["value"], self._toys, name="toy_name")

    @traitlets.validate("panels")
    def _check_panels(self, proposal: dict) -> list[str]:
        known = self.simulation.estimators.given
        for panel in proposal["value"]:
            check_name(panel, known, name="panels")
        return [panel for panel in known if panel in proposal["value"]] or list(self.simulation.estimators.names)

    def _setup(self) -> dict:
        known, names = self.simulation.estimators.given, self.simulation.estimators.names
        spare = itertools.cycle(_COLOURS)
        colours = {name: plots.ESTIMATOR_COLOURS.get(name) or next(spare) for name in known}
        return {
            "toy": self.toy.name,
            "names": list(names),
            "colours": [colours[name] for name in names],
            "centre": list(self.toy.centre),
            "extent": self.toy.extent,
            "luts": colour_tables(),
            "toys": list(self._toys),
            "known": list(known),
            "units": {"mean": self.toy.scaling.mean, "std": self.toy.scaling.std} if self.toy.scaling else None,
            "note": f"{self.toy.name}: sums over the data are looked up in tables of {TABLE_SIDE} × {TABLE_SIDE} points."
            + (f" {self.toy.about}." if self.toy.about else ""),
        }

    def _reset(self) -> None:
        """Forget what belongs to another toy or other panels."""
        self._seconds: dict[bool, float] = {}  # that all particles took last time, where tables had to be made and where not
        self._tabulated: set[tuple[float, int]] = set()  # the beta and steps for which tables were made
        self._mapped: tuple[float, int] | None = None  # the beta and steps of the maps shown, unless these are stale
        self._failures: dict[str, list[str]] = {}
        self._dropped: list[tuple[list[float], int]] = []  # places, and the index of the time

    def _rebuild(self, change: dict) -> None:
        if change["name"] == "toy_name":
            self.toy = self._first_toy if change["new"] == self._first_toy.name else make_toy(change["new"])
            self.simulation = self.simulation.on(self.toy)
        else:
            self.simulation.estimators.choose(change["new"])
        self._worker.idle = True  # the present work is of other panels
        self._reset()
        with self.hold_sync():
            self.setup, self.maps, self.chart, self.readout, self.drops = self._setup(), {}, {}, {}, []
            self.paths = {}
            self._worker.start(until=lambda: bool(self.paths))

    def _on_message(self, content: object) -> None:
        try:
            match content:
                case {"type": "drop", "x": x, "y": y, "position": position}:
                    self.drop(x, y, round(check_number(position, name="position")))
                case {"type": "clear"}:
                    self.clear_drops()
        except ValueError as error:
            self._set_status(str(error))

    def _on_setting(self, change: dict) -> None:
        if change["name"] == "steps":  # the same fraction of the way
            self.position = min(self.position / change["old"], 1.0) * change["new"]
        self._worker.start()

    # -- work, in pieces of a few milliseconds ---------------------------------------------------------------------

    def _work(self, settings: SampleSettings) -> Iterator[float | None]:
        key, trained = (settings.beta, settings.steps), False
        new = key not in self._tabulated
        if self._seconds.get(new, math.inf) > _SLOW_SECONDS and settings.particles > PREVIEW_PARTICLES:
            preview = yield from self.simulation.paths(settings, preview=True, coarse=new)
            self._show(preview, settings, "first")
            yield _SENDING_SECONDS
        while True:
            begin = time.perf_counter()
            paths = yield from self.simulation.paths(settings)
            self._seconds[key not in self._tabulated] = time.perf_counter() - begin
            self._tabulated.add(key)
            self._show(paths, settings, "full")
            yield from self._draw_drops(settings)
            if self._mapped != key:
                yield _MAPS_DEBOUNCE_SECONDS if self._mapped else None  # where there are no maps yet they come at once
                yield from self._map(settings)
            yield None if trained else _MEASURES_DEBOUNCE_SECONDS
            measures = yield from self.simulation.measure_samples(paths, settings.beta)
            with self.hold_sync():
                self.readout = pack_numbers(measures)
                self._set_status(self.toy.few_points(settings.beta))
            trained = yield from self._train()
            if not trained:
                return

    def _map(self, settings: SampleSettings) -> Iterator[None]:
        times = self.simulation.times(settings.steps).tolist()
        maps = yield from self.simulation.maps(settings.beta, times)
        self._failures["maps"] = maps.failures
        self.maps = pack_maps(maps, settings.beta)
        yield
        self.chart = pack_numbers((yield from self.simulation.measure_fields(settings.beta, times)))
        self._mapped = (settings.beta, settings.steps)

    def _train(self) -> Generator[None, None, bool]:
        """Train the networks shown here until the next picture is due; False when none is left to train."""
        begin, trained = time.perf_counter(), False
        for name in self.simulation.estimators.train():
            trained, self._mapped = True, None
            if time.perf_counter() - begin > _REDRAW_SECONDS:
                self._set_status(f"{name}: {self.simulation.estimators.progress(name)}")
                break
            yield
        return trained

    def _draw_drops(self, settings: SampleSettings) -> Iterator[None]:
        """The paths of the dropped particles; those dropped at one time are sampled together."""
        dropped, groups = self._dropped.copy(), {}
        for place, index in dropped:
            groups.setdefault(min(index, settings.steps), []).append(place)
        drops = []
        for start, places in groups.items():
            paths = yield from self.simulation.drop(places, start, settings)
            drops += [{"panels": [pack_binary(path, "<f4") for path in paths[:, :, k]]} for k in range(len(places))]
        if dropped == self._dropped:  # none was added or taken away meanwhile
            self.drops = drops

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _show(self, paths: Paths, settings: SampleSettings, stage: str) -> None:
        self._failures["paths"] = paths.failures
        with self.hold_sync():
            self.paths = pack_paths(paths, settings, self.toy, stage)
            self.readout = {}
            self._set_status("computing …" if stage == "first" else self.status.get("busy", ""))
        self._worker.idle = True

    def _set_status(self, busy: str) -> None:
        notes = [self.simulation.estimators.progress(name) for name in self.simulation.estimators.names]
        failures = [next(filter(None, column), "") for column in zip(*self._failures.values(), strict=True)]
        self.status = {"busy": busy, "failures": failures, "notes": notes}

    def _show_error(self, error: Exception) -> None:
        self._set_status(f"Cannot draw this: {words_of(error)}")
