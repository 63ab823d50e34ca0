"""The HTML page of a build over the runs: a chart and a table for every model and device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mobile_harness.comparer import Trend
from mobile_harness.reports import _chart_changes, _page
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _trends as trends
from mobile_harness.reports.base import HistoryDocument

MOST_CHARTS = 12
MOST_RUNS = 100


@dataclass(frozen=True, slots=True)
class Followed:
    """A trend as the page shows it: what to know of it in a sentence, its chart, and its runs, the latest first."""

    trend: Trend
    device_name: str
    sentence: str
    chart: dict[str, Any] | None
    rows: tuple[tuple[str, ...], ...]
    left: int


def render(history: HistoryDocument) -> str:
    """Return the whole page."""
    names = trends.device_names(history.trends)
    followed = tuple(
        _followed(trend, names[trend.device.serial], with_chart=place < MOST_CHARTS)
        for place, trend in enumerate(history.trends)
    )
    return _page.page("history.html.j2", history=history, palmtop=history.palmtop, followed=followed)


def _followed(trend: Trend, device_name: str, *, with_chart: bool) -> Followed:
    chart = _chart_changes.trend(trend, device_name) if with_chart else None
    unit = numbers.time_unit(point.high_ns or point.median_ns for point in trend.points)
    rows = [trends.row(point, unit) for point in reversed(trend.points)]
    (drawn,) = (None,) if chart is None else _page.drawn((chart,))
    left = max(len(rows) - MOST_RUNS, 0)
    return Followed(trend, device_name, trends.sentence(trend), drawn, tuple(rows[:MOST_RUNS]), left)
