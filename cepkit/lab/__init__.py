"""The guidance lab: widgets that move scale, beta, time and data, and the simulation behind them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "guidance_lab": ["GuidanceLab"],
        "draw_your_own": ["DrawYourOwn", "DrawingLab"],
        "simulation": ["SampleSettings", "Simulation"],
        "panels": ["BUILT_IN"],
    },
)
