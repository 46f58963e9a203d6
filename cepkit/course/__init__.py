"""What notebooks call: set-up, checks of exercises, comparison tables, live training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "notebook": ["check", "setup"],
        "comparison": ["compare", "errors_figure", "samples_figure"],
        "show_run": ["NormalizedGuidance", "show_run"],
        "live": ["watch"],
    },
)
