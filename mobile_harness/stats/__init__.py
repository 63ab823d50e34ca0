"""Statistics of latency, pure and seeded: the session is the unit.

:mod:`~mobile_harness.stats.sessions` summarises a cell, :mod:`~mobile_harness.stats.ratios` holds two cells against
each other, :mod:`~mobile_harness.stats.changes` finds where a series of runs changed level.
"""

from mobile_harness.stats.cells import middle_ns, published_ns, runs_of, summarise_cell
from mobile_harness.stats.changes import ChangePoint, change_points
from mobile_harness.stats.ratios import Ratio, detectable, deviation, holm, ratio, sessions_needed
from mobile_harness.stats.sessions import (
    BLOCK_NS,
    BLOCK_RUNS,
    BLOCKS_MAX,
    LEVEL_BLOCKS_MIN,
    Interval,
    Series,
    Step,
    Summary,
    block_medians,
    geometric_mean,
    interval,
    largest_step,
    needed,
    nonstationary,
    percentile,
    published,
    spread,
    summarise,
)

__all__ = [
    "BLOCKS_MAX",
    "BLOCK_NS",
    "BLOCK_RUNS",
    "LEVEL_BLOCKS_MIN",
    "ChangePoint",
    "Interval",
    "Ratio",
    "Series",
    "Step",
    "Summary",
    "block_medians",
    "change_points",
    "detectable",
    "deviation",
    "geometric_mean",
    "holm",
    "interval",
    "largest_step",
    "middle_ns",
    "needed",
    "nonstationary",
    "percentile",
    "published",
    "published_ns",
    "ratio",
    "runs_of",
    "sessions_needed",
    "spread",
    "summarise",
    "summarise_cell",
]
