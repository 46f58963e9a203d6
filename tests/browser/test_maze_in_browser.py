"""The maze lab in a real JupyterLab, with a run that ships: mouse, keys, sliders and a drive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jupyter_pages import run_all, stop_kernel, write_notebook
from lengths import slow

ROOT, NOTEBOOK = ".cepkit-maze", "maze_lab"
SCREENS = Path(__file__).parents[2] / "build" / "screens"
CELL = """from cepkit.rl import load_run
from cepkit.rl import MazeLab

MazeLab(load_run("../data/maze-runs/seed-0"), place=(1.0, 0.0), scale=1.0)"""


@pytest.fixture(scope="module")
def page(browser, lab_url):
    write_notebook(lab_url, NOTEBOOK, CELL)
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    run_all(page, lab_url, NOTEBOOK)
    page.locator(f"{ROOT} canvas").first.wait_for(timeout=120_000)
    wait(page, "drawn.state[0] === 1 && drawn.t > 0")
    yield page
    stop_kernel(lab_url, NOTEBOOK)
    context.close()


def drawn(page) -> dict:
    return json.loads(page.locator(ROOT).get_attribute("data-drawn"))


def wait(page, holds, timeout=30_000) -> None:
    """Wait for a frame of which this is true, in JavaScript."""
    read = f"JSON.parse(document.querySelector('{ROOT}')?.dataset.drawn || '{{\"state\": []}}')"
    page.wait_for_function(f"() => {{ const drawn = {read}; return {holds}; }}", timeout=timeout)


def pixels(page) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll('{ROOT} canvas')].map(canvas => canvas.toDataURL())")


def test_five_pictures_stand_beside_each_other_and_say_the_error(page):
    boxes = [canvas.bounding_box() for canvas in page.locator(f"{ROOT} canvas").all()]
    assert len(boxes) == 5 and all(box["width"] > 150 for box in boxes)
    assert "error of the field at t:" in page.locator(f"{ROOT} figcaption").last.inner_text()


def test_a_click_puts_the_ball_there_and_every_picture_follows(page):
    before, box = pixels(page), page.locator(f"{ROOT} canvas").first.bounding_box()
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.28 * box["height"])
    wait(page, "drawn.state[0] < 0 && drawn.state[1] > 0.5")
    for _ in range(50):  # the energies come last
        if all(old != new for old, new in zip(before, pixels(page), strict=True)):
            return
        page.wait_for_timeout(200)
    raise AssertionError([old != new for old, new in zip(before, pixels(page), strict=True)])


def test_arrow_keys_move_it_and_walls_are_refused_in_words(page):
    page.locator(f"{ROOT} canvas").first.focus()
    before = drawn(page)["state"]
    page.keyboard.press("ArrowRight")
    wait(page, f"Math.abs(drawn.state[0] - {before[0] + 0.1}) < 1e-3")
    said = page.locator(f"{ROOT} .cepkit-status")
    for _ in range(60):
        page.keyboard.press("ArrowUp")
        page.wait_for_timeout(100)
        if "wall" in said.inner_text():
            break
    assert "wall" in said.inner_text()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"() => !document.querySelector('{ROOT} .cepkit-status').textContent")


def test_sliders_move_by_keyboard(page):
    page.locator(f"{ROOT} [data-control=t]").focus()
    before = drawn(page)["t"]
    page.keyboard.press("ArrowRight")
    wait(page, f"drawn.t > {before}")
    page.locator(f"{ROOT} [data-control=vx]").focus()
    page.keyboard.press("ArrowLeft")
    wait(page, "drawn.state[2] < 0")


@pytest.mark.slow
def test_a_drive_grows_until_it_is_over_and_a_new_place_clears_it(page):
    page.get_by_role("button", name="rollout").click()
    wait(page, "drawn.steps > 0 && drawn.steps < 300")
    wait(page, "drawn.steps === 300", timeout=180_000)
    assert page.locator(f"{ROOT} .cepkit-returns li").count() == 3
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.locator(ROOT).screenshot(path=SCREENS / "maze.png")
    page.locator(f"{ROOT} canvas").first.focus()
    page.keyboard.press("ArrowDown")
    wait(page, "drawn.steps === 0 && !drawn.rollout")


@pytest.mark.parametrize("width", [700, *slow(1200)])
def test_nothing_is_clipped_on_a_narrower_page(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_timeout(500)
    room = page.locator(ROOT).evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert room[0] <= room[1] + 1
    page.locator(ROOT).screenshot(path=SCREENS / f"maze-{width}.png")
    assert page.errors == []
