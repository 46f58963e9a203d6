"""A debugger for energy guidance: hand over callables of any model, get what is wrong in words and pictures.

    report = FieldDebugger(score=score, guidance=guidance, schedule=schedule, domain=4.5).run()
    print(report)
    report.save("report.html")

It works in two dimensions or on a plane through more (`Slice`), with a truth (`cepkit.exact.Mixture`) or without.
`from_module` and `from_diffusers` turn networks into denoisers.
"""

from cepkit.debugger.adapters import DiscreteSchedule, from_diffusers, from_module
from cepkit.debugger.field_debugger import FieldDebugger
from cepkit.debugger.findings import SEVERITIES, Finding, Place
from cepkit.debugger.report import Report
from cepkit.debugger.slices import Domain, Slice

__all__ = [
    "SEVERITIES",
    "DiscreteSchedule",
    "Domain",
    "FieldDebugger",
    "Finding",
    "Place",
    "Report",
    "Slice",
    "from_diffusers",
    "from_module",
]
