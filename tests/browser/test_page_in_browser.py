"""The saved page, opened from disk without a network: everything that needs no new computation still moves."""

from __future__ import annotations

import pytest
from lab_pages import MOVE, ROOT, control, drawn, wait_until_drawn

from cepkit.lab import GuidanceLab

OPEN_AND_CLOSE = """count => {
  const { model, render } = window.cepkitLab, before = model.listening();
  for (let k = 0; k < count; k += 1) {
    const el = document.createElement('div');
    document.body.append(el);
    const stop = render({ model, el });
    stop();
    el.remove();
  }
  return model.listening() - before;
}"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    lab = GuidanceLab("8gaussians", particles=200, steps=10)
    path = lab.save_html(tmp_path_factory.mktemp("page") / "lab.html", scales=(0.0, 1.0, 2.0), seeds=(0, 5))
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    page = context.new_page()
    page.requests, page.errors = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(path.as_uri())
    wait_until_drawn(page, stage="full")
    yield page
    context.close()


def test_a_computed_scale_is_measured_and_one_in_between_says_that_it_is_interpolated(page):
    assert "MMD" in page.locator(f"{ROOT} .cepkit-words").first.inner_text()
    note = page.locator(f"{ROOT} .cepkit-note").inner_text()
    assert note.startswith("Computed beforehand with DPM-Solver++(2M), 10 steps, at s = 0, 1, 2; between two")
    assert [control(page, "scale").get_attribute(end) for end in ("min", "max")] == ["0", "2"]
    page.evaluate(MOVE, ["scale", 1.25])
    assert drawn(page)["stage"] == "interpolated"
    assert page.locator(f"{ROOT} .cepkit-status").inner_text() == "Interpolated between s = 1 and s = 2."
    assert "MMD" not in page.locator(f"{ROOT} .cepkit-words").first.inner_text()
    page.evaluate(MOVE, ["scale", 2])
    assert drawn(page)["stage"] == "full" and page.locator(f"{ROOT} .cepkit-status").inner_text() == ""


def test_interpolated_particles_lie_between_the_computed_ones(page):
    read = "() => [...new Int16Array(window.cepkitLab.model.get('paths').data.buffer)]"
    ends = []
    for scale in (1, 2, 1.5):
        page.evaluate(MOVE, ["scale", scale])
        ends.append(page.evaluate(read))
    assert all(abs(2 * middle - low - high) <= 2 for low, high, middle in zip(*ends, strict=True)) and ends[0] != ends[1]


def test_time_seed_and_layers_move_by_keyboard(page):
    control(page, "position").focus()
    page.keyboard.press("Home")
    wait_until_drawn(page, position=0)
    control(page, "seed").focus()
    page.keyboard.press("ArrowDown")
    wait_until_drawn(page, seed=5)
    control(page, "trajectories").focus()
    before = page.evaluate("() => document.querySelector('.cepkit-lab figure canvas').toDataURL()")
    page.keyboard.press(" ")
    page.wait_for_function("old => document.querySelector('.cepkit-lab figure canvas').toDataURL() !== old", arg=before)


def test_a_click_follows_a_particle_under_every_estimator(page):
    page.locator(f"{ROOT} figure canvas").first.click(position={"x": 100, "y": 100})
    wait_until_drawn(page, drops=1)
    page.keyboard.press("Escape")
    wait_until_drawn(page, drops=0)


def test_a_hundred_views_opened_and_closed_leave_no_listener(page):
    assert page.evaluate(OPEN_AND_CLOSE, 100) == 0


def test_no_request_left_the_page_and_no_script_failed(page):
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == [] and len(page.requests) == 1
    assert page.errors == []
