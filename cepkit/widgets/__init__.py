"""Interactive views, drawn by small hand-written scripts: the guidance lab, and training as it happens."""

from cepkit.widgets.lab import GuidanceLab
from cepkit.widgets.live import watch

__all__ = ["GuidanceLab", "watch"]
