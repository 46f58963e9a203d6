"""One thread, replayable randomness, and the objects that every test file asks for."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from checks import toy_named
from hypothesis import settings

from cepkit.schedules import VPCosine, VPLinear
from cepkit.toys import TOYS

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadgroup`, one worker gets all browser tests (under pytest 9.2 the mark `xdist_group` does nothing)."""
    from xdist.scheduler import LoadGroupScheduling

    class OneBrowser(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            return "browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)

    return OneBrowser(config, log) if config.getvalue("dist") == "loadgroup" else None
