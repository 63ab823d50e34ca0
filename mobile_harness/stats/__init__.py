"""Statistics of latency, pure and seeded: the session is the unit.

:mod:`~mobile_harness.stats.sessions` summarises a cell, :mod:`~mobile_harness.stats.ratios` holds two cells against
each other, :mod:`~mobile_harness.stats.changes` finds where a series of runs changed level.
"""

from mobile_harness.stats.cells import Taken, middle_ns, published_ns, runs_of, summarise_cell, summarise_taken, taken
from mobile_harness.stats.changes import ChangePoint, change_points
from mobile_harness.stats.ranks import rank_p
from mobile_harness.stats.ratios import Ratio, detectable, deviation, holm, ratio, sessions_needed
from mobile_harness.stats.sessions import (
    BLOCK_NS,
    BLOCK_RUNS,
    BLOCKS_MAX,
    LEVEL_BLOCKS_MIN,
    Interval,
    Ordered,
    Series,
    Step,
    Summary,
    block_medians,
    geometric_mean,
    interval,
    largest_step,
    needed,
    nonstationary,
    ordered,
    percentile,
    published,
    spread,
    standard_deviation,
    summarise,
    summarise_ordered,
    variance,
)

__all__ = [
    "BLOCKS_MAX",
    "BLOCK_NS",
    "BLOCK_RUNS",
    "LEVEL_BLOCKS_MIN",
    "ChangePoint",
    "Interval",
    "Ordered",
    "Ratio",
    "Series",
    "Step",
    "Summary",
    "Taken",
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
    "ordered",
    "percentile",
    "published",
    "published_ns",
    "rank_p",
    "ratio",
    "runs_of",
    "sessions_needed",
    "spread",
    "standard_deviation",
    "summarise",
    "summarise_cell",
    "summarise_ordered",
    "summarise_taken",
    "taken",
    "variance",
]
