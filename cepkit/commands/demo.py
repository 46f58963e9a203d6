"""The story of notebook 00 without a browser: a table, and one page with the pictures."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from matplotlib.figure import Figure

from cepkit.course.comparison import Comparison, compare, errors_figure, samples_figure
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.fields import toy_estimators
from cepkit.truth.toys import Toy

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em }}
html {{ color: #222; background: #fff }}
img {{ max-width: 100% }} table {{ border-collapse: collapse; font-size: 14px }} caption {{ text-align: left; font-weight: 600 }}
td, th {{ padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
<p>Energy guidance should turn the data q<sub>0</sub> into p<sub>0</sub> ∝ q<sub>0</sub> exp(−βE). Every estimator below gets
the perfect denoiser; what differs is the guidance. Heat: the exact target. Dots: what each estimator samples.</p>
<img alt="Samples of each estimator over the exact target" src="data:image/png;base64,{samples}">
<p>Where each guidance field is wrong at t = {t:g}, relative to the exact field's typical size:</p>
<img alt="Maps of the relative error of each guidance field" src="data:image/png;base64,{errors}">
{table}
<p>Field error 0 is exact and 1 is as bad as no guidance. An estimator below "two exact sets" cannot be told from exact with
so few samples.</p>
</body></html>
"""


def run_demo(toy: Toy, beta: float, out: Path, *, t: float = 0.2, n: int = 2000) -> tuple[Comparison, Path]:
    """Compare all estimators on a toy and write `out`/index.html, one self-contained page, and its pictures as PNG beside it."""
    schedule = VPLinear()
    comparison = compare(toy, beta, schedule, n=n)
    out.mkdir(parents=True, exist_ok=True)
    samples = _png(samples_figure(toy, comparison, schedule), out / "samples.png")
    errors = _png(errors_figure(toy, toy_estimators(toy, beta, schedule), beta, t, schedule), out / "errors.png")
    page = _PAGE.format(
        title=html.escape(f"Exact against approximate guidance: {toy.name}, beta = {beta:g}"),
        samples=samples,
        errors=errors,
        t=t,
        table=comparison._repr_html_(),
    )
    path = out / "index.html"
    path.write_text(page, encoding="utf-8")
    return comparison, path


def _png(figure: Figure, path: Path) -> str:
    """Save the figure and return the same bytes for embedding in the page."""
    figure.savefig(path, dpi=110, facecolor="white")
    return base64.b64encode(path.read_bytes()).decode()
