"""The report: findings in words, the arrays behind the pictures, text in a terminal, one self-contained page."""

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure

from cepkit import plots
from cepkit.canvas.to_browser import save_page
from cepkit.debugger.findings import SEVERITIES, Finding
from cepkit.debugger.pictures import PICTURES
from cepkit.validation import check_name

_TEMPLATE = jinja2.Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"), autoescape=True)


@dataclass(frozen=True, repr=False, eq=False)
class Report:
    """The result of `FieldDebugger.run`.

    Attributes:
        findings: worst first.
        arrays: the NumPy arrays behind the pictures, by name: "times" (T,), "grid" (side, side, 2) in slice coordinates,
            "domain" (2, 2), "score" and "guidance" (T, side, side, 2), "error_map" and "curl_map" (side, side) at the level
            where they are worst, "paths" (steps + 1, n, 2), ...
        heading: the settings of the run, in words.
    """

    findings: tuple[Finding, ...]
    arrays: Mapping[str, np.ndarray]
    heading: str

    def finding(self, check: str) -> Finding:
        """The worst finding of a check.

        Raises:
            ValueError: there is none; the message lists those there are.
        """
        check_name(check, sorted({item.check for item in self.findings}), name="check")
        return next(item for item in self.findings if item.check == check)

    @property
    def worst(self) -> str:
        """The severest severity: "ok" if nothing is wrong."""
        return self.findings[0].severity

    @property
    def causes(self) -> tuple[str, ...]:
        """The named causes, those of the severest findings first, each once."""
        return tuple(dict.fromkeys(item.cause for item in self.findings if item.cause))

    @property
    def summary(self) -> str:
        """The number of findings of each severity, in words."""
        count = Counter(item.severity for item in self.findings)
        return ", ".join(f"{count[s]} {s if s == 'ok' or count[s] == 1 else s + 's'}" for s in reversed(SEVERITIES) if count[s])

    def __str__(self) -> str:
        width = max(len(item.check) for item in self.findings)
        lines = [f"Field debugger: {self.summary}", f"({self.heading})"]
        for item in self.findings:
            severity = item.severity.upper() if item.severity in ("warning", "error") else item.severity
            at = "" if item.x is None else f" [{item.place}]"
            lines.append(f"{severity:>7}  {item.check:<{width}}  {item.message}{at}")
            if item.remedy:
                lines.append(f"{'':>7}  {'':<{width}}  -> {item.remedy}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self._html(whole_page=False)

    def _html(self, *, whole_page: bool) -> str:
        pictures = []
        for picture in PICTURES.values():
            if picture.needs in self.arrays:
                figure = Figure(figsize=(4.6, 3.8), layout="constrained", facecolor="white")
                picture.draw(figure.add_subplot(), self.arrays)
                pictures.append((picture.caption, base64.b64encode(plots.png(figure)).decode()))
        return _TEMPLATE.render(report=self, pictures=pictures, whole_page=whole_page)

    def save(self, path: str | Path) -> Path:
        """Write one page that needs nothing else, pictures inside, and return its path; errors as `save_page` of the canvas."""
        return save_page(path, self._html(whole_page=True))
