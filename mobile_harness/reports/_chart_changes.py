"""Charts of change: intervals of a comparison, and a build over the runs."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any, Final

from mobile_harness.comparer import CellComparison, Change, Comparison, Trend, TrendPoint
from mobile_harness.reports import _changes as changes
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _trends as trends
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import BAD, GOOD, GRID, INK, QUIET, SERIES, Chart, Spec

MOST_CELLS: Final = 40
_VERDICTS: Final = {"regressed": BAD, "improved": GOOD, "equivalent": QUIET, "inconclusive": SERIES[4]}
_REACH: Final = 3.0
"""Intervals are drawn up to so many times what most need: one session's may span everything."""


def intervals(comparison: Comparison) -> Chart | None:
    """Draw the change of each cell's latency with its interval against the margin; the first :data:`MOST_CELLS`."""
    found = [(cell, change) for cell in changes.ordered(comparison.cells) if (change := _drawable(cell)) is not None]
    if not found:
        return None
    names = changes.device_names(comparison)
    left = f" The first {MOST_CELLS} of {len(found)} cells." if len(found) > MOST_CELLS else ""
    reach = _reach([change for _, change in found], comparison.criteria.margin)
    values = [_interval(cell, change, names, reach) for cell, change in found[:MOST_CELLS]]
    margin = 100 * comparison.criteria.margin
    return Chart(
        title="Change of the median latency",
        summary=f"A point is a change, a line its {numbers.share(comparison.criteria.confidence)} interval, the band "
        f"the margin of {margin:g} %: to the right is slower.{left}",
        spec=_interval_spec(values, margin, reach),
        columns=("Build", "Device", "Verdict", "Change", "Interval"),
        rows=tuple(
            (
                cell.build_id,
                names[cell.device.serial] + changes.device_kind(cell.device),
                change.verdict,
                changes.effect(change),
                changes.effect_interval(change),
            )
            for cell, change in found
        ),
    )


def _drawable(cell: CellComparison) -> Change | None:
    change = changes.latency(cell)
    return change if change is not None and change.effect is not None and math.isfinite(change.effect) else None


def _reach(found: list[Change], margin: float) -> float:
    """Return how far from no change the axis goes, in per cent."""
    wanted = sorted(100 * abs(change.effect - 1) for change in found if change.effect is not None)
    ends = [
        100 * abs(end - 1)
        for change in found
        for end in (change.low, change.high)
        if end is not None and math.isfinite(end)
    ]
    return 1.08 * max(300 * margin, *wanted, min(max(ends, default=0.0), _REACH * max(wanted[-1], 100 * margin)))


def _interval(cell: CellComparison, change: Change, names: dict[str, str], reach: float) -> Spec:
    ends: Spec = {
        key: None if end is None else min(max(100 * (end - 1), -reach), reach)
        for key, end in (("low", change.low), ("high", change.high), ("effect", change.effect))
    }
    name = f"{cell.build_id}  {names[cell.device.serial]}{changes.device_kind(cell.device)}"
    return ends | {"cell": cell.head_cell, "name": numbers.visible(name), "verdict": change.verdict}


def _interval_spec(values: list[Spec], margin: float, reach: float) -> Spec:
    values = [value | {"row": f"{at:03d} {value['name']}"} for at, value in enumerate(values)]
    y = {
        "field": "row",
        "type": "nominal",
        "title": None,
        "sort": None,
        "axis": {"labelExpr": vega.shortened("slice(datum.label, 4)", vega.WIDE_LABEL_LONGEST), "grid": False},
    }
    x = vega.axis("effect", "Change of the median latency, %")
    x["scale"] = {"domain": [-reach, reach], "nice": False, "zero": False}
    x["axis"] = {"tickCount": 9}
    scale = {"domain": list(_VERDICTS), "range": list(_VERDICTS.values())}
    colour = {"field": "verdict", "type": "nominal", "scale": scale, "legend": {"symbolType": "circle", "columns": 4}}
    band = {"values": [{"from": -margin, "to": margin}]}
    between = {"x": {**x, "field": "from"}, "x2": {"field": "to"}}
    layers = [
        {"data": band, "mark": {"type": "rect", "color": GRID, "opacity": 0.55}, "encoding": between},
        {"mark": {"type": "rule", "color": QUIET, "strokeWidth": 1}, "encoding": {"x": {"datum": 0}}},
        {
            "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.75, "strokeCap": "round"},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
            "encoding": {"y": y, "x": x, "color": colour},
        },
    ]
    return vega.frame(layers, values, height={"step": 22}, width=vega.WIDE)


def trend(found: Trend, device_name: str) -> Chart | None:
    """Draw the medians of a build over the runs with their intervals, its levels, and where those changed."""
    if not found.points:
        return None
    unit = numbers.time_unit(point.high_ns or point.median_ns for point in found.points)
    values = [_point(at, point, unit) for at, point in enumerate(found.points)]
    steps = [at for at, point in enumerate(found.points) if point.step is not None]
    return Chart(
        title=f"{found.build_id} on {device_name}",
        summary="Each run's median with its interval over sessions, the oldest first. A line across marks where the "
        "level changed; a diamond is a run where something else changed too.",
        spec=_trend_spec(found, values, steps, unit),
        columns=("Run", "Started", "Median", "Interval", "Sessions", "Level", "Changed since the run before"),
        rows=tuple(trends.row(point, unit) for point in found.points),
    )


def _point(at: int, point: TrendPoint, unit: numbers.Unit) -> Spec:
    ends: Spec = {
        key: None if end is None else end / unit.scale for key, end in (("low", point.low_ns), ("high", point.high_ns))
    }
    return {**ends, "at": at, "median": point.median_ns / unit.scale, "changed": bool(point.changed)}


def _trend_spec(found: Trend, values: list[Spec], steps: list[int], unit: numbers.Unit) -> Spec:
    days = json.dumps([trends.day(point.created_utc) for point in found.points])
    x: dict[str, Any] = {
        "field": "at",
        "type": "quantitative",
        "title": None,
        "scale": {"nice": False, "zero": False, "padding": 14},
        "axis": {
            "tickCount": min(8, len(values)),
            "tickMinStep": 1,
            "labelExpr": f"{days}[datum.value]",
            "grid": False,
        },
    }
    y = vega.axis("median", f"Median latency, {unit.name}", zero=False, padding=10)
    colour = SERIES[0]
    point: Spec = {"type": "point", "filled": True, "opacity": 1, "color": colour}
    marks: list[Spec] = [{"at": at - 0.5, "text": f"{numbers.signed_share(found.points[at].step)} %"} for at in steps]
    here: Spec = {"x": {**x, "field": "at"}}
    points: list[Spec] = [
        {
            "transform": [{"filter": test}],
            "mark": {**point, "shape": shape, "size": size},
            "encoding": {**here, "y": y},
        }
        for test, shape, size in (("!datum.changed", "circle", 36), ("datum.changed", "diamond", 80))
    ]
    layers: list[Spec] = [
        {
            "data": {"values": _levels(values, steps)},
            "mark": {"type": "rule", "color": QUIET, "strokeWidth": 6, "opacity": 0.25},
            "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "y": {**y, "field": "level"}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1.6, "opacity": 0.55, "color": colour},
            "encoding": {**here, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {"mark": {"type": "line", "strokeWidth": 1, "opacity": 0.5, "color": colour}, "encoding": {**here, "y": y}},
        *points,
        {
            "data": {"values": marks},
            "mark": {"type": "rule", "color": BAD, "strokeDash": [4, 3]},
            "encoding": here,
        },
        {
            "data": {"values": marks},
            "mark": {"type": "text", "align": "left", "dx": 4, "dy": 2, "baseline": "top", "color": INK},
            "encoding": {**here, "y": {"value": 0}, "text": {"field": "text", "type": "nominal"}},
        },
    ]
    return vega.frame(layers, values, height=210, width=vega.WIDE)


def _levels(values: list[Spec], steps: list[int]) -> list[Spec]:
    """Return the stretches between changes of level, each with the geometric mean of its medians."""
    edges = [0, *steps, len(values)]
    found = []
    for start, end in pairwise(edges):
        stretch = [math.log(value["median"]) for value in values[start:end]]
        if stretch and steps:
            level = math.exp(math.fsum(stretch) / len(stretch))
            found.append({"from": start - 0.4, "to": end - 0.6, "level": level})
    return found
