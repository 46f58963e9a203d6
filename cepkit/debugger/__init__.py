"""A debugger for energy guidance: hand over callables of any model, get what is wrong in words and pictures.

    report = FieldDebugger(score=score, guidance=guidance, schedule=schedule, domain=4.5).run()
    print(report)
    report.save("report.html")

It works in two dimensions or on a plane through more (`Slice`), with a truth (`cepkit.truth.exact.Mixture`) or without.
`from_module` and `from_diffusers` turn networks into denoisers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adapters": ["DiscreteSchedule", "from_diffusers", "from_module"],
        "field_debugger": ["FieldDebugger"],
        "findings": ["Finding", "SEVERITIES"],
        "pictures": ["PICTURES"],
        "report": ["Report"],
        "slices": ["Domain", "Slice"],
    },
)
