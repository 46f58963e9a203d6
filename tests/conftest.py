"""One thread, replayable randomness, and the objects that every test file asks for."""

import asyncio
import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from checks import toy_named
from closing_line import pytest_unconfigure  # noqa: F401
from hypothesis import settings

from cepkit.diffusion.schedules import VPCosine, VPLinear
from cepkit.truth.toys import TOYS

# a browser is started once, and whoever serves the app asks for the same port
ONE_WORKER = ("tests/browser/", "tests/commands/test_app.py")

torch.set_num_threads(1)
settings.register_profile("cepkit", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("cepkit")


@pytest.fixture
def generator():
    """A generator of a fixed seed, fresh in every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def schedule():
    """The paper's schedule."""
    return VPLinear()


@pytest.fixture(params=[VPLinear(), VPCosine()], ids=["linear", "cosine"])
def any_schedule(request):
    return request.param


@pytest.fixture(params=TOYS)
def toy(request):
    """Each of the six toys in turn."""
    return toy_named(request.param)


@pytest.fixture(autouse=True, scope="module")
def no_event_loop(request):
    """Widgets are tested as in a script, also where a browser test has left an event loop running in this process."""
    if "browser" in request.path.parts:
        yield
        return
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker gets all tests of `ONE_WORKER` (under pytest 9.2 the mark `xdist_group` does nothing)."""
    from xdist.scheduler import LoadGroupScheduling

    class OneBrowser(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            return "browser" if nodeid.startswith(ONE_WORKER) else super()._split_scope(nodeid)

    return OneBrowser(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items):
    """Notebooks, the longest, begin first, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
