"""One table for all benchmarks: a figure, what it stands beside, and the ratio."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what was measured.
        value: in `unit`.
        baseline: in `unit`, from the same run.
        beside: what the baseline is.
        unit: ms or s.
    """

    name: str
    value: float
    baseline: float
    beside: str
    unit: str = "ms"


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th and 99th percentile and the largest, in milliseconds."""
    ordered = [1000 * one for one in sorted(seconds)]
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1]


def beside(name: str, ours: Sequence[float], baseline: Sequence[float], what: str) -> list[Row]:
    """Rows of median, 99th percentile and largest of two samples, both in seconds."""
    pairs = zip(("p50", "p99", "max"), quantiles(ours), quantiles(baseline), strict=True)
    return [Row(f"{name}, {part}", value, base, what) for part, value, base in pairs]


def show(rows: Sequence[Row]) -> None:
    """Write the table to standard output."""
    lines = [f"{'measured':<58}{'value':>12}{'baseline':>12}{'ratio':>8}  beside"]
    for row in rows:
        ratio = f"{row.value / row.baseline:.2f}" if row.baseline else "-"
        value, baseline = f"{row.value:.3f} {row.unit}", f"{row.baseline:.3f} {row.unit}"
        lines.append(f"{row.name:<58}{value:>12}{baseline:>12}{ratio:>8}  {row.beside}")
    sys.stdout.write("\n".join(lines) + "\n")
