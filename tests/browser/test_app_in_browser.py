"""`cepkit app` in a browser: the lab appears without a notebook round it, and no request goes to another machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lengths import slow

pytest.importorskip("voila", reason="the app (pip install -e '.[app]')")
SCREENS = Path(__file__).parents[2] / "build" / "screens"
ELSEWHERE = "http://cdn.invalid/nothing.css"


@pytest.fixture(scope="module")
def app_url(browser):
    """The address of `cepkit app moons`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "cepkit", "app", "moons", "--no-browser", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout.readline() == f"The lab is open at http://127.0.0.1:{port}\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module", params=["light", *slow("dark")])
def page(browser, app_url, request):
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme=request.param)
    page = context.new_page()
    page.theme, page.errors, page.asked = request.param, [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda opened: page.asked.append(opened.url))
    page.answer = page.goto(app_url, timeout=60_000)
    page.locator(".cepkit-lab canvas").first.wait_for(timeout=120_000)
    page.wait_for_timeout(2000)
    yield page
    context.close()


def test_the_panels_are_there_and_nothing_of_a_notebook(page):
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"app_{page.theme}.png")
    boxes = [canvas.bounding_box() for canvas in page.locator(".cepkit-lab canvas").all()]
    assert len([box for box in boxes if box and box["width"] > 150]) >= 2
    assert page.title() == "Guidance lab: moons"
    assert "GuidanceLab(" not in page.content() and page.locator(".jp-InputArea").count() == 0


def test_no_request_leaves_this_machine(page):
    hosts = {urlsplit(url).hostname for url in page.asked if urlsplit(url).scheme not in ("data", "blob")}
    assert hosts == {"127.0.0.1"} and any(url.startswith("ws") for url in page.asked)
    assert any("/labextensions/anywidget/" in url for url in page.asked)


def test_the_browser_would_refuse_one(page):
    assert page.answer.headers["content-security-policy"].startswith("default-src 'self'")
    refused = page.evaluate(
        """url => new Promise(done => {
          document.addEventListener('securitypolicyviolation', event => done(event.blockedURI), { once: true });
          document.head.append(Object.assign(document.createElement('link'), { rel: 'stylesheet', href: url }));
          setTimeout(() => done('nothing'), 10_000);
        })""",
        ELSEWHERE,
    )
    assert refused == ELSEWHERE


def test_the_page_follows_the_theme_of_the_machine(page):
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert shade > 200 if page.theme == "light" else shade < 60


def test_it_fits_a_narrow_window(page):
    size = page.viewport_size
    page.set_viewport_size({"width": 700, "height": 1000})
    page.wait_for_timeout(800)
    page.screenshot(path=SCREENS / f"app_{page.theme}_narrow.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    page.set_viewport_size(size)


def test_the_page_raises_no_script_error(page):
    assert page.errors == []


def test_a_page_that_is_left_gives_its_kernel_back(page, browser, app_url):
    """Each visitor has a kernel, and it goes when the page does."""
    context = browser.new_context()
    visitor = context.new_page()
    visitor.goto(app_url, timeout=60_000)
    visitor.locator(".cepkit-lab canvas").first.wait_for(timeout=120_000)
    mine, theirs = (json_of(one, "#jupyter-config-data")["kernelId"] for one in (page, visitor))
    assert mine != theirs and alive(page, theirs)
    visitor.goto("about:blank")
    for _ in range(100):
        if not alive(page, theirs):
            break
        page.wait_for_timeout(200)
    assert not alive(page, theirs) and alive(page, mine)
    context.close()


def json_of(page, selector) -> dict:
    return page.evaluate("selector => JSON.parse(document.querySelector(selector).textContent)", selector)


def alive(page, kernel) -> bool:
    return page.evaluate("async id => (await fetch(`/api/kernels/${id}`)).status === 200", kernel)
