"""Charts of time: how runs are distributed, how sessions differ, how latency goes over time, and the first result."""

from __future__ import annotations

from collections.abc import Sequence

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import INK, QUIET, Chart, Measured, Spec
from mobile_harness.reports.base import Document, Row, SessionFigures


def sessions(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw each session in per cent around its build's median."""
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
    lines = "split(datum.label, '\\n')"
    y["y"] = y["y"] | {
        "scale": {"paddingInner": 0.3, "paddingOuter": 0.15},
        "axis": {"labelExpr": f"[{vega.shortened(f'{lines}[0]')}, {lines}[1]]"},
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


def first_result(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw what a user waits for when the app starts."""
    parts = [
        (row, (item.load_cold_ns, item.first_ns))
        for row, item in done
        if item.load_cold_ns is not None and item.first_ns is not None
    ]
    if not parts:
        return None
    unit = numbers.time_unit(sum(values) for _, values in parts)
    values = [
        vega.names(row) | {"part": part, "at": at, "time": value / unit.scale}
        for row, times in parts
        for at, (part, value) in enumerate(zip(_PARTS, times, strict=True))
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


def distribution(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw how the runs of each build are distributed, as strips on one logarithmic axis."""
    found = [(row, item.distribution, item.median_ns) for row, item in done if item.distribution and item.median_ns]
    if not found:
        return None
    unit = numbers.time_unit(strip.high_ns for _, strip, _ in found)
    values = [
        vega.names(row) | {"low": low / unit.scale, "high": high / unit.scale, "share": count / max(strip.counts)}
        for row, strip, _ in found
        for low, high, count in zip(strip.edges_ns()[:-1], strip.edges_ns()[1:], strip.counts, strict=True)
        if count
    ]
    medians = [vega.names(row) | {"median": median / unit.scale} for row, _, median in found]
    scale = {"type": "log", "zero": False, "nice": False, "padding": 6}
    x = vega.axis("low", f"Latency of a run, {unit.name}") | {"scale": scale}
    opacity = {
        "field": "share",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, 1], "range": [0.12, 1]},
    }
    strips = {**vega.bars(document), "x": x, "x2": {"field": "high"}, "opacity": opacity}
    tick = {"type": "tick", "color": INK, "thickness": 2, "size": 24}
    place = {"y": vega.bars(document)["y"], "x": {**x, "field": "median"}}
    return Chart(
        title=f"Distribution of the latency{suffix}",
        summary=f"All runs of all sessions up to the 99th percentile{suffix}: the darker, the more. A tick is the "
        "median.",
        spec=vega.frame(
            [
                {"mark": {"type": "rect", "height": {"band": 0.62}}, "encoding": strips},
                {"data": {"values": medians}, "mark": tick, "encoding": place},
            ],
            values,
            height={"step": 30},
        ),
        columns=("Build", f"Fastest {unit.name}", f"Median {unit.name}", f"99th percentile {unit.name}", "Above it"),
        rows=tuple(
            (row.build_id, unit.bare(strip.low_ns), unit.bare(median), unit.bare(strip.high_ns), f"{strip.above:,}")
            for row, strip, median in found
        ),
    )


_TRACE_LEAST = 6


def over_time(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw how the latency went during each session, so that throttling shows as a line that climbs."""
    found = [
        (row, item.median_ns, [session for session in item.sessions if len(session.trace_ns) >= _TRACE_LEAST])
        for row, item in done
        if item.median_ns is not None
    ]
    found = [(row, median, sessions) for row, median, sessions in found if sessions]
    if not found:
        return None
    values = [
        vega.names(row) | {"session": session.index + 1, "at": at / 1e9, "change": 100 * (value / median - 1)}
        for row, median, sessions in found
        for session in sessions
        for at, value in zip(session.trace_at_ns, session.trace_ns, strict=True)
    ]
    changes = [value["change"] for value in values]
    y = {
        "field": "change",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [min(-5.0, *changes), max(10.0, *changes)], "nice": True},
        "axis": {"tickCount": 3, "labelExpr": "datum.value + ' %'"},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 1.3, "opacity": 0.75, "strokeJoin": "round"},
        "encoding": {
            "x": vega.axis("at", "Seconds of inference", zero=True),
            "y": y,
            "detail": {"field": "session", "type": "ordinal"},
            "color": vega.colour(document, legend=False),
        },
    }
    level = {"mark": {"type": "rule", "color": QUIET, "strokeDash": [2, 3]}, "encoding": {"y": {"datum": 0}}}
    return Chart(
        title=f"Latency over time{suffix}",
        summary=f"Each session from its start, in per cent of its build's median{suffix}. A line that climbs is a "
        "device that slows down as it warms up.",
        spec=vega.stacked([level, line], values, by="build", height=52),
        columns=("Build", "Session", "Seconds", "At the start", "At the end", "Change"),
        rows=tuple(
            (row.build_id, str(item.index + 1), *_drift(item, median))
            for row, median, sessions in found
            for item in sessions
        ),
    )


def _drift(item: SessionFigures, median: float) -> tuple[str, ...]:
    """Return how long a session took and its first and last fifth, in per cent of the build's median."""
    fifth = max(len(item.trace_ns) // 5, 1)
    start, end = (sorted(part)[len(part) // 2] for part in (item.trace_ns[:fifth], item.trace_ns[-fifth:]))
    shown = (
        numbers.signed_share(start / median),
        numbers.signed_share(end / median),
        numbers.signed_share(end / start),
    )
    return numbers.digits(item.trace_at_ns[-1] / 1e9), *(f"{word}{numbers.THIN}%" for word in shown)
