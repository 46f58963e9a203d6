"""Planes through more dimensions, and a whole run on one."""

import pytest
import torch
from checks import seeded

from cepkit.debugger import Domain, FieldDebugger, Slice
from cepkit.diffusion.schedules import VPLinear
from cepkit.truth.exact import Mixture
from cepkit.truth.fields import ExactGuidance


def cloud(n=200, dim=5):
    return torch.randn((n, dim), generator=seeded(), dtype=torch.float64) * torch.linspace(2, 0.3, dim)


def planes():
    x = cloud()
    return [Slice.axes(5, 1, 3), Slice.pca(x), Slice.through(x[0], x[1], x[2])]


@pytest.mark.parametrize("plane", planes(), ids=["axes", "pca", "through"])
def test_points_of_the_plane_come_back(plane):
    uv = torch.randn((7, 3, 2), generator=seeded(1), dtype=torch.float64)
    x = plane.embed(uv)
    assert x.shape == (7, 3, 5)
    torch.testing.assert_close(plane.coordinates(x), uv)
    torch.testing.assert_close(plane.project(x - plane.origin), uv)
    torch.testing.assert_close((x[0, 0] - x[0, 1]).norm(), (uv[0, 0] - uv[0, 1]).norm())  # distances are kept
    assert plane.embed(uv.float()).dtype == torch.float32


def test_axes_use_the_coordinates_own_numbers():
    assert Slice.axes(4, 0, 2).embed(torch.tensor([7.0, 8.0])).tolist() == [7.0, 0.0, 8.0, 0.0]


def test_pca_finds_the_widest_plane():
    spread = Slice.pca(cloud(4000)).coordinates(cloud(4000)).std(0)
    torch.testing.assert_close(spread, torch.tensor([2.0, 1.575], dtype=torch.float64), rtol=0.05, atol=0)


def test_through_goes_through_its_points():
    a, b, c = cloud()[:3]
    plane = Slice.through(a, b, c)
    for point in (a, b, c):
        torch.testing.assert_close(plane.embed(plane.coordinates(point)), point)
    sides = torch.stack([plane.coordinates(b), plane.coordinates(c)])
    assert float(sides[0, 0]) > 0 and abs(float(sides[0, 1])) < 1e-9 and float(sides[1, 1]) > 0  # b is to the right, c above


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Slice.axes(3, 1, 1), "j: expected another"),
        (lambda: Slice.axes(2, 0, 2), "j: expected"),
        (lambda: Slice.axes(1), "dim: expected"),
        (lambda: Slice.pca(torch.zeros(2, 3)), "points: expected shape"),
        (lambda: Slice.through(torch.zeros(2), torch.ones(2), torch.ones(2) * 2), "c: expected three points"),
        (lambda: Slice.through(torch.zeros(2), torch.ones(3), torch.ones(2)), "a, b, c: expected"),
        (lambda: Slice(torch.zeros(3), torch.ones(2, 3)), "basis: expected orthonormal"),
        (lambda: Slice(torch.zeros(3), torch.eye(2)), "basis: expected an origin"),
    ],
)
def test_a_wrong_plane_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_domains_can_be_given_in_three_ways():
    expected = ((-1.0, 3.0), (0.0, 4.0))
    assert Domain.of(((1.0, 2.0), 2.0)).box == Domain.of(expected).box == expected
    assert Domain.of(2).box == ((-2.0, 2.0), (-2.0, 2.0))
    grid = Domain.of(expected).grid(5)
    assert grid[0, 0].tolist() == [-1, 0] and grid[0, -1].tolist() == [3, 0] and grid[-1, 0].tolist() == [-1, 4]
    outside = Domain.of(expected).outside(torch.tensor([[3.5, 1.0], [4.5, 1.0]]), 0.25)
    assert outside.tolist() == [False, True]


def test_a_run_on_a_plane_through_six_dimensions():
    x, schedule = cloud(120, 6), VPLinear()
    truth = Mixture.from_points(x, x[:, 0] ** 2 / 4, std=0.3)
    exact = ExactGuidance(truth, 2.0, schedule)
    plane = Slice.pca(x)
    given = {"schedule": schedule, "domain": 7.0, "truth": truth, "beta": 2.0, "slice": plane}
    given |= {"particles": 128, "times": (0.1, 0.5)}
    found = FieldDebugger(guidance=exact, **given).run()
    assert found.worst == "ok", str(found)
    assert found.arrays["guidance"].shape[-1] == 2 and found.arrays["samples"].shape == (128, 6)

    def turned(x_t, t):  # a rotation in the plane only: its curl is there, and nowhere else
        a, b = plane.basis.to(x_t)
        return exact(x_t, t) + 0.5 * ((x_t @ a)[:, None] * b - (x_t @ b)[:, None] * a)

    assert FieldDebugger(guidance=turned, **given).run().finding("curl").severity in ("warning", "error")
