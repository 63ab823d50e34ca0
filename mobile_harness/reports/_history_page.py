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
    sentence: str
    chart: dict[str, Any] | None
    rows: tuple[tuple[str, ...], ...]
    left: int


def render(history: HistoryDocument) -> str:
    """Return the whole page."""
    made = [_chart_changes.trend(trend) for trend in history.trends[:MOST_CHARTS]]
    with _page.drawing([chart for chart in made if chart is not None]) as drawn:
        ready = iter(drawn)
        charts = [None if chart is None else next(ready) for chart in made]
        charts += [None] * (len(history.trends) - len(charts))
        followed = tuple(_followed(trend, chart) for trend, chart in zip(history.trends, charts, strict=True))
        return _page.page("history.html.j2", history=history, palmtop=history.palmtop, followed=followed)


def _followed(trend: Trend, chart: dict[str, Any] | None) -> Followed:
    unit = numbers.time_unit(point.high_ns or point.median_ns for point in trend.points)
    rows = [trends.row(point, unit) for point in reversed(trend.points)]
    return Followed(trend, trends.sentence(trend), chart, tuple(rows[:MOST_RUNS]), max(len(rows) - MOST_RUNS, 0))
