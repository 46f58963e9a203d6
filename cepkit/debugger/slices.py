"""A plane through a space of D dimensions, and the rectangle of it that is looked at."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cepkit.validation import as_float64, check_number

MARGIN = 0.25  # of the domain's sides: what lies further out is not where the data are


@dataclass(frozen=True, eq=False)
class Slice:
    """The plane origin + u basis[0] + v basis[1] with an orthonormal basis.

    Attributes:
        origin: (D,), float64.
        basis: (2, D), float64, orthonormal rows.
        labels: what the axes of pictures are called.
    """

    origin: Tensor
    basis: Tensor
    labels: tuple[str, str] = ("$u$", "$v$")

    def __post_init__(self) -> None:
        origin, basis = as_float64(self.origin, "origin"), as_float64(self.basis, "basis")
        if origin.ndim != 1 or basis.shape != (2, len(origin)):
            shapes = f"{tuple(origin.shape)} and {tuple(basis.shape)}"
            raise ValueError(f"basis: expected an origin (D,) and a basis (2, D), got {shapes}")
        if not torch.allclose(basis @ basis.T, torch.eye(2, dtype=basis.dtype), atol=1e-6):
            raise ValueError(f"basis: expected orthonormal rows, got products {(basis @ basis.T).tolist()}")
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "basis", basis)

    @classmethod
    def axes(cls, dim: int, i: int = 0, j: int = 1) -> Self:
        """The plane of coordinates i and j of a space of `dim`, the others held at 0."""
        dim = check_number(dim, name="dim", low=2, integer=True)
        i = check_number(i, name="i", low=0, high=dim - 1, integer=True)
        j = check_number(j, name="j", low=0, high=dim - 1, integer=True)
        if i == j:
            raise ValueError(f"j: expected another coordinate than i = {i}, got {j}")
        origin = torch.zeros(dim, dtype=torch.float64)
        return cls(origin, torch.eye(dim, dtype=torch.float64)[[i, j]], (f"$x_{{{i + 1}}}$", f"$x_{{{j + 1}}}$"))

    @classmethod
    def pca(cls, points: Tensor) -> Self:
        """The plane through the mean of points (n, D) along their two directions of largest variance."""
        points = as_float64(points, "points")
        if points.ndim != 2 or len(points) < 3 or points.shape[1] < 2:
            raise ValueError(f"points: expected shape (n, D) with n of at least 3 and D of at least 2, got {tuple(points.shape)}")
        mean = points.mean(0)
        basis = torch.linalg.svd(points - mean, full_matrices=False).Vh[:2]
        return cls(mean, basis, ("first component", "second component"))

    @classmethod
    def through(cls, a: Tensor, b: Tensor, c: Tensor) -> Self:
        """The plane through three points (D,): `a` is its origin, `b` lies on the first axis."""
        a, b, c = (as_float64(point, name) for point, name in ((a, "a"), (b, "b"), (c, "c")))
        if a.ndim != 1 or len(a) < 2 or a.shape != b.shape or a.shape != c.shape:
            shapes = [tuple(point.shape) for point in (a, b, c)]
            raise ValueError(f"a, b, c: expected three points of one shape (D,), got {shapes}")
        basis, sides = torch.linalg.qr(torch.stack([b - a, c - a], -1))
        if not float(sides.diagonal().abs().min()) > 1e-9 * float(sides.norm()):
            raise ValueError("c: expected three points that are not on one line, got a degenerate triangle")
        return cls(a, (basis * sides.diagonal().sign()).T)

    @property
    def dim(self) -> int:
        """The dimension D of the space."""
        return len(self.origin)

    def embed(self, uv: Tensor) -> Tensor:
        """Points of the plane (..., 2) as points of the space (..., D), in the dtype and on the device of `uv`."""
        return self.origin.to(uv) + uv @ self.basis.to(uv)

    def project(self, vector: Tensor) -> Tensor:
        """The components in the plane (..., 2) of vectors (..., D)."""
        return vector @ self.basis.to(vector).T

    def coordinates(self, x: Tensor) -> Tensor:
        """The slice coordinates (..., 2) of points (..., D), projected at right angles onto the plane."""
        return self.project(x - self.origin.to(x))


@dataclass(frozen=True)
class Domain:
    """A rectangle in slice coordinates: ((u_lo, u_hi), (v_lo, v_hi))."""

    box: tuple[tuple[float, float], tuple[float, float]]

    @classmethod
    def of(cls, domain: object) -> Self:
        """From a half width, (centre, half width) or ((u_lo, u_hi), (v_lo, v_hi)).

        Raises:
            ValueError: anything else, or an empty or reversed side.
        """
        try:
            first, second = ((0.0, 0.0), domain) if isinstance(domain, (int, float)) else domain
            if isinstance(second, (int, float)):
                first, second = ((float(centre) - second, float(centre) + second) for centre in first)
            box = tuple((float(low), float(high)) for low, high in (first, second))
        except (TypeError, ValueError):
            box = ()
        if not box or not all(-1e300 < low < high < 1e300 for low, high in box):
            wanted = "a half width, (centre, half width) or ((x_lo, x_hi), (y_lo, y_hi)) with lo < hi"
            raise ValueError(f"domain: expected {wanted}, got {domain!r}")
        return cls(box)

    @property
    def reach(self) -> float:
        """Half the longer side."""
        return max(high - low for low, high in self.box) / 2

    def grid(self, side: int) -> Tensor:
        """side x side points (side, side, 2) from corner to corner, rows from bottom to top, float64."""
        u, v = (torch.linspace(low, high, side, dtype=torch.float64) for low, high in self.box)
        return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)

    def outside(self, uv: Tensor, margin: float) -> Tensor:
        """Which points (..., 2) lie outside the rectangle widened by `margin` times its sides."""
        low, high = torch.tensor(self.box, dtype=uv.dtype, device=uv.device).T
        wide = margin * (high - low)
        return ((uv < low - wide) | (uv > high + wide)).any(-1)
