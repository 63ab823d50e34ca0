"""A build on one device over the runs: its medians, where the level changed, and what else changed there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mobile_harness import stats
from mobile_harness.comparer import figures, likeness
from mobile_harness.comparer.values import Trend, TrendPoint
from mobile_harness.history import StoredCell


def trends(stored: Sequence[StoredCell]) -> tuple[Trend, ...]:
    """Return a trend for every model and device that the build was measured of and on, in order of their first run.

    Args:
        stored: measured cells of one build, in order of time (:meth:`mobile_harness.history.History.cells_of`).
    """
    groups: dict[tuple[str, str, str], list[StoredCell]] = {}
    for item in stored:
        groups.setdefault((item.model, item.cell.device.kind, item.cell.device.serial), []).append(item)
    return tuple(map(_trend, groups.values()))


def _trend(stored: Sequence[StoredCell]) -> Trend:
    medians = [figures.session_medians(item.cell) for item in stored]
    centres = [stats.geometric_mean(values) for values in medians]
    steps = {point.at: point for point in stats.change_points(centres)}
    words = [(), *(likeness.words_of(before.cell, after.cell) for before, after in pairwise(stored))]
    points = []
    for index, (item, values) in enumerate(zip(stored, medians, strict=True)):
        interval, step = stats.interval(values), steps.get(index)
        points.append(
            TrendPoint(
                run_id=item.run_id,
                created_utc=item.created_utc,
                cell_id=item.cell.id,
                median_ns=centres[index],
                low_ns=None if interval is None else interval.low,
                high_ns=None if interval is None else interval.high,
                sessions=len(values),
                changed=words[index],
                step=None if step is None else step.ratio,
                step_p=None if step is None else step.p,
            )
        )
    last = stored[-1]
    return Trend(model=last.model, build_id=last.cell.build_id, device=last.cell.device, points=tuple(points))
