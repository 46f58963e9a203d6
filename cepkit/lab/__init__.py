"""The mathematics behind the guidance lab: the same particles under several estimators, and every map, as interruptible work.

estimators   what may stand in a panel, trained or given, and a guard that survives its mistakes
tabulated    guidances looked up in tables, several panels at once
simulation   paths of the particles, and maps at every time of the sampler
measures     the fields over time and the finished samples, against the truth
"""

from cepkit.lab.estimators import BUILT_IN, Failure, Guard
from cepkit.lab.measures import Along, Finished
from cepkit.lab.simulation import Maps, Paths, Settings, Simulation

__all__ = ["BUILT_IN", "Along", "Failure", "Finished", "Guard", "Maps", "Paths", "Settings", "Simulation"]
