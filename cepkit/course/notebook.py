"""Set-up of a notebook and self-checks of its exercises."""

import importlib
import os
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from cepkit.validation import check_number

_ZERO = 1e-9  # a truth below this is 0 but for rounding: nothing is relative to it


@dataclass(frozen=True)
class Setup:
    """A prepared notebook.

    Attributes:
        device: "cuda" or "cpu".
        generator: a seeded CPU generator for the notebook's random draws.
        quick: whether the short version of the notebook was asked for (environment variable CEPKIT_QUICK=1).
    """

    device: torch.device
    generator: torch.Generator
    quick: bool

    def _repr_html_(self) -> str:
        return f"<p>Ready: torch {torch.__version__} on {self.device}, {torch.get_num_threads()} CPU thread(s).</p>"

    def budget(self, full: int, quick: int) -> int:
        """`full`, or `quick` where the short version was asked for."""
        return quick if self.quick else full


def choose_device() -> torch.device:
    """CUDA if present, else the CPU. The toys are small: a laptop CPU is as good."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def setup(seed: int = 0) -> Setup:
    """Prepare a notebook: readable figures, sharp in every theme, and one seeded generator."""
    import matplotlib
    import matplotlib.pyplot as plt

    plt.switch_backend(matplotlib.get_backend())  # so that a notebook also shows figures made without pyplot
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.titlesize": 10,
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "figure.dpi": 90,
        }
    )
    if "google.colab" in sys.modules:  # Colab shows widgets of other packages only when asked
        importlib.import_module("google.colab.output").enable_custom_widget_manager()
    generator = torch.Generator().manual_seed(int(check_number(seed, name="seed", low=0, integer=True)))
    return Setup(choose_device(), generator, os.environ.get("CEPKIT_QUICK", "") == "1")


@dataclass(frozen=True)
class Check:
    """The verdict on an exercise: `passed` is None while there is no answer yet."""

    passed: bool | None
    message: str

    def __repr__(self) -> str:
        return self.message


def check(answer: object, truth: object, *, tolerance: float = 1e-3) -> Check:
    """Compare an exercise's answer with the truth, by relative error in the largest value.

    Args:
        answer: a number or tensor; None or `...` means not answered yet.
        truth: what it should be, of the same shape.
        tolerance: the largest allowed |answer - truth|, relative to the largest |truth|, or to 1 where the truth is 0.
    """
    if answer is None or answer is ...:
        return Check(None, "○ Your turn: replace the dots, then run this cell again.")
    try:
        given, wanted = (torch.as_tensor(value, dtype=torch.float64).detach().cpu() for value in (answer, truth))
    except (TypeError, ValueError, RuntimeError):
        return Check(False, f"✗ Expected a number or tensor, got {type(answer).__name__}.")
    if given.shape != wanted.shape:
        return Check(False, f"✗ Expected shape {tuple(wanted.shape)}, got {tuple(given.shape)}.")
    if not bool(torch.isfinite(given).all()):
        return Check(False, "✗ Some of the values are NaN or infinite.")
    size = _largest(wanted)
    zero = size < _ZERO
    scale = 1.0 if zero else size
    error = _largest(given - wanted) / scale
    if error <= tolerance:
        return Check(True, f"✓ Right, to {'an' if zero else 'a relative'} error of {error:.1e}.")
    if _largest(given + wanted) / scale <= tolerance:
        return Check(False, "✗ Almost: the sign is the wrong way round.")
    subject = f"{float(given):.4g} is off by" if wanted.ndim == 0 else "the largest error is"
    share = "of the largest value" if wanted.ndim else ""
    amount = f"{error:.3g}, where 0 is right" if zero else f"{100 * error:.3g} % {share}".rstrip()
    return Check(False, f"✗ Not yet: {subject} {amount}. Open the hint.")


def _largest(value: Tensor) -> float:
    return float(value.abs().max()) if value.numel() else 0.0
