"""What a trained agent earns and how it looks: evaluation, results, leaderboard, figures, the maze lab."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["figures"])
