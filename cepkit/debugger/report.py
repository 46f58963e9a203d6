"""The report: findings in words, the arrays behind the pictures, text in a terminal, one self-contained page."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cepkit.debugger.findings import SEVERITIES, Finding
from cepkit.debugger.pictures import PICTURES

_STYLE = """
.cepkit-report{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:0 auto;padding:1rem}
.cepkit-report table{border-collapse:collapse;width:100%}
.cepkit-report td,.cepkit-report th{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #8886}
.cepkit-report td:nth-child(2){white-space:nowrap;font-family:ui-monospace,monospace}
.cepkit-report .mark{font-weight:600;padding:.05rem .5rem;border-radius:.6rem;color:#fff;white-space:nowrap}
.cepkit-report .error .mark{background:#a31515}.cepkit-report .warning .mark{background:#8a5200}
.cepkit-report .note .mark{background:#1f5fa8}.cepkit-report .ok .mark{background:#2c6e3f}
.cepkit-report .remedy{opacity:.85;font-style:italic}
.cepkit-report .pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:1rem;margin-top:1rem}
.cepkit-report figure{margin:0;background:#fff;border-radius:.6rem;padding:.4rem}
.cepkit-report figure img{width:100%;display:block}
.cepkit-report figcaption{color:#222;padding:.2rem .5rem .4rem;font-size:13px}
"""
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta name="color-scheme" content="light dark"><title>{title}</title>'
    "<style>:root{{color-scheme:light dark}}body{{background:Canvas;color:CanvasText;margin:0}}</style>"
    "</head><body>{body}</body></html>"
)
_SIGNS = {"ok": "ok", "note": "note", "warning": "WARNING", "error": "ERROR"}


@dataclass(frozen=True, repr=False, eq=False)
class Report:
    """What `FieldDebugger.run` found.

    Attributes:
        findings: worst first.
        arrays: the NumPy arrays behind the pictures, by name: "times" (T,), "grid" (side, side, 2) in slice coordinates,
            "score" and "guidance" (T, side, side, 2), "ratio_map", "error_map", "curl_map", "paths" (steps + 1, n, 2), ...
        labels: of the two axes of the plane.
        box: the domain.
        heading: what was looked at, in words.
    """

    findings: tuple[Finding, ...]
    arrays: Mapping[str, np.ndarray]
    labels: tuple[str, str]
    box: tuple[tuple[float, float], tuple[float, float]]
    heading: str

    def finding(self, check: str) -> Finding:
        """The worst finding of a check.

        Raises:
            ValueError: there is none; the message lists those there are.
        """
        found = [item for item in self.findings if item.check == check]
        if not found:
            known = ", ".join(sorted({item.check for item in self.findings}))
            raise ValueError(f"check: expected one of {known}, got {check!r}")
        return max(found, key=lambda item: item.rank)

    @property
    def worst(self) -> str:
        """The severest severity: "ok" if nothing is wrong."""
        return max((item.severity for item in self.findings), key=SEVERITIES.index, default="ok")

    @property
    def summary(self) -> str:
        """One sentence on how many findings there are of each severity."""
        count = Counter(item.severity for item in self.findings)
        parts = [f"{count[s]} {s if s in ('ok',) or count[s] == 1 else s + 's'}" for s in reversed(SEVERITIES) if count[s]]
        return ", ".join(parts) or "nothing was checked"

    def __str__(self) -> str:
        width = max((len(item.check) for item in self.findings), default=0)
        lines = [f"Field debugger: {self.summary}", f"({self.heading})"]
        for item in self.findings:
            lines.append(f"{_SIGNS[item.severity]:>7}  {item.check:<{width}}  {item.message}")
            if item.remedy:
                lines.append(f"{'':>7}  {'':<{width}}  -> {item.remedy}")
        return "\n".join(lines)

    __repr__ = __str__

    def _body(self) -> str:
        rows = []
        for item in self.findings:
            remedy = f'<br><span class="remedy">{html.escape(item.remedy)}</span>' if item.remedy else ""
            rows.append(
                f'<tr class="{item.severity}"><td><span class="mark">{item.severity}</span></td>'
                f"<td>{html.escape(item.check)}</td><td>{html.escape(item.message)}{remedy}</td><td>{html.escape(str(item.place))}</td></tr>"
            )
        pictures = []
        for name, picture in PICTURES.items():
            if picture.needs <= self.arrays.keys():
                caption = html.escape(picture.caption)
                source = base64.b64encode(self.png(name)).decode()
                pictures.append(
                    f'<figure><img alt="{caption}" src="data:image/png;base64,{source}">'
                    f"<figcaption>{caption}</figcaption></figure>"
                )
        head = "<thead><tr><th></th><th>check</th><th>finding</th><th>place</th></tr></thead>"
        return (
            f'<div class="cepkit-report"><style>{_STYLE}</style><h2>Field debugger: {html.escape(self.summary)}</h2>'
            f"<p>{html.escape(self.heading)}</p><table>{head}<tbody>{''.join(rows)}</tbody></table>"
            f'<div class="pictures">{"".join(pictures)}</div></div>'
        )

    def _repr_html_(self) -> str:
        return self._body()

    def png(self, name: str, *, dpi: int = 110) -> bytes:
        """One of `cepkit.debugger.pictures.PICTURES` as a PNG."""
        figure = Figure(figsize=(4.6, 3.8), layout="constrained", facecolor="white")
        PICTURES[name].draw(figure.add_subplot(), self)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=dpi)
        return stream.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write one page that needs nothing else, pictures inside, and return its path."""
        path = Path(path)
        page = _PAGE.format(title=html.escape(f"Field debugger: {self.summary}"), body=self._body())
        path.write_text(page, encoding="utf-8")
        return path
