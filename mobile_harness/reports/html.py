"""The report as one HTML file: the advice, the matrix, the charts, and where everything comes from.

The file needs nothing but itself: style, script and charts are inside, and its content security policy allows just that
style and that script, by their hashes, so that nothing a name smuggles in could run or load.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from mobile_harness.reports import _charts, _layers, _vega
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports.base import Accuracy, Advice, BuildFacts, Document, Performance, Row
from toolkit.core import resources

SUFFIX = ".html"
MARKS = {"pass": "✓", "fail": "✕", "undecided": "?", "unchecked": "–"}

Pairs = tuple[tuple[str, str], ...]


def render(document: Document) -> str:
    """Return the whole page."""
    style, script = _template_file("report.css"), _template_file("report.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template("report.html.j2")
    return page.render(
        document=document,
        policy=policy,
        style=Markup(style),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        marks=MARKS,
        decisions=words.DECISIONS,
        **_top(document),
        **_matrix(document),
        **_details(document),
    )


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(resources.folder("templates") / "reports")
    made = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    made.filters["visible"] = numbers.visible
    return made


@functools.cache
def _template_file(name: str) -> str:
    return (resources.folder("templates") / "reports" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


@dataclass(frozen=True, slots=True)
class Card:
    """An advice with its key figures: name, figure and a note on each."""

    advice: Advice
    figures: tuple[tuple[str, str, str], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the matrix."""

    title: str
    unit: str
    numeric: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in the matrix: as shown, a smaller note below it, what it sorts by, and the class of its chip if any."""

    figure: str
    note: str = ""
    sort: float | None = None
    chip: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the matrix; ``doubts`` are the numbers of the doubts listed below it."""

    row: Row
    figures: tuple[Figure, ...]
    verdict: str
    doubts: tuple[int, ...]


def _top(document: Document) -> dict[str, Any]:
    head, _, rest = document.where.partition(":")
    targets = sorted({advice.target for advice in document.headline} | {row.target for row in document.rows})
    plan = f"plan {document.plan.name}, {numbers.count(document.plan.sessions, 'session')}"
    devices = numbers.count(len(document.devices), "device")
    return {
        "meta": (words.moment(document.created_utc), f"run {document.run_id}", plan, devices),
        "where": (f"{head}:", rest) if rest else (document.where, ""),
        "only_phones": {device.kind for device in document.devices} == {"phone"},
        "cards": tuple(_card(document, advice) for advice in document.headline),
        "series": {target: f"s{at % len(_vega.SERIES)}" for at, target in enumerate(targets)},
    }


def _card(document: Document, advice: Advice) -> Card:
    rows = [row for row in document.rows if row.build_id == advice.build_id]
    figures = tuple(_key_figures(rows)) if rows else ()
    reason = advice.reason[:1].upper() + advice.reason[1:]
    return Card(advice, figures, f"{reason}." if reason else "")


def _key_figures(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    row = next((row for row in rows if row.performance and row.device and row.device.kind == "phone"), None)
    row = row or next((row for row in rows if row.performance), rows[0])
    note = f"{numbers.ratio(row.size_ratio)} smaller" if (row.size_ratio or 0) > 1 else ""
    yield "Size", numbers.size_unit([row.size_bytes]).show(row.size_bytes), note
    if row.accuracy:
        drop = f"{numbers.metric_change(row.accuracy, row.accuracy.drop)} drop"
        yield numbers.metric_name(row.accuracy), numbers.metric_value(row.accuracy, row.accuracy.value), drop
    if row.performance and row.device:
        median = row.performance.median_ns
        place = row.device_name if row.device.kind == "phone" else f"{row.device.kind}, not a phone"
        place = "stand-in runtime" if row.performance.stand_in else place
        yield "Median", numbers.time_unit([median]).show(median), place
    else:
        yield "Median", numbers.NONE, words.OUTCOMES[row.outcome]


def _matrix(document: Document) -> dict[str, Any]:
    units = words.units_of(document)
    doubts = words.doubts(document)
    keys = dict.fromkeys(words.doubt_key(doubt) for row in document.rows for doubt in row.doubts)
    places = {key: at for at, key in enumerate(keys, start=1)}
    return {
        "columns": tuple(_columns(document, units)),
        "lines": tuple(_line(row, units, places) for row in document.rows),
        "device_names": tuple(dict.fromkeys(row.device_name for row in document.rows if row.device)),
        "doubts": tuple((doubt, "; ".join(about)) for doubt, about in doubts),
        "problems": tuple(_problems(document)),
        "matrix_note": _matrix_note(document),
    }


def _matrix_note(document: Document) -> str:
    accuracies = [row.accuracy for row in document.rows if row.accuracy]
    note = (
        f"Small figures are {words.confidences(accuracies)} intervals, the size against float32 and the samples scored."
    )
    if any(row.performance and row.performance.stand_in for row in document.rows):
        note += " Stand-in: another runtime executed the build here, so its times and memory are not the build's."
    return note


def _columns(document: Document, units: words.Units) -> Iterator[Column]:
    accuracies = [row.accuracy for row in document.rows if row.accuracy]
    points = "pp" if accuracies and all(accuracy.fraction for accuracy in accuracies) else ""
    yield Column("Build", "", numeric=False)
    yield Column("Device", "", numeric=False)
    yield Column("Size", units.size.name, numeric=True)
    yield Column(words.metric_names(document), "", numeric=True)
    yield Column("Drop", points, numeric=True)
    yield Column("Verdict", "", numeric=False)
    for title in ("Median", "p90", "p99"):
        yield Column(title, units.latency.name, numeric=True)
    yield Column("Load", units.load.name, numeric=True)
    yield Column("First run", units.first.name, numeric=True)
    yield Column("Peak", units.memory.name, numeric=True)
    yield Column("Doubts", "", numeric=True)


def _line(row: Row, units: words.Units, places: dict[str, int]) -> Line:
    ratio = numbers.ratio(row.size_ratio) if row.size_ratio else ""
    figures = (
        Figure(units.size.bare(row.size_bytes), ratio, row.size_bytes),
        *_accuracy_figures(row.accuracy),
        *_performance_figures(row, units),
    )
    numbered = tuple(sorted({places[words.doubt_key(doubt)] for doubt in row.doubts}))
    return Line(row, figures, row.verdict or "unchecked", numbered)


def _accuracy_figures(accuracy: Accuracy | None) -> tuple[Figure, Figure]:
    if accuracy is None:
        return Figure(numbers.NONE), Figure(numbers.NONE)
    value = numbers.metric_value(accuracy, accuracy.value)
    drop = numbers.metric_change(accuracy, accuracy.drop, unit=False)
    interval = numbers.metric_interval(accuracy, unit=False)
    return Figure(value, f"n {accuracy.samples:,}", accuracy.value), Figure(drop, interval, accuracy.drop)


def _performance_figures(row: Row, units: words.Units) -> Iterator[Figure]:
    done = row.performance
    if done is None:
        chip = "fail" if row.outcome == "failed" else "unchecked"
        yield Figure(words.OUTCOMES[row.outcome], row.failure.kind if row.failure else "", chip=chip)
        yield from (Figure(numbers.NONE) for _ in range(5))
        return
    yield Figure(units.latency.bare(done.median_ns), _spread(done, units.latency), done.median_ns)
    yield Figure(units.latency.bare(done.p90_ns), "", done.p90_ns)
    yield Figure(units.latency.bare(done.p99_ns), "", done.p99_ns)
    yield Figure(units.load.bare(done.load_cold_ns), f"{units.load.bare(done.load_warm_ns)} warm", done.load_cold_ns)
    yield Figure(units.first.bare(done.first_ns), "", done.first_ns)
    yield Figure(units.memory.bare(done.peak_rss_kb), "", done.peak_rss_kb)


def _spread(done: Performance, unit: numbers.Unit) -> str:
    if done.stand_in:
        return "stand-in"
    if done.median_ns is None:
        return "too few runs"
    return f"{unit.bare(done.interval.low)} to {unit.bare(done.interval.high)}" if done.interval else "one session"


def _problems(document: Document) -> Iterator[tuple[str, str, str, str]]:
    for row in document.rows:
        if row.outcome == "failed" and row.failure:
            yield row.failure.kind, words.row_name(row), row.failure.message, row.failure.hint
        elif words.failure_words(row):
            yield row.outcome, words.row_name(row), words.failure_words(row), ""
    for build, what, reason in words.verdict_reasons(document):
        yield what, build, reason, ""
    for item in document.failed_builds:
        log = f"Its log: {item.log}" if item.log else ""
        yield "not built", f"{item.target} {item.recipe}", item.error, log
    for missing in document.not_expressible:
        yield "not expressible", f"{missing.target} {missing.recipe}", missing.reason, ""


def _details(document: Document) -> dict[str, Any]:
    made = _charts.charts(document)
    devices = _charts.chart_devices(document)
    left = len({row.device_name for row in document.rows if row.performance}) - len(devices)
    note = f"Charts show {' and '.join(devices)}; the matrix has {numbers.count(left, 'more device')}." if left else ""
    return {
        "charts": _drawn(made),
        "layers": _drawn(_layers.charts(document)),
        "layers_title": _layers.TITLE,
        "layers_summary": _layers.SUMMARY,
        "layers_notes": tuple(_layers.notes(document)),
        "charts_note": note,
        "source": _source(document),
        "builds": tuple(_build(build) for build in document.builds),
        "method": _method(document),
        "notes": words.NOTES,
    }


def _drawn(charts: Sequence[_charts.Chart]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "title": chart.title,
            "summary": chart.summary,
            "svg": Markup(_vega.draw(chart.spec, label=f"{chart.title}. {chart.summary}")),  # noqa: S704
            "columns": chart.columns,
            "rows": chart.rows,
        }
        for chart in charts
    )


def _source(document: Document) -> Pairs:
    source = document.source
    facts = [
        ("Model", f"{source.path} ({source.format})"),
        ("Model sha256", source.sha256),
        ("Signature", words.signature_words(source.signature)),
        ("Preprocessing", words.preprocess_words(document.preprocess)),
        ("Calibration", words.data_words(document.calibration)),
        ("Verification", words.data_words(document.verification)),
    ]
    for name, data in (("Calibration sha256", document.calibration), ("Verification sha256", document.verification)):
        if data:
            facts.append((name, data.sha256))
    return (*facts, ("Folder", document.build_dir))


def _build(build: BuildFacts) -> dict[str, Any]:
    facts = [
        ("File", build.path),
        ("sha256", build.sha256),
        ("Needs", words.needs_words(build)),
        ("Signature", words.signature_words(build.signature)),
        ("Toolchain", words.tools_words(build.toolchain)),
    ]
    if build.accuracy:
        facts.append(("Score", f"{build.accuracy.metric}, {build.accuracy.method}, n = {build.accuracy.samples:,}"))
    if build.golden_sha256:
        facts.append(("Golden sha256", build.golden_sha256))
    facts += [("Kept in float", f"{kept.layer}: {kept.reason}") for kept in build.kept_float]
    outputs = [
        (item.output, numbers.decibel(item.sqnr_db), f"{item.cosine:.5f}", numbers.digits(item.max_abs))
        for item in build.outputs
    ]
    return {
        "name": build.id,
        "target": build.target,
        "recipe": build.recipe,
        "sha": numbers.short_sha(build.sha256),
        "facts": tuple(facts),
        "outputs": tuple(outputs),
    }


def _method(document: Document) -> Pairs:
    devices = [
        (f"Device ({device.kind})", f"{device.model}: {words.device_words(device)}") for device in document.devices[:20]
    ]
    left = len(document.devices) - len(devices)
    more = [("Devices", f"and {left} more, in the matrix")] if left else []
    runtimes = dict.fromkeys(f"{row.runtime} {row.runtime_version}" for row in document.rows if row.performance)
    return (
        ("Plan", words.plan_words(document.plan)),
        ("Warm-up", words.warmup_words(document.plan)),
        *devices,
        *more,
        ("Runtimes", ", ".join(runtimes) or "none ran"),
        ("Toolchain", words.tools_words(document.toolchain)),
    )
