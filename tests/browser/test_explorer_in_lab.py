"""Notebook 00 in JupyterLab: the picture appears, the sliders move it by keyboard, and it fits the page."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

import pytest
from lab import run_all

pytestmark = pytest.mark.xdist_group("browser")
SCREENS = Path(__file__).parents[2] / "build" / "screens"
INK = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < data.length; i += 400) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  return colours.size;
}"""


def frames(page) -> int:
    return int(page.locator(".cepkit-canvas").first.get_attribute("data-frames") or 0)


def wait_for_new_frame(page, before: int) -> None:
    page.wait_for_function("n => Number(document.querySelector('.cepkit-canvas').dataset.frames) > n", arg=before, timeout=20_000)


def choose_theme(url, theme) -> None:
    body = json.dumps({"raw": json.dumps({"theme": theme})}).encode()
    request = urllib.request.Request(f"{url}/lab/api/settings/@jupyterlab/apputils-extension:themes", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="module", params=["light", "dark"])
def page(browser, lab_url, request):
    choose_theme(lab_url, "JupyterLab Dark" if request.param == "dark" else "JupyterLab Light")
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme=request.param)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    run_all(page, lab_url, "00_start_here")
    page.locator(".cepkit-canvas").first.wait_for(state="attached", timeout=120_000)
    for _ in range(90):  # while cells run, the notebook follows them and scrolls the canvas away
        page.locator(".cepkit-canvas").first.evaluate("root => root.scrollIntoView()")
        page.wait_for_timeout(1000)
        if page.locator(".cepkit-canvas canvas").count() and frames(page):
            break
    wait_for_new_frame(page, 0)
    page.theme = request.param
    yield page
    context.close()


def test_two_panels_are_drawn_side_by_side_with_captions(page):
    canvases = page.locator(".cepkit-canvas canvas")
    assert canvases.count() == 2
    assert all(canvas.evaluate(INK) > 50 for canvas in canvases.all())
    boxes = [canvas.bounding_box() for canvas in canvases.all()]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=2)
    assert all(box["width"] > 250 and box["width"] == pytest.approx(box["height"], abs=2) for box in boxes)
    assert "field error" in page.locator(".cepkit-canvas figcaption").first.inner_text()
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.locator(".cepkit-canvas").first.scroll_into_view_if_needed()
    page.screenshot(path=SCREENS / f"00_start_here_{page.theme}.png")


@pytest.mark.parametrize(("name", "key"), [("scale s", "ArrowRight"), ("beta", "ArrowLeft"), ("time t", "ArrowLeft")])
def test_each_slider_moves_the_picture_by_keyboard(page, name, key):
    handle = page.locator(".widget-hslider", has=page.get_by_text(name, exact=True)).locator(".noUi-handle")
    before, pixels = frames(page), page.locator(".cepkit-canvas canvas").nth(1).evaluate("c => c.toDataURL()")
    handle.focus()
    for _ in range(4):
        page.keyboard.press(key)
    wait_for_new_frame(page, before)
    page.wait_for_function(
        "old => document.querySelectorAll('.cepkit-canvas canvas')[1].toDataURL() !== old", arg=pixels, timeout=20_000
    )


def test_panels_stack_in_a_narrow_window_without_being_clipped(page):
    size = page.viewport_size
    page.set_viewport_size({"width": 700, "height": 1000})
    page.wait_for_timeout(800)
    root = page.locator(".cepkit-canvas").first.bounding_box()
    for canvas in page.locator(".cepkit-canvas canvas").all():
        box = canvas.bounding_box()
        assert box["x"] + box["width"] <= root["x"] + root["width"] + 1
    page.screenshot(path=SCREENS / f"00_start_here_{page.theme}_narrow.png")
    page.set_viewport_size(size)


def test_the_page_raises_no_script_error(page):
    assert page.errors == []
    assert os.path.getsize(SCREENS / f"00_start_here_{page.theme}.png") > 20_000
