"""Charts of what is traded for what: accuracy against size and latency, and which builds no other beats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import QUIET, Chart, Measured, Spec
from mobile_harness.reports.base import Accuracy, Document, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """What accuracy is held against: a word, an axis title and its unit. ``sized``: points are as large as files."""

    word: str
    title: str
    unit: str
    sized: bool = False


def accuracy_size(document: Document) -> Chart | None:
    """Draw accuracy against size: neither needs a device."""
    rows = {row.build_id: row for row in document.rows if row.accuracy}.values()
    unit = numbers.size_unit(row.size_bytes for row in rows)
    points = [(row, row.accuracy, row.size_bytes / unit.scale) for row in rows if row.accuracy]
    return _scatter(document, points, _Cost(word="size", title="Size", unit=unit.name), "") if points else None


def cost(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw accuracy against latency, without a score size against latency; a stand-in's latency does not count."""
    own = [(row, item.median_ns) for row, item in done if item.median_ns is not None and not item.stand_in]
    if not own:
        return None
    unit = numbers.time_unit(median for _, median in own)
    points = [(row, row.accuracy, median / unit.scale) for row, median in own if row.accuracy]
    if points:
        cost = _Cost(word="latency", title="Median latency", unit=unit.name, sized=True)
        return _scatter(document, points, cost, suffix)
    return _size_latency(document, own, unit, suffix)


def _scatter(document: Document, points: Sequence[tuple[Row, Accuracy, float]], cost: _Cost, suffix: str) -> Chart:
    """Draw accuracy with its interval against a cost, with the budget and the builds that no other beats on both."""
    first = points[0][1]
    metric = numbers.visible(numbers.metric_name(first))
    values = [_point(row, accuracy, x) for row, accuracy, x in points]
    best = _unbeaten(values)
    values = [value | {"unbeaten": at in best} for at, value in enumerate(values)]
    unit = ", %" if first.fraction else ""
    y = vega.axis("value", f"{metric}{unit}", zero=False, padding=14)
    x = vega.axis("x", f"{cost.title}, {cost.unit}", zero=True, padding=14)
    size = numbers.size_unit(row.size_bytes for row, _, _ in points)
    return Chart(
        title=f"Accuracy, latency and size{suffix}" if cost.sized else f"Accuracy and {cost.word}{suffix}",
        summary=_scatter_words(metric, cost, suffix),
        spec=vega.frame(_scatter_layers(document, values, (first, cost), (x, y)), values, height=230),
        columns=("Build", f"{cost.title} {cost.unit}", metric, "Interval", f"File {size.name}", "Beaten by none"),
        rows=tuple(
            (
                row.build_id,
                numbers.digits(at),
                numbers.metric_value(accuracy, accuracy.value),
                _interval(accuracy),
                size.bare(row.size_bytes),
                "yes" if value["unbeaten"] else "",
            )
            for (row, accuracy, at), value in zip(points, values, strict=True)
        ),
    )


def _scatter_words(metric: str, cost: _Cost, suffix: str) -> str:
    words = (
        f"Each build's {metric} against its {cost.word}{suffix}; up and to the left is better. A bar is the interval "
        "of the drop below the float model; the dotted line joins the builds that no other beats on both."
    )
    if not cost.sized:
        return words
    return f"{words} The larger a point, the larger the file; a pale one is beaten on all three."


def _point(row: Row, accuracy: Accuracy, x: float) -> Spec:
    factor = 100.0 if accuracy.fraction else 1.0
    ends = (accuracy.float_value - accuracy.drop_interval.high, accuracy.float_value - accuracy.drop_interval.low)
    bounded = all(map(math.isfinite, ends))
    low, high = (factor * end for end in ends) if bounded else (None, None)
    if accuracy.fraction and high is not None:
        high = min(high, 100.0)
    figures = {"x": x, "value": factor * accuracy.value, "low": low, "high": high}
    return vega.names(row) | figures | {"bytes": row.size_bytes}


def _unbeaten(points: Sequence[Spec]) -> set[int]:
    """Return the places of the points that no other equals or beats on cost, accuracy and size, and beats on one."""

    def beats(one: Spec, other: Spec) -> bool:
        mine = (one["x"], -one["value"], one["bytes"])
        theirs = (other["x"], -other["value"], other["bytes"])
        return mine != theirs and all(left <= right for left, right in zip(mine, theirs, strict=True))

    return {at for at, point in enumerate(points) if not any(beats(other, point) for other in points)}


def _interval(accuracy: Accuracy) -> str:
    low = numbers.metric_value(accuracy, accuracy.float_value - accuracy.drop_interval.high)
    return f"{low} to {numbers.metric_value(accuracy, accuracy.float_value - accuracy.drop_interval.low)}"


def _scatter_layers(
    document: Document, values: list[Spec], what: tuple[Accuracy, _Cost], axes: tuple[Spec, Spec]
) -> list[Spec]:
    (first, cost), (x, y) = what, axes
    place = {"x": x, "color": vega.colour(document)}
    marks = {**place, "y": y, "shape": vega.shape(document)}
    if cost.sized:
        scale = {"range": [50, 420], "zero": True}
        marks["size"] = {"field": "bytes", "type": "quantitative", "scale": scale, "legend": None}
        marks["opacity"] = {"condition": {"test": "datum.unbeaten", "value": 1}, "value": 0.35}
    budget = {"values": [{"value": (100.0 if first.fraction else 1.0) * (first.float_value - first.max_drop)}]}
    dotted = {"type": "line", "color": QUIET, "strokeWidth": 1, "strokeDash": [1, 3], "interpolate": "step-after"}
    words = {"type": "text", "text": "budget", "align": "right", "baseline": "top", "dy": 4, "color": QUIET}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return [
        {"data": {"values": _front(values)}, "mark": dotted, "encoding": {"x": x, "y": y}},
        {"data": budget, "mark": {"type": "rule", "color": QUIET, "strokeDash": [5, 4]}, "encoding": {"y": y}},
        {"data": budget, "mark": words, "encoding": {"y": y, "x": {"value": "width"}}},
        {"mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.75}, "encoding": {**place, **ends}},
        {"mark": POINT, "encoding": marks},
    ]


POINT = {"type": "point", "filled": True, "size": 90, "opacity": 1}


def _front(points: Iterable[Spec]) -> list[Spec]:
    """Return the points that no other beats on both axes, from the left."""
    front: list[Spec] = []
    for point in sorted(points, key=lambda item: (item["x"], -item["value"])):
        if not front or point["value"] > front[-1]["value"]:
            front.append({"x": point["x"], "value": point["value"]})
    return front


def _size_latency(document: Document, done: Sequence[tuple[Row, float]], unit: numbers.Unit, suffix: str) -> Chart:
    size = numbers.size_unit(row.size_bytes for row, _ in done)
    values = [vega.names(row) | {"x": row.size_bytes / size.scale, "y": median / unit.scale} for row, median in done]
    encoding = {
        "x": vega.axis("x", f"Size, {size.name}", zero=True, padding=14),
        "y": vega.axis("y", f"Median latency, {unit.name}", zero=True, padding=14),
        "color": vega.colour(document),
        "shape": vega.shape(document),
    }
    return Chart(
        title=f"Size and latency{suffix}",
        summary=f"Size of each build against its median latency{suffix}; down and to the left is better.",
        spec=vega.frame([{"mark": POINT, "encoding": encoding}], values, height=230),
        columns=("Build", f"Size {size.name}", f"Median latency {unit.name}"),
        rows=tuple((row.build_id, size.bare(row.size_bytes), unit.bare(median)) for row, median in done),
    )
