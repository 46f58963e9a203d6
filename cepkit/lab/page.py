"""The lab as one self-contained page: what Python would compute is computed beforehand on a grid of scales and seeds."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cepkit.canvas.scripts import script, style
from cepkit.lab.controls import METHOD_LABELS
from cepkit.lab.packing import pack_chart, pack_maps, pack_paths, pack_readout
from cepkit.validation import check_number

_JS = Path(__file__).parent / "js"

if TYPE_CHECKING:
    from cepkit.lab.guidance_lab import GuidanceLab

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
LARGEST = 4_800_000  # bytes of a page
_EVERY = 2  # of the sampler's times kept
_FEWEST, _MOST = 50, 500  # particles in each panel
_VIEW = (
    "position", "heat", "field", "streamlines", "show_particles", "trajectories", "contours", "locked", "show_chart",
)  # fmt: skip

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5em auto; padding: 0 1em; max-width: 1500px }}
h1 {{ font-size: 1.3em }}
{style}
</style></head><body>
<h1>{title}</h1>
<p>The same denoiser and the same noise, one panel for each guidance. Only scale 1 of the exact guidance samples the target
p<sub>0</sub>(x) ∝ q<sub>0</sub>(x) exp(−βE(x)). Move the scale, the seed and the time; point at a panel to read the vectors;
click to follow a particle; the space bar plays.</p>
<div id="lab"></div>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}
</script>
</body></html>
"""


def lab_page(lab: GuidanceLab, scales: tuple[float, ...], seeds: tuple[int, ...]) -> str:
    """The text of the page; see `GuidanceLab.save_html`."""
    scales = tuple(sorted({check_number(scale, name="scales") for scale in scales}))
    seeds = tuple(dict.fromkeys(check_number(seed, name="seeds", low=0, integer=True) for seed in seeds))
    if len(scales) < 2:
        raise ValueError(f"scales: expected at least two different ones, got {list(scales)}")
    if not seeds:
        raise ValueError("seeds: expected at least one, got none")
    lab.settle()
    simulation, settings = lab.simulation, lab.settings
    maps = _drain(simulation.maps(settings.beta, settings.steps))
    along = pack_chart(_drain(simulation.along(settings.beta, settings.steps)))
    packed_maps = pack_maps(maps, settings.beta, every=_EVERY)
    kept = [maps.times.index(t) for t in packed_maps["times"]]
    chart = {"times": packed_maps["times"], "score": [along["score"][k] for k in kept]}
    chart |= {key: [[row[k] for k in kept] for row in along[key]] for key in ("guidance", "errors")}
    shell = {
        "setup": _setup(lab, scales, seeds),
        "maps": packed_maps,
        "chart": chart,
        "status": {**lab.status, "busy": ""},
        **{name: getattr(lab, name) for name in _VIEW},
        "position": len(kept) - 1.0,
        "beta": settings.beta,
        "scale": min(scales, key=lambda scale: abs(scale - settings.scale)),
        "seed": settings.seed if settings.seed in seeds else seeds[0],
        "scales": list(scales),
        "seeds": list(seeds),
    }
    text = json.dumps(shell, default=_encoded)
    each = 4 / 3 * 4 * len(simulation.names) * len(kept) * len(scales) * len(seeds)
    fits = int((LARGEST - len(text) - 60_000) / each)
    if fits < _FEWEST:
        raise ValueError(
            f"scales: expected fewer scales, seeds or panels, got {len(scales)} x {len(seeds)} x {len(simulation.names)}, "
            f"which leaves room for {max(fits, 0)} particles in a page of {LARGEST / 1e6:g} MB"
        )
    shell["runs"] = [
        [_run(lab, replace(settings, scale=scale, seed=seed), min(fits, _MOST, settings.particles)) for scale in scales]
        for seed in seeds
    ]
    return _PAGE.format(
        title=html.escape(f"Guidance lab: {lab.toy.name}, β = {settings.beta:g}"),
        style=style(_JS, "common", "lab"),
        data=json.dumps(shell, default=_encoded).replace("<", "\\u003c"),
        script=script(_JS, "data", "draw", "chart", "controls", "lab", "page").replace("export default { render };", ""),
    )


def _setup(lab: GuidanceLab, scales: tuple[float, ...], seeds: tuple[int, ...]) -> dict:
    controls = [
        {"name": "scale", "label": "scale s", "kind": "range", "min": scales[0], "max": scales[-1], "step": 0.05},
        {"name": "seed", "label": "seed", "kind": "select", "options": [{"value": seed, "label": str(seed)} for seed in seeds]},
    ]
    computed = ", ".join(f"{scale:g}" for scale in scales)
    sampler = f"{METHOD_LABELS[lab.method]}, {lab.steps} steps"
    note = f"Computed beforehand with {sampler}, at s = {computed}; between two of them particles are interpolated."
    return {**lab.setup, "controls": controls, "note": note}


def _run(lab: GuidanceLab, settings, particles: int) -> dict:
    paths = _drain(lab.simulation.paths(settings))
    readout = pack_readout(_drain(lab.simulation.finished(paths, settings.beta)))
    shown = paths._replace(x=paths.x[:, :, :particles])
    return {"paths": pack_paths(shown, settings, lab.toy, "full", every=_EVERY), "readout": readout}


def _drain(work: Generator) -> object:
    """What the work returns, done in one go."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


def _encoded(value: object) -> dict:
    """Bytes as base64; JSON has none."""
    if not isinstance(value, bytes):
        raise TypeError(f"cannot write {type(value).__name__} to a page")
    return {"base64": base64.b64encode(value).decode()}
