"""Notebook 04 in JupyterLab: the progress bar moves and the curve of the guidance error is redrawn while it trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyter_pages import run_all, stop_kernel

pytestmark = pytest.mark.slow
SCREEN = Path(__file__).parents[2] / "build" / "screens" / "04_training.png"
NOTEBOOK = "04_contrastive_energy_prediction"
BAR = ".jp-OutputArea progress"
PICTURE = ".jp-OutputArea-output:has(progress) + .jp-OutputArea-output img, .jp-OutputArea:has(progress) img"


@pytest.fixture
def page(browser, lab_url):
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    yield page
    stop_kernel(lab_url, NOTEBOOK)
    context.close()


def test_training_is_seen_while_it_happens(page, lab_url):
    run_all(page, lab_url, NOTEBOOK)
    picture = page.locator(PICTURE).first
    picture.wait_for(state="attached", timeout=120_000)
    seen = picture.get_attribute("src")
    page.wait_for_function("([q, old]) => document.querySelector(q).src !== old", arg=[PICTURE, seen], timeout=60_000)
    page.wait_for_function("q => Number(document.querySelector(q).value) > 0", arg=BAR, timeout=60_000)
    SCREEN.parent.mkdir(parents=True, exist_ok=True)
    picture.scroll_into_view_if_needed()
    page.screenshot(path=SCREEN)
    assert "mean guidance error" in page.locator(".jp-OutputArea-output:has(progress)").first.inner_text()
