"""The lab as one self-contained page: the kernel's answers are computed beforehand at several scales and seeds."""

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from jinja2 import Template

from cepkit.canvas.to_browser import joined
from cepkit.lab.packing import pack_maps, pack_numbers, pack_paths
from cepkit.lab.simulation import SampleSettings, Simulation, finish
from cepkit.validation import check_number

_JS = Path(__file__).parent / "js"

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
LARGEST = 4_800_000  # bytes of a page
_EVERY = 2  # of the sampler's times kept
_FEWEST, _MOST = 50, 500  # particles in each panel


def lab_page(simulation: Simulation, settings: SampleSettings, view: dict, scales: Iterable[float], seeds: Iterable[int]) -> str:
    """The text of a page on which scale, seed, time and layers still move; see `GuidanceLab.save_html`.

    Args:
        settings: of the particles; scale and seed are replaced by each of `scales` and `seeds`.
        view: the layers that are switched on, the `setup` of the panels (names, colours, extent), and their `status`.
    """
    scales = sorted({check_number(scale, name="scales") for scale in scales})
    seeds = list(dict.fromkeys(check_number(seed, name="seeds", low=0, integer=True) for seed in seeds))
    if len(scales) < 2:
        raise ValueError(f"scales: expected at least two different ones, got {scales}")
    if not seeds:
        raise ValueError("seeds: expected at least one, got none")
    times = simulation.times(settings.steps).tolist()
    kept = sorted({*range(0, len(times), _EVERY), settings.steps})
    times = [times[k] for k in kept]
    shell = {
        **view,
        "maps": pack_maps(finish(simulation.maps(settings.beta, times)), settings.beta),
        "chart": pack_numbers(finish(simulation.measure_fields(settings.beta, times))),
        "position": len(kept) - 1.0,
        **vars(settings),
        "scale": min(scales, key=lambda scale: abs(scale - settings.scale)),
        "seed": settings.seed if settings.seed in seeds else seeds[0],
        "scales": scales,
        "seeds": seeds,
    }
    panels, text = len(simulation.estimators.names), json.dumps(shell, default=_encoded)
    fits = int((LARGEST - len(text) - 60_000) / (4 / 3 * 4 * panels * len(kept) * len(scales) * len(seeds)))
    if fits < _FEWEST:
        raise ValueError(
            f"scales: expected fewer scales, seeds or panels, got {len(scales)} x {len(seeds)} x {panels}, "
            f"which leaves room for {max(fits, 0)} particles in a page of {LARGEST / 1e6:g} MB"
        )
    shown = min(fits, _MOST)
    each = [[replace(settings, scale=scale, seed=seed) for scale in scales] for seed in seeds]
    shell["runs"] = [[_run(simulation, one, kept, shown) for one in row] for row in each]
    script = joined(_JS, "data.js", "draw.js", "chart.js", "controls.js", "lab.js", "page.js")
    return Template((_JS / "page.html").read_text(encoding="utf-8"), autoescape=True).render(
        title=f"Guidance lab: {simulation.toy.name}, β = {settings.beta:g}",
        style=joined(_JS, "common.css", "lab.css"),
        data=json.dumps(shell, default=_encoded).replace("<", "\\u003c"),
        script=script.replace("export default { render };", ""),
    )


def _run(simulation: Simulation, settings: SampleSettings, kept: list[int], particles: int) -> dict:
    paths = finish(simulation.paths(settings))
    readout = pack_numbers(finish(simulation.measure_samples(paths, settings.beta)))
    shown = paths._replace(times=[paths.times[k] for k in kept], x=paths.x[:, kept, :particles])
    return {"paths": pack_paths(shown, settings, simulation.toy, "full"), "readout": readout}


def _encoded(value: bytes) -> dict:
    """Encode bytes as base64, since JSON has none."""
    return {"base64": base64.b64encode(value).decode()}
