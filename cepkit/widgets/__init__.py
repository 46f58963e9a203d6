"""Interactive views, drawn by small hand-written scripts: the guidance lab, a drawing canvas, and training as it happens."""

from cepkit.widgets.draw import DrawYourOwn
from cepkit.widgets.drawing_lab import DrawingLab
from cepkit.widgets.lab import GuidanceLab
from cepkit.widgets.live import watch
from cepkit.widgets.maze_lab import MazeLab

__all__ = ["DrawYourOwn", "DrawingLab", "GuidanceLab", "MazeLab", "watch"]
