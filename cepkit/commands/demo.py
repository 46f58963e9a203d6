"""`cepkit demo`: the story of notebook 00 without a browser, a table and one page with pictures."""

import base64
from pathlib import Path
from typing import Annotated

import jinja2
from matplotlib.figure import Figure
from tyro.conf import Positional, arg

from cepkit import plots
from cepkit.canvas.to_browser import save_page
from cepkit.commands.options import check_replaceable
from cepkit.course.comparison import compare, errors_figure, samples_figure
from cepkit.diffusion.schedules import VPLinear
from cepkit.learning.checkpoints import make_folder, write_atomically
from cepkit.learning.data_source import DataSource
from cepkit.truth.fields import toy_estimators

_TITLE = "Exact against approximate guidance"
_TIME = 0.2  # of the error maps


def demo(
    toy: Annotated[Positional[str], arg(metavar="[TOY]")] = "8gaussians",
    beta: float = 3.0,
    out: Path = Path("build/demo"),
    samples: int = 2000,
) -> None:
    """Compare exact with approximate guidance: print a table, write a self-contained page and its pictures.

    Args:
        toy: a toy's name, or a CSV file whose last column is the energy
        beta: inverse temperature
        out: folder of the page
        samples: samples per estimator
    """
    path = out / "index.html"
    check_replaceable((path, out / "samples.png", out / "errors.png"), _TITLE)
    chosen, schedule = DataSource(toy).toy(), VPLinear()
    comparison = compare(chosen, beta, schedule, n=samples)
    make_folder(out)
    errors = errors_figure(chosen, toy_estimators(chosen, beta, schedule), beta, _TIME, schedule)
    template = Path(__file__).with_name("pages") / "demo.html.j2"
    page = jinja2.Template(template.read_text(encoding="utf-8"), autoescape=True).render(
        title=f"{_TITLE}: {chosen.name}, beta = {beta:g}",
        samples=_png(samples_figure(chosen, comparison, schedule), out / "samples.png"),
        errors=_png(errors, out / "errors.png"),
        t=_TIME,
        table=comparison._repr_html_(),
    )
    save_page(path, page)
    print(*filter(None, (chosen.about, chosen.few_points(beta))), f"{comparison}\n\nPictures: {path}", sep="\n")


def _png(figure: Figure, path: Path) -> str:
    """Save the figure and return the same bytes for embedding in the page."""
    picture = plots.png(figure)
    write_atomically(path, picture)
    return base64.b64encode(picture).decode()
