"""The HTML page of one run: the advice, the heat map, the matrix, the charts, and where everything comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mobile_harness.records.state import Energy, Unavailable
from mobile_harness.reports import _charts, _heat_map, _layers, _matrix, _page, _precision
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports._chart_resources import METHODS
from mobile_harness.reports.base import Advice, BuildFacts, Document, Row

Pairs = tuple[tuple[str, str], ...]


def render(document: Document) -> str:
    """Return the whole page."""
    return _page.page(
        "run.html.j2",
        document=document,
        palmtop=document.palmtop,
        decisions=words.DECISIONS,
        outcomes=words.OUTCOMES,
        scale=_heat_map.scale_words(),
        advised={row.build_id for row in document.rows if row.advised},
        heat_map=_heat_map.heat_map(document),
        charts=_page.drawn(_charts.charts(document)),
        layers=_page.drawn(_layers.charts(document)),
        precision=_page.drawn(_precision.charts(document)),
        precision_words=(_precision.TITLE, _precision.summary(document)),
        **_top(document),
        **_matrix.matrix(document),
        problems=tuple(_problems(document)),
        **_details(document),
    )


@dataclass(frozen=True, slots=True)
class Card:
    """An advice with its key figures: name, figure and a note on each."""

    advice: Advice
    figures: tuple[tuple[str, str, str], ...]
    reason: str


def _top(document: Document) -> dict[str, Any]:
    head, _, rest = document.where.partition(":")
    targets = [*(advice.target for advice in document.headline), *(row.target for row in document.rows)]
    plan = f"plan {document.plan.name}, {numbers.count(document.plan.sessions, 'session')}"
    devices = numbers.count(len(document.devices), "device")
    return {
        "meta": (words.moment(document.created_utc), f"run {document.run_id}", plan, devices),
        "where": (f"{head}:", rest) if rest else (document.where, ""),
        "only_phones": {device.kind for device in document.devices} == {"phone"},
        "cards": tuple(_card(document, advice) for advice in document.headline),
        "series": _page.series_of(targets),
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
    return {
        "layers_title": _layers.TITLE,
        "layers_summary": _layers.SUMMARY,
        "layers_notes": tuple(_layers.notes(document)),
        "layers_more": tuple(_layers_more(document)),
        "charts_note": _charts.note(document),
        "energy": tuple(_energy(document)),
        "downloads": _downloads(document),
        "source": _source(document),
        "builds": tuple(_build(build) for build in document.builds),
        "method": _method(document),
        "notes": words.NOTES,
    }


def _layers_more(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the builds whose layers get no chart, with their worst."""
    for build in _layers.left_out(document):
        worst = _layers.worst(build, 5)
        shown = (f"{_layers.short_name(item.layer)} ({numbers.decibel(item.sqnr_db)})" for item in worst)
        yield build.id, ", ".join(shown)


def _energy(document: Document) -> Iterator[tuple[str, str]]:
    """Yield how energy was taken, by which method, and why it was not, each with the rows it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    for row in document.rows:
        for said in _energy_words(row):
            about.setdefault(said, []).append(words.row_name(row))
    for (head, fact), rows in about.items():
        yield head, f"{fact} ({rows[0] if len(rows) == 1 else numbers.count(len(rows), 'row')})"


def _energy_words(row: Row) -> Iterator[tuple[str, str]]:
    if isinstance(row.energy, Unavailable):
        yield "Not measured", row.energy.reason
    elif isinstance(row.energy, Energy):
        scale = f", {row.energy.scale}" if row.energy.scale else ""
        yield METHODS[row.energy.method].capitalize(), f"above idle, the median over pairs of idle and load{scale}"
        yield from (("Not used", reason) for reason in row.energy.declined)


def _downloads(document: Document) -> dict[str, Any] | None:
    if not document.downloads:
        return None
    heads, rows = words.download_table(document)
    return {"note": f"Of {document.downloads_note}", "columns": heads, "rows": rows}


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
