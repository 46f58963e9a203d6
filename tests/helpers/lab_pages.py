"""Driving the guidance lab as a person would, and timing what is seen."""

from __future__ import annotations

import json

ROOT = ".cepkit-lab"
# Moves a control and waits for the frame that shows it: milliseconds to the first answer and to the full one.
MOVE = """([name, value]) => new Promise(done => {
  const root = document.querySelector('.cepkit-lab'), input = root.querySelector(`[data-control=${name}]`), seen = {};
  const start = performance.now();
  input.value = value;
  input.dispatchEvent(new Event('input'));
  input.dispatchEvent(new Event('change'));
  const look = () => {
    const drawn = JSON.parse(root.dataset.drawn), passed = performance.now() - start;
    if (drawn[name] === value) {
      seen.first ??= passed;
      if (name === 'position' || drawn.stage !== 'first') seen.full ??= passed;
    }
    if (seen.full || passed > 20000) done(seen); else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
PLAY = """milliseconds => new Promise(done => {
  const root = document.querySelector('.cepkit-lab'), start = performance.now(), before = Number(root.dataset.frames);
  root.querySelector('.cepkit-play').click();
  setTimeout(() => {
    const rate = 1000 * (Number(root.dataset.frames) - before) / (performance.now() - start);
    root.querySelector('.cepkit-play').click();
    done(rate);
  }, milliseconds);
})"""
BURST = """count => new Promise(done => {
  const root = document.querySelector('.cepkit-lab'), input = root.querySelector('[data-control=scale]');
  let sent = 0;
  const send = () => {
    sent += 1;
    input.value = (sent * 0.05).toFixed(2);
    input.dispatchEvent(new Event('input'));
    if (sent < count) { setTimeout(send, 5); return; }
    const start = performance.now(), wanted = Number(input.value);
    const look = () => {
      const drawn = JSON.parse(root.dataset.drawn), passed = performance.now() - start;
      if ((drawn.scale === wanted && drawn.stage === 'full') || passed > 20000) done({ passed, wanted, shown: drawn.scale });
      else requestAnimationFrame(look);
    };
    look();
  };
  send();
})"""


def drawn(page) -> dict:
    """What the last frame shows."""
    return json.loads(page.locator(ROOT).first.get_attribute("data-drawn") or "{}")


def wait_until_drawn(page, **wanted) -> None:
    """Wait for a frame that shows this."""
    page.wait_for_function(
        """wanted => {
          const shown = JSON.parse(document.querySelector('.cepkit-lab')?.dataset.drawn || '{}');
          return Object.entries(wanted).every(([key, value]) => JSON.stringify(shown[key]) === JSON.stringify(value));
        }""",
        arg=wanted,
        timeout=60_000,
    )


def wait_until_measured(page) -> None:
    """Wait until nothing is left to compute: every caption that has no failure gives an MMD."""
    page.wait_for_function(
        """() => [...document.querySelectorAll('.cepkit-lab figure')].every(figure => {
          const text = name => figure.querySelector(`.cepkit-${name}`).textContent;
          return text('failure') || text('words').includes('MMD');
        })""",
        timeout=120_000,
    )


def control(page, name):
    """The input of this control."""
    return page.locator(f"{ROOT} [data-control={name}]").first
