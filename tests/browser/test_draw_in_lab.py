"""The drawing canvas in JupyterLab: painted with the mouse and by keyboard alone, in both themes, wide and narrow."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyter_pages import choose_theme, run_all, stop_kernel, write_notebook
from lengths import slow

SCREENS = Path(__file__).parents[2] / "build" / "screens"
NOTEBOOK = "drawing"
CELL = "from cepkit.lab import DrawingLab\n\nDrawingLab(train_steps=40)"


@pytest.fixture(scope="module", params=["light", *slow("dark")])
def page(browser, lab_url, request):
    choose_theme(lab_url, request.param)
    write_notebook(lab_url, NOTEBOOK, CELL)
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme=request.param)
    page = context.new_page()
    page.theme, page.errors = request.param, []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    run_all(page, lab_url, NOTEBOOK)
    page.locator(".cepkit-draw canvas").wait_for(timeout=120_000)
    page.wait_for_timeout(500)
    yield page
    stop_kernel(lab_url, NOTEBOOK)
    context.close()


@pytest.fixture(autouse=True)
def empty(page):
    button(page, "clear").click()
    brush(page, "spray points")
    wait_for(page, "root.dataset.points === '0'")


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def brush(page, name):
    page.get_by_role("radio", name=name, exact=True).check()


def count(page) -> int:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return int(page.locator(".cepkit-draw").get_attribute("data-points"))


def wait_for(page, condition) -> None:
    page.wait_for_function(f"() => {{ const root = document.querySelector('.cepkit-draw'); return {condition} }}", timeout=20_000)


def colours(page) -> str:
    return page.locator(".cepkit-draw canvas").evaluate("canvas => canvas.toDataURL()")


def at(page, x, y) -> tuple[float, float]:
    """The pixel of a point of x-space."""
    box = page.locator(".cepkit-draw canvas").bounding_box()
    unit = (box["width"] - 32) / (2 * 4.5)
    return box["x"] + 26 + (x + 4.5) * unit, box["y"] + 12 + (4.5 - y) * unit


def drag(page, start, end) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=10)
    page.mouse.up()


def test_the_mouse_sprays_paints_and_erases(page):
    drag(page, (-3, 2), (3, 2))
    sprayed = count(page)
    assert sprayed > 100
    before = colours(page)
    slider = page.get_by_label("brush energy")
    slider.focus()
    slider.press("Home")
    brush(page, "paint energy")
    drag(page, (0, 2), (3, 2))
    page.wait_for_timeout(200)
    assert count(page) == sprayed and colours(page) != before
    brush(page, "erase")
    drag(page, (-3, 2), (0, 2))
    left = count(page)
    assert 0 < left < sprayed
    button(page, "undo").click()
    wait_for(page, f"root.dataset.points === '{sprayed}'")


def test_a_drawing_is_made_by_keyboard_alone(page):
    canvas = page.locator(".cepkit-draw canvas")
    page.get_by_role("radio", name="spray points", exact=True).focus()
    canvas.focus()
    page.keyboard.press("Space")
    first = count(page)
    assert first > 0 and "Space paints" in canvas.get_attribute("aria-label")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    wait_for(page, f"Number(root.dataset.points) > {first}")
    assert "brush at (" in page.locator(".cepkit-draw-count").inner_text()
    page.keyboard.press("u")
    wait_for(page, f"root.dataset.points === '{first}'")
    page.get_by_role("radio", name="spray points", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="paint energy", exact=True).is_checked()


@pytest.mark.parametrize("name", ["brush radius", "points in a dab", "brush energy"])
def test_the_sliders_obey_the_arrow_keys(page, name):
    slider = page.get_by_label(name)
    before = float(slider.input_value())
    slider.focus()
    slider.press("ArrowRight")
    assert float(slider.input_value()) > before
    slider.press("ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(before)


def test_one_click_makes_an_energy_of_all_points(page):
    button(page, "rings").click()
    wait_for(page, "root.dataset.points === '600'")
    seen = [colours(page)]
    button(page, "energy = height").click()
    page.wait_for_timeout(200)
    seen.append(colours(page))
    brush(page, "energy = distance")
    page.mouse.click(*at(page, 2, 0))
    page.mouse.move(0, 0)
    page.wait_for_timeout(200)
    seen.append(colours(page))
    assert len(set(seen)) == 3


@pytest.mark.slow
def test_too_little_is_said_in_words_and_a_drawing_is_guided_and_learned(page):
    button(page, "Guide it").click()
    status = page.locator(".cepkit-draw-status")
    status.get_by_text("expected at least 2, got 0").wait_for(timeout=20_000)
    button(page, "8gaussians").click()
    wait_for(page, "root.dataset.points === '600'")
    assert status.inner_text() == ""
    button(page, "Guide it").click()
    page.locator(".cepkit-lab canvas").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    assert page.locator(".cepkit-lab").count() == 1
    button(page, "Learn it").click()
    page.locator(".cepkit-lab figure").get_by_text("CEP", exact=True).first.wait_for(timeout=90_000)
    page.wait_for_timeout(3000)
    assert page.locator(".cepkit-lab").count() == 1 and page.locator(".jp-RenderedText[data-mime-type*=error]").count() == 0
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.locator(".cepkit-draw").evaluate("root => root.scrollIntoView()")
    page.screenshot(path=SCREENS / f"draw_{page.theme}.png")


@pytest.mark.slow
def test_it_fits_a_narrow_window(page):
    button(page, "moons").click()
    wait_for(page, "root.dataset.points === '600'")
    size = page.viewport_size
    page.set_viewport_size({"width": 700, "height": 1100})
    page.wait_for_timeout(800)
    root = page.locator(".cepkit-draw").bounding_box()
    for element in page.locator(".cepkit-draw :is(canvas, button, input, p)").all():
        box = element.bounding_box()
        assert box is None or box["x"] + box["width"] <= root["x"] + root["width"] + 1
    assert root["x"] + root["width"] <= 700
    page.locator(".cepkit-draw").evaluate("root => root.scrollIntoView()")
    page.screenshot(path=SCREENS / f"draw_{page.theme}_narrow.png")
    page.set_viewport_size(size)


def test_the_page_raises_no_script_error(page):
    assert page.errors == []
