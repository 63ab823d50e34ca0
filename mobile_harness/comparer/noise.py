"""A/A: one build measured twice, to see what a device shows when nothing changed.

One run's sessions are taken by turns in the order ABBA, so that a device that warms up, or a computer that gets busy,
is as slow for the one half as for the other: what is left is the noise that more sessions would lower. Two whole runs,
which :func:`self_check` takes as well, hold everything that lies between two runs besides.
"""

from __future__ import annotations

import dataclasses

from mobile_harness import stats
from mobile_harness.comparer import figures
from mobile_harness.comparer.runs import check, reference
from mobile_harness.comparer.values import Criteria, NoiseFloor, SelfCheck
from mobile_harness.records import Cell, RunRecord
from toolkit.core.errors import BadInput

_FIRST = (0, 3)
"""Which of each four sessions in a row are the one half's: the first and the last."""


def split(record: RunRecord) -> tuple[RunRecord, RunRecord]:
    """Split a run's sessions in the order ABBA, as if they were two runs that drift falls on alike."""
    first, second = (
        dataclasses.replace(record, cells=tuple(_half(cell, first=first) for cell in record.cells))
        for first in (True, False)
    )
    return first, second


def _half(cell: Cell, *, first: bool) -> Cell:
    kept = tuple(session for session in cell.sessions if (session.index % 4 in _FIRST) == first)
    return dataclasses.replace(cell, sessions=kept, outcome=cell.outcome if kept else "failed")


def self_check(base: RunRecord, head: RunRecord, criteria: Criteria | None = None) -> SelfCheck:
    """Return the noise floor of every device and build that two runs of the same builds measured.

    Raises:
        BadInput: they hold no measured cell of the same build and device.
    """
    criteria = check(criteria or Criteria())
    before = {(cell.id, cell.build_sha256): cell for cell in base.cells if cell.outcome == "measured"}
    pairs = [
        (before[cell.id, cell.build_sha256], cell)
        for cell in head.cells
        if cell.outcome == "measured" and (cell.id, cell.build_sha256) in before
    ]
    if not pairs:
        words = f"Runs {base.id} and {head.id} hold no cell that was measured in both."
        raise BadInput(words, hint="A self-check measures the same builds on the same devices twice.")
    alpha = (1 - criteria.confidence) / len(pairs)
    return SelfCheck(
        base=reference(base),
        head=reference(head),
        margin=criteria.margin,
        confidence=criteria.confidence,
        floors=tuple(_floor(first, second, criteria, alpha) for first, second in pairs),
    )


def _floor(before: Cell, after: Cell, criteria: Criteria, alpha: float) -> NoiseFloor:
    sides = figures.session_medians(before), figures.session_medians(after)
    found = stats.ratio(*sides, criteria.confidence)
    spread = figures.pooled_deviation(*sides)
    counts = len(sides[0]), len(sides[1])
    detectable = None if spread is None or min(counts) < 2 else stats.detectable(spread, *counts, alpha)
    alarm = found is not None and found.p < alpha and not _within(found, criteria.margin)
    return NoiseFloor(
        device=after.device,
        build_id=after.build_id,
        sessions_before=counts[0],
        sessions_after=counts[1],
        observed=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        deviation=spread,
        detectable=detectable,
        sessions_needed=None if spread is None else stats.sessions_needed(spread, criteria.margin, alpha),
        alarm=alarm,
        reason=_reason(found, detectable, criteria, alarm=alarm),
    )


def _within(found: stats.Ratio, margin: float) -> bool:
    return 1 / (1 + margin) <= found.low and found.high <= 1 + margin


def _reason(found: stats.Ratio | None, detectable: float | None, criteria: Criteria, *, alarm: bool) -> str:
    if found is None or detectable is None:
        return "One session a side: how far sessions differ is not known."
    if alarm:
        return (
            f"The device was {100 * (found.value - 1):+.1f} % off though nothing changed: something else did between "
            "the two measurements, such as heat or other work. Do not gate on it before that is found."
        )
    if detectable > criteria.margin:
        return f"Changes below {100 * detectable:.1f} % are lost in its noise: take more sessions to see less."
    return f"Changes from {100 * detectable:.1f} % on are found."
