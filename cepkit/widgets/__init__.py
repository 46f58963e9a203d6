"""Interactive views: ipywidgets controls round one canvas drawn by a small hand-written script."""

from cepkit.widgets.canvas import FieldCanvas, Panel
from cepkit.widgets.explorer import GuidanceExplorer
from cepkit.widgets.lab import GuidanceLab
from cepkit.widgets.live import watch

__all__ = ["FieldCanvas", "GuidanceExplorer", "GuidanceLab", "Panel", "watch"]
