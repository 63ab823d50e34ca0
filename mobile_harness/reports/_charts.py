"""The charts of a report: what each shows, as a Vega-Lite specification and as the same figures in a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import QUIET, Spec
from mobile_harness.reports.base import Accuracy, Document, Performance, Row, SessionFigures

MOST_DEVICES = 2
MOST_BUILDS = 12

Measured = tuple[Row, Performance]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart: what it shows, how to draw it, and the same figures as a table."""

    title: str
    summary: str
    spec: Spec
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def charts(document: Document) -> tuple[Chart, ...]:
    """Return the charts that the figures of a document allow, for at most :data:`MOST_DEVICES` devices."""
    made = [_accuracy_size(document)]
    devices = chart_devices(document)
    for name in devices:
        done = [(row, row.performance) for row in document.rows if row.device_name == name and row.performance]
        suffix = f" on {name}" if len(devices) > 1 else ""
        made += [draw(document, done[:MOST_BUILDS], suffix) for draw in (_cost, _sessions, _first_result, _memory)]
    return tuple(chart for chart in (*made, _outputs(document)) if chart is not None)


def chart_devices(document: Document) -> tuple[str, ...]:
    """Return the names of the devices that get charts: phones first, then those with the most measured builds."""
    measured: dict[str, int] = {}
    phones = set()
    for row in document.rows:
        if row.performance and row.device:
            measured[row.device_name] = measured.get(row.device_name, 0) + 1
            phones |= {row.device_name} if row.device.kind == "phone" else set()
    order = sorted(measured, key=lambda name: (name not in phones, -measured[name], name))
    return tuple(order[:MOST_DEVICES])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """What accuracy is held against: a word, an axis title and its unit."""

    word: str
    title: str
    unit: str


def _accuracy_size(document: Document) -> Chart | None:
    rows = {row.build_id: row for row in document.rows if row.accuracy}.values()
    unit = numbers.size_unit(row.size_bytes for row in rows)
    points = [(row, row.accuracy, row.size_bytes / unit.scale) for row in rows if row.accuracy]
    return _scatter(document, points, _Cost(word="size", title="Size", unit=unit.name), "") if points else None


def _cost(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw accuracy against latency, without a score size against latency; a stand-in's latency does not count."""
    own = [(row, item.median_ns) for row, item in done if item.median_ns is not None and not item.stand_in]
    if not own:
        return None
    unit = numbers.time_unit(median for _, median in own)
    points = [(row, row.accuracy, median / unit.scale) for row, median in own if row.accuracy]
    if points:
        return _scatter(document, points, _Cost(word="latency", title="Median latency", unit=unit.name), suffix)
    return _size_latency(document, own, unit, suffix)


def _scatter(document: Document, points: Sequence[tuple[Row, Accuracy, float]], cost: _Cost, suffix: str) -> Chart:
    """Draw accuracy with its interval against a cost, with the budget and the builds that no other beats on both."""
    first = points[0][1]
    metric = numbers.visible(numbers.metric_name(first))
    values = [_point(row, accuracy, x) for row, accuracy, x in points]
    unit = ", %" if first.fraction else ""
    y = vega.axis("value", f"{metric}{unit}", zero=False, padding=14)
    x = vega.axis("x", f"{cost.title}, {cost.unit}", zero=True, padding=14)
    summary = (
        f"Each build's {metric} against its {cost.word}{suffix}; up and to the left is better. A bar is the interval "
        "of the drop below the float model; the dotted line joins the builds that no other beats on both."
    )
    return Chart(
        title=f"Accuracy and {cost.word}{suffix}",
        summary=summary,
        spec=vega.frame(_scatter_layers(document, values, first, (x, y)), values, height=230),
        columns=("Build", f"{cost.title} {cost.unit}", metric, "Interval"),
        rows=tuple(
            (row.build_id, numbers.digits(x), numbers.metric_value(accuracy, accuracy.value), _interval(accuracy))
            for row, accuracy, x in points
        ),
    )


def _point(row: Row, accuracy: Accuracy, x: float) -> Spec:
    factor = 100.0 if accuracy.fraction else 1.0
    ends = (accuracy.float_value - accuracy.drop_interval.high, accuracy.float_value - accuracy.drop_interval.low)
    bounded = all(map(math.isfinite, ends))
    low, high = (factor * end for end in ends) if bounded else (None, None)
    if accuracy.fraction and high is not None:
        high = min(high, 100.0)
    return vega.names(row) | {"x": x, "value": factor * accuracy.value, "low": low, "high": high}


def _interval(accuracy: Accuracy) -> str:
    low = numbers.metric_value(accuracy, accuracy.float_value - accuracy.drop_interval.high)
    return f"{low} to {numbers.metric_value(accuracy, accuracy.float_value - accuracy.drop_interval.low)}"


def _scatter_layers(document: Document, values: list[Spec], first: Accuracy, axes: tuple[Spec, Spec]) -> list[Spec]:
    x, y = axes
    place = {"x": x, "color": vega.colour(document)}
    budget = {"values": [{"value": (100.0 if first.fraction else 1.0) * (first.float_value - first.max_drop)}]}
    dotted = {"type": "line", "color": QUIET, "strokeWidth": 1, "strokeDash": [1, 3], "interpolate": "step-after"}
    words = {"type": "text", "text": "budget", "align": "right", "baseline": "top", "dy": 4, "color": QUIET}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return [
        {"data": {"values": _front(values)}, "mark": dotted, "encoding": {"x": x, "y": y}},
        {"data": budget, "mark": {"type": "rule", "color": QUIET, "strokeDash": [5, 4]}, "encoding": {"y": y}},
        {"data": budget, "mark": words, "encoding": {"y": y, "x": {"value": "width"}}},
        {"mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.75}, "encoding": {**place, **ends}},
        {"mark": POINT, "encoding": {**place, "y": y, "shape": vega.shape(document)}},
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


def _sessions(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    figures = [(row, session) for row, item in done if item.median_ns is not None for session in item.sessions]
    if not figures:
        return None
    unit = numbers.time_unit(item.p90_ns or item.median_ns for _, item in figures)
    values = [
        _spread(row, session, item.median_ns, unit)
        for row, item in done
        if item.median_ns is not None
        for session in item.sessions
    ]
    x = vega.axis("median", "% from the build's median", zero=True)
    y = vega.bars(document) | {"yOffset": {"field": "session", "type": "ordinal"}}
    y["y"] = y["y"] | {
        "scale": {"paddingInner": 0.3, "paddingOuter": 0.15},
        "axis": {"labelExpr": "split(datum.label, '\\n')"},
    }
    most = max(len(item.sessions) for _, item in done)
    rule = {"type": "rule", "strokeCap": "round"}
    start = {**y, "x": {**x, "field": "q25"}}
    layers = [
        {"mark": {**rule, "strokeWidth": 1.2, "opacity": 0.6}, "encoding": {**start, "x2": {"field": "p90"}}},
        {"mark": {**rule, "strokeWidth": 4, "opacity": 0.45}, "encoding": {**start, "x2": {"field": "q75"}}},
        {"mark": {"type": "tick", "thickness": 2, "size": 7, "opacity": 1}, "encoding": {**y, "x": x}},
    ]
    return Chart(
        title=f"Spread of the latency{suffix}",
        summary=f"One line a session{suffix}: a tick at its median, a bar over its middle half, a line to p90.",
        spec=vega.frame(layers, values, height={"step": max(7.0, 26 / most), "for": "offset"}),
        columns=("Build", "Session", f"Median {unit.name}", "First quartile", "Third quartile", "p90", "Runs"),
        rows=tuple(
            (
                row.build_id,
                str(item.index + 1),
                *(unit.bare(value) for value in (item.median_ns, item.q25_ns, item.q75_ns, item.p90_ns)),
                f"{item.runs:,}",
            )
            for row, item in figures
        ),
    )


def _spread(row: Row, item: SessionFigures, centre: float, unit: numbers.Unit) -> Spec:
    """Return a session's figures in per cent around its build's median, which stands beside the build's name."""
    times = {"median": item.median_ns, "q25": item.q25_ns, "q75": item.q75_ns, "p90": item.p90_ns}
    shown = {key: None if value is None else 100 * (value / centre - 1) for key, value in times.items()}
    named = vega.names(row)
    return named | shown | {"session": item.index + 1, "build": f"{named['build']}\n{unit.show(centre)}"}


_PARTS = ("cold load", "first inference")


def _first_result(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    if not done:
        return None
    unit = numbers.time_unit(item.load_cold_ns + item.first_ns for _, item in done)
    values = [
        vega.names(row) | {"part": part, "at": at, "time": value / unit.scale}
        for row, item in done
        for at, (part, value) in enumerate(zip(_PARTS, (item.load_cold_ns, item.first_ns), strict=True))
    ]
    part = {"field": "part", "type": "nominal", "legend": {"symbolType": "square"}}
    encoding = {
        **vega.bars(document),
        "x": vega.axis("time", f"Cold load and first inference, {unit.name}", zero=True),
        "opacity": part | {"scale": {"domain": _PARTS, "range": [0.9, 0.4]}},
        "order": {"field": "at", "type": "quantitative"},
    }
    bar = {"mark": {"type": "bar", "height": {"band": 0.62}}, "encoding": encoding}
    return Chart(
        title=f"Time to the first result{suffix}",
        summary=f"Loading the build in a fresh process, then one inference{suffix}: what a user waits for.",
        spec=vega.frame([bar], values, height={"step": 30}),
        columns=("Build", f"Cold load {unit.name}", f"Warm load {unit.name}", f"First inference {unit.name}"),
        rows=tuple(
            (row.build_id, *(unit.bare(value) for value in (item.load_cold_ns, item.load_warm_ns, item.first_ns)))
            for row, item in done
        ),
    )


def _memory(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    if not done:
        return None
    unit = numbers.memory_unit(item.peak_rss_kb for _, item in done)
    values = [
        vega.names(row) | {"peak": item.peak_rss_kb / unit.scale, "text": unit.bare(item.peak_rss_kb)}
        for row, item in done
    ]
    x = vega.axis("peak", f"Peak resident memory, {unit.name}", zero=True)
    return Chart(
        title=f"Peak memory{suffix}",
        summary=f"Largest resident size of the runner's process{suffix}, runtime included.",
        spec=vega.frame(vega.labelled_bars(document, x), values, height={"step": 30}),
        columns=("Build", f"Peak {unit.name}", f"Added by loading {unit.name}"),
        rows=tuple((row.build_id, unit.bare(item.peak_rss_kb), unit.bare(item.model_rss_kb)) for row, item in done),
    )


def _outputs(document: Document) -> Chart | None:
    """Draw the SQNR of each output; an infinite one has no length and stands in the table alone."""
    found = [(build, output) for build in document.builds for output in build.outputs]
    finite = [(build, output) for build, output in found if math.isfinite(output.sqnr_db)][: 2 * MOST_BUILDS]
    if not finite:
        return None
    many = len({output.output for _, output in found}) > 1
    values = [
        {
            "target": numbers.visible(build.target),
            "build": numbers.visible(build.id),
            "output": numbers.visible(output.output),
            "sqnr": output.sqnr_db,
            "text": f"{output.sqnr_db:.0f}  {numbers.visible(output.output)}" if many else f"{output.sqnr_db:.0f}",
        }
        for build, output in finite
    ]
    x = vega.axis("sqnr", "SQNR, dB", zero=True)
    step = {"step": 16, "for": "offset"} if many else {"step": 30}
    return Chart(
        title="Outputs against the float model",
        summary="Signal over error energy of each output: longer is closer. Outputs that are exact are left out.",
        spec=vega.frame(vega.labelled_bars(document, x, part="output" if many else ""), values, height=step),
        columns=("Build", "Output", "SQNR", "Cosine", "Max abs"),
        rows=tuple(
            (build.id, item.output, numbers.decibel(item.sqnr_db), f"{item.cosine:.5f}", numbers.digits(item.max_abs))
            for build, item in found
        ),
    )
