"""The guidance lab: widgets that move scale, beta, time and data, and the simulation behind them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "guidance_lab": ["GuidanceLab"],
        "drawing_lab": ["DrawingLab"],
        "draw_your_own": ["DrawYourOwn"],
        "simulation": ["SampleSettings", "Simulation"],
        "panels": ["BUILT_IN"],
    },
)
