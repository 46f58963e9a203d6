"""Widgets are tested as in a script, without an event loop, also where a browser test has left one running in this process."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_event_loop():
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)
