"""The report: text, HTML that needs nothing else, pictures from its arrays."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from checks import toy_named
from matplotlib.figure import Figure

from cepkit.debugger import SEVERITIES, FieldDebugger, Finding
from cepkit.debugger.pictures import PICTURES
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.fields import ExactDenoiser, ExactGuidance

TOY = toy_named("8gaussians")


@pytest.fixture(scope="module")
def report():
    schedule = VPLinear()
    exact = ExactGuidance(TOY.truth, 3.0, schedule)
    return FieldDebugger(
        score=ExactDenoiser(TOY.truth, schedule),
        guidance=lambda x, t: -exact(x, t),
        energy=exact.energy,
        domain=TOY.extent,
        truth=TOY.truth,
        beta=3.0,
        particles=128,
        times=(0.05, 0.3, 0.8),
    ).run()


def test_findings_come_worst_first_and_can_be_looked_up(report):
    ranks = [item.rank for item in report.findings]
    assert ranks == sorted(ranks, reverse=True) and report.worst == "error"
    assert report.finding("energy-gradient") in report.findings
    assert all(isinstance(item, Finding) and item.severity in SEVERITIES for item in report.findings)
    with pytest.raises(AttributeError):
        report.findings[0].severity = "ok"  # frozen
    with pytest.raises(ValueError, match="severity: expected one of"):
        Finding("curl", "bad", "")
    with pytest.raises(ValueError, match="check: expected one of .*curl"):
        report.finding("twist")


def test_it_prints_as_text(report):
    text = str(report)
    assert text.splitlines()[0].startswith("Field debugger: 2 errors")
    assert "ERROR  energy-gradient" in text and "sign flip" in text and "multiply by -1" in text


def test_a_saved_page_stands_alone(report, tmp_path):
    page = report.save(tmp_path / "build" / "new" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r"(src|href)=.(?!data:)", page) and "url(" not in page and "http" not in page
    assert page.count("data:image/png;base64,") == len([p for p in PICTURES.values() if p.needs in report.arrays])
    assert page.index("<table") < page.index("<figure") and "light dark" in page
    assert report.finding("energy-gradient").place in page

    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_words_of_a_callable_are_escaped(tmp_path):
    def broken(x, t):
        raise RuntimeError("<b>no</b> \ud800")  # and half a character, which no encoding can write

    found = FieldDebugger(guidance=broken, schedule=VPLinear(), domain=4.0, times=(0.5,), particles=16).run()
    for page in (found._repr_html_(), found.save(tmp_path / "report.html").read_text(encoding="utf-8")):
        assert "<b>" not in page and "&lt;b&gt;no" in page


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_draws_on_the_axes_it_is_given_and_returns_it(report, name):
    assert PICTURES[name].needs in report.arrays
    ax = Figure().add_subplot()
    assert PICTURES[name].draw(ax, report.arrays) is ax
    assert ax.has_data() and (ax.get_xlabel() and ax.get_ylabel())


def test_the_arrays_behind_the_pictures_are_what_they_say(report):
    arrays, times = report.arrays, (0.05, 0.3, 0.8)
    assert tuple(arrays["times"]) == times
    side = arrays["grid"].shape[0]
    assert arrays["guidance"].shape == arrays["score"].shape == (3, side, side, 2)
    assert arrays["error_map"].shape == arrays["log_ratio_map"].shape == (side, side) and float(arrays["error_map_time"]) in times
    assert arrays["grid"][0, 0].tolist() == [-TOY.extent, -TOY.extent]
    assert np.allclose(arrays["guidance_factor"], -1, atol=1e-3) and np.allclose(arrays["guidance_error"], 2, atol=1e-3)
    import torch

    exact = TOY.truth.guidance(torch.tensor(arrays["grid"]), 0.3, 3.0, VPLinear()).numpy()
    assert np.allclose(arrays["guidance"][1], -exact, atol=1e-3)
    assert arrays["paths"].shape[0] == len(arrays["path_times"]) == 26 and arrays["path_times"][0] == 1.0
