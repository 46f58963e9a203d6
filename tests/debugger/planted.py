"""Print how the debugger does on every planted fault and correct setting.

python tests/debugger/planted.py [--mode truth] [--name part-of-a-name] [--reports] [--quick]
"""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import correct_settings
import planted_guidance
import planted_networks
import planted_score
import torch
from planting import MODES, Case, alarms, verdict

FAULTS = planted_guidance.CASES | planted_score.CASES | planted_networks.CASES
CORRECT = correct_settings.CASES
QUICK = {"particles": 256, "times": (0.05, 0.2, 0.5, 0.8), "steps": 16}  # a third of the time


class Row(NamedTuple):
    """One report: what it is about, how it did, the causes it named, and the seconds it took."""

    case: Case
    mode: str
    verdict: str
    named: str
    seconds: float
    report: str


def run(cases: Iterable[Case], modes: Iterable[str] = MODES, settings: dict | None = None) -> Iterator[Row]:
    """Run the debugger on cases in the modes that make sense for them."""
    for case in cases:
        for mode in case.modes:
            if mode in modes:
                # the number of steps may be what is planted
                own = {k: v for k, v in (settings or {}).items() if k not in case.arguments(mode)}
                torch.manual_seed(0)
                try:
                    report, seconds = case.run(mode, **own)
                except Exception as error:  # a debugger that fails on one case must not hide how it does on the others
                    yield Row(case, mode, "crashed", repr(error), 0.0, traceback.format_exc())
                    continue
                found = ", ".join(report.causes) or ", ".join(sorted({item.check for item in alarms(report)}))
                yield Row(case, mode, verdict(case, report), found, seconds, str(report))


def shares(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """The share of each verdict, by mode."""
    count: dict[str, Counter] = {}
    for row in rows:
        count.setdefault(row.mode, Counter())[row.verdict] += 1
    return {mode: {key: n / sum(found.values()) for key, n in found.items()} for mode, found in count.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--name", default="", help="only cases with this in their name")
    parser.add_argument("--verdict", default="", help="print only lines with this verdict")
    parser.add_argument("--reports", action="store_true", help="print the reports too")
    parser.add_argument("--quick", action="store_true", help="fewer particles, noise levels and steps")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for kind, cases in (("planted faults", FAULTS), ("correct settings", CORRECT)):
        rows = []
        for row in run(
            (c for c in cases.values() if chosen.name in c.name), chosen.mode or MODES, QUICK if chosen.quick else None
        ):
            rows.append(row)
            if chosen.verdict in row.verdict:
                wanted = " or ".join(sorted(repr(cause) for cause in row.case.causes))
                line = f"{row.verdict:7} {row.mode:8} {row.seconds:5.1f} s  {row.case.name}: {row.named or 'nothing'}"
                print(line + (f"  (expected {wanted})" if wanted and row.verdict != "named" else ""), flush=True)
                if chosen.reports:
                    print(row.report)
        if rows:
            slowest = max(rows, key=lambda row: row.seconds)
            print(f"\n{len({row.case.name for row in rows})} {kind}, {len(rows)} reports, the slowest {slowest.seconds:.1f} s")
        for mode, found in shares(rows).items():
            total = sum(row.mode == mode for row in rows)
            print(f"{mode:8} {total:4} reports: " + ", ".join(f"{key} {share:.0%}" for key, share in sorted(found.items())))
        print()


if __name__ == "__main__":
    main()
