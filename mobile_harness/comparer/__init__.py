"""Two runs held against each other: what regressed, what improved, what stayed, and what cannot be told.

The session is the unit. Values in, values out: nothing is read, nothing is printed. ``docs/comparison.md`` has the
statistics in words.
"""

from mobile_harness.comparer import text
from mobile_harness.comparer.likeness import NAMES as DIFFERENCES
from mobile_harness.comparer.noise import self_check, split
from mobile_harness.comparer.runs import check, compare
from mobile_harness.comparer.trend import trends
from mobile_harness.comparer.values import (
    BuildComparison,
    CellComparison,
    Change,
    Comparison,
    Criteria,
    Difference,
    Gate,
    Lone,
    NoiseFloor,
    RunRef,
    SelfCheck,
    Trend,
    TrendPoint,
)

__all__ = [
    "DIFFERENCES",
    "BuildComparison",
    "CellComparison",
    "Change",
    "Comparison",
    "Criteria",
    "Difference",
    "Gate",
    "Lone",
    "NoiseFloor",
    "RunRef",
    "SelfCheck",
    "Trend",
    "TrendPoint",
    "check",
    "compare",
    "self_check",
    "split",
    "text",
    "trends",
]
