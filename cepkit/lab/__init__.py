"""The mathematics behind the guidance lab: the same particles under several estimators, and every map, as interruptible work.

estimators   what may stand in a panel, trained or given, and a guard that survives its mistakes
simulation   paths of the particles, maps at every time of the sampler, and what is measured on them
"""

from cepkit.lab.estimators import BUILT_IN, Failure, Guard
from cepkit.lab.simulation import Along, Finished, Maps, Paths, Settings, Simulation

__all__ = ["BUILT_IN", "Along", "Failure", "Finished", "Guard", "Maps", "Paths", "Settings", "Simulation"]
