"""The guidance lab in a real JupyterLab: what a person does with mouse and keyboard, in both themes and three widths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from jupyter_pages import choose_theme, run_all, stop_kernel, write_notebook
from lab_pages import ROOT, control, drawn, wait_until_drawn, wait_until_measured
from lengths import slow

from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.toys import make_toy

SCREENS = Path(__file__).parents[2] / "build" / "screens"
PIXELS = f"() => [...document.querySelectorAll('{ROOT} figure canvas')].map(canvas => canvas.toDataURL()).join()"
CELL = """from cepkit.lab import GuidanceLab

GuidanceLab("8gaussians")"""


@pytest.fixture(scope="module", params=["light", *slow("dark")])
def page(browser, lab_url, request):
    choose_theme(lab_url, request.param)
    name = f"lab_{request.param}"
    write_notebook(lab_url, name, CELL)
    context = browser.new_context(viewport={"width": 1500, "height": 1100}, color_scheme=request.param)
    page = context.new_page()
    page.errors, page.theme = [], request.param
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    run_all(page, lab_url, name)
    page.locator(f"{ROOT} canvas").first.wait_for(timeout=120_000)
    wait_until_drawn(page, stage="full")
    wait_until_measured(page)
    yield page
    stop_kernel(lab_url, name)
    context.close()


def test_four_panels_are_drawn_side_by_side_and_measured(page):
    boxes = [canvas.bounding_box() for canvas in page.locator(f"{ROOT} figure canvas").all()]
    assert len(boxes) == 4 and all(box["y"] == pytest.approx(boxes[0]["y"], abs=2) for box in boxes)
    assert all(box["width"] > 200 and box["width"] == pytest.approx(box["height"], abs=2) for box in boxes)
    words = page.locator(f"{ROOT} .cepkit-words").all_inner_texts()
    assert "field error at t: 0 %" in words[0] and all("mode masses off by" in text for text in words)


@pytest.mark.parametrize("name", ["scale", "position", *slow("beta", "steps")])
def test_sliders_move_by_keyboard(page, name):
    control(page, name).focus()
    before = drawn(page)[name]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"old => JSON.parse(document.querySelector('{ROOT}').dataset.drawn).{name} < old", arg=before)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    wait_until_drawn(page, **{name: before, "stage": "full"})


def test_everything_is_reached_by_tab(page):
    control(page, "toy_name").focus()
    reached = set()
    for _ in range(40):
        reached.add(page.evaluate("document.activeElement.dataset.control || document.activeElement.tagName"))
        page.keyboard.press("Tab")
    assert {"toy_name", "scale", "beta", "steps", "method", "particles", "seed", "position", "heat", "locked"} <= reached
    assert {"SUMMARY", "BUTTON", "CANVAS"} <= reached


def test_the_space_bar_plays_and_stops(page):
    control(page, "position").focus()
    page.keyboard.press(" ")
    page.wait_for_function(f"() => JSON.parse(document.querySelector('{ROOT}').dataset.drawn).position > 3", timeout=20_000)
    page.keyboard.press(" ")
    page.wait_for_timeout(200)
    place = drawn(page)["position"]
    page.wait_for_timeout(300)
    assert drawn(page)["position"] == place and page.locator(f"{ROOT} .cepkit-play").inner_text() == "▶ play"


def test_the_vectors_at_the_pointer_are_the_truth(page):
    """Read off the caption and compared with the closed form, up to the coarseness of the arrow grid."""
    control(page, "position").evaluate("input => { input.value = 11; input.dispatchEvent(new Event('input')); }")
    wait_until_drawn(page, position=11)
    canvas = page.locator(f"{ROOT} figure canvas").first
    box = canvas.bounding_box()
    canvas.hover(position={"x": 0.7 * box["width"], "y": 0.4 * box["height"]})
    page.wait_for_function("() => document.querySelector('.cepkit-vectors').textContent.includes('score')")
    text = page.locator(f"{ROOT} .cepkit-vectors").first.inner_text().replace("−", "-")
    x, score, guidance = (torch.tensor([float(v) for v in pair], dtype=torch.float64) for pair in
                          re.findall(r"\((-?[\d.e-]+), (-?[\d.e-]+)\)", text))  # fmt: skip
    toy, schedule, t = make_toy("8gaussians"), VPLinear(), 0.4201
    torch.testing.assert_close(score, toy.truth.score(x, t, schedule), rtol=0.05, atol=0.05)
    torch.testing.assert_close(guidance, toy.truth.guidance(x, t, 3.0, schedule), rtol=0.05, atol=0.05)


def test_a_click_or_enter_drops_a_particle_and_escape_takes_it_away(page):
    canvas = page.locator(f"{ROOT} figure canvas").nth(1)
    canvas.click(position={"x": 120, "y": 90})
    wait_until_drawn(page, drops=1)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_until_drawn(page, drops=2)
    page.screenshot(path=SCREENS / f"lab_{page.theme}_dropped.png")
    page.keyboard.press("Escape")
    wait_until_drawn(page, drops=0)


def steady_pixels(page) -> str:
    """The pictures with no pointer over them, once two looks in a row see the same."""
    page.mouse.move(2, 2)
    before = page.evaluate(PIXELS)
    for _ in range(100):
        page.wait_for_timeout(300)
        now = page.evaluate(PIXELS)
        if now == before:
            break
        before = now
    return before


INK = """() => { const canvas = document.querySelector('figure canvas'), counts = {};
  const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  for (const one of pixels) counts[one] = (counts[one] || 0) + 1;
  return 1 - Math.max(...Object.values(counts)) / pixels.length; }"""


def test_arrows_of_a_force_without_effect_are_short(page):
    """At t = 1 the guidance is about a hundredth of the score; with a scale of its own it would fill the picture."""
    control(page, "heat").select_option(label="none")
    control(page, "field").select_option(label="s × guidance")
    control(page, "show_particles").click()
    control(page, "position").evaluate("input => { input.value = 0; input.dispatchEvent(new Event('input')); }")
    wait_until_drawn(page, position=0)
    beside_the_score, before = page.evaluate(INK), steady_pixels(page)
    control(page, "locked").click()
    page.wait_for_function(f"old => ({PIXELS})() !== old", arg=before)
    assert beside_the_score < 0.75 * page.evaluate(INK)


@pytest.mark.parametrize("name", ["show_particles", *slow("trajectories", "contours", "streamlines", "locked")])
def test_layers_switched_on_and_off_change_the_picture(page, name):
    control(page, "heat").select_option(label="intermediate energy")
    before = steady_pixels(page)
    control(page, name).click()
    page.wait_for_function(f"old => ({PIXELS})() !== old", arg=before)
    control(page, name).click()
    page.wait_for_function(f"old => ({PIXELS})() === old", arg=before)


@pytest.mark.slow
def test_every_heat_and_field_looks_different(page):
    for name in ("heat", "field"):
        pictures = set()
        for option in control(page, name).locator("option").all():
            control(page, name).select_option(label=option.inner_text())
            pictures.add(steady_pixels(page))
        assert len(pictures) == control(page, name).locator("option").count()


@pytest.mark.parametrize("width", [700, *slow(1500, 1200)])
def test_nothing_is_clipped_at_any_width(page, width):
    SCREENS.mkdir(parents=True, exist_ok=True)
    control(page, "heat").select_option(label="target density p_t")
    control(page, "field").select_option(label="s × guidance")
    page.set_viewport_size({"width": width, "height": 1100})
    page.wait_for_timeout(800)
    root = page.locator(ROOT).first.bounding_box()
    for part in page.locator(f"{ROOT} :is(canvas, input, select, button)").all():
        box = part.bounding_box()
        if box is not None:
            assert box["x"] >= root["x"] - 1 and box["x"] + box["width"] <= root["x"] + root["width"] + 1
    page.locator(ROOT).first.scroll_into_view_if_needed()
    page.screenshot(path=SCREENS / f"lab_{page.theme}_{width}.png")
    page.set_viewport_size({"width": 1500, "height": 1100})


@pytest.mark.slow
def test_toy_and_panels_are_chosen_by_hand(page):
    control(page, "toy_name").select_option("moons")
    wait_until_drawn(page, toy="moons", stage="full")
    page.locator(f"{ROOT} summary").click()
    page.locator(f"{ROOT} .cepkit-many input[value=DPS]").uncheck()
    wait_until_drawn(page, panels=["exact", "mean energy", "no guidance"])
    assert page.locator(f"{ROOT} figure").count() == 3


def test_the_page_raises_no_script_error(page):
    assert page.errors == []


def test_a_field_that_fails_is_named_and_the_slider_still_works(browser, lab_url):
    cell = """from cepkit.lab import GuidanceLab

def mine(x_t, t):
    raise RuntimeError("weights not loaded")

GuidanceLab("moons", {"mine": mine, "exact": None})"""
    write_notebook(lab_url, "lab_fails", cell)
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    run_all(page, lab_url, "lab_fails")
    page.locator(f"{ROOT} canvas").first.wait_for(timeout=120_000)
    wait_until_measured(page)
    assert page.locator(f"{ROOT} .cepkit-failure").all_inner_texts() == [
        "mine at t = 1: raised RuntimeError: weights not loaded",
        "",
    ]
    control(page, "scale").focus()
    page.keyboard.press("ArrowRight")
    wait_until_drawn(page, scale=1.05, stage="full")
    stop_kernel(lab_url, "lab_fails")
    context.close()
