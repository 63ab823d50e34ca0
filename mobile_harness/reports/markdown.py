"""The report as Markdown, short enough for a comment on a pull request; details fold away."""

from __future__ import annotations

from collections.abc import Iterator

from mobile_harness.comparer import Comparison
from mobile_harness.reports import _layers as layers
from mobile_harness.reports import _markdown_changes
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports._markdown import escape, fit, table
from mobile_harness.reports.base import Accuracy, BuildFacts, Document, HistoryDocument, Performance, Row

SUFFIX = ".md"
_LAYER_WIDTH = 60


def render(document: Document) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    folds = (
        ("Outputs against the float model", _outputs(document)),
        (layers.TITLE, _layers(document)),
        ("Download time", _downloads(document)),
        ("Where the builds come from", _provenance(document)),
    )

    def shown(most: int) -> Iterator[str]:
        yield f"### {escape(document.model)}: which build to ship"
        yield _headline(document)
        yield f"**{escape(document.where)}** {_caption(document)}"
        yield "\n\n".join(f"**{escape(note)}**" for note in document.notes)
        yield _matrix(document, most)
        yield _problems(document, most)

    return fit(shown, folds)


def render_comparison(comparison: Comparison) -> str:
    """Return a comparison as GitHub-flavoured Markdown."""
    return _markdown_changes.comparison(comparison)


def render_history(history: HistoryDocument) -> str:
    """Return the trends as GitHub-flavoured Markdown."""
    return _markdown_changes.history(history)


def _headline(document: Document) -> str:
    lines = []
    for advice in document.headline:
        figures = f" <sub>{escape(advice.figures)}</sub>" if advice.figures else ""
        title = f"{advice.target}: {advice.title}"
        lines.append(f"- **{escape(title)}**: {escape(advice.reason)}.{figures}")
    return "\n".join(lines) or "No builds."


def _caption(document: Document) -> str:
    when = words.moment(document.created_utc)
    return f"Run {escape(document.run_id)}, {escape(when)}, plan {escape(words.plan_words(document.plan))}."


def _matrix(document: Document, most: int) -> str:
    units = words.units_of(document)
    accuracies = [row.accuracy for row in document.rows if row.accuracy]
    points = " pp" if all(accuracy.fraction for accuracy in accuracies) else ""
    head = (
        *("Build", "Device", f"Size {units.size.name}", "vs float32", words.metric_names(document)),
        *(f"Drop{points} ({words.confidences(accuracies)})", "Verdict", f"Median {units.latency.name}"),
        *(f"p90 {units.latency.name}", f"Load {units.load.name}", f"Peak {units.memory.name}"),
    )
    lines = [_line(row, units) for row in document.rows[:most]]
    left = len(document.rows) - len(lines)
    more = f"\n\n{numbers.count(left, 'more row')}: see the JSON, CSV or HTML report." if left else ""
    return table(head, lines, left_columns=2) + more if lines else ""


def _line(row: Row, units: words.Units) -> tuple[str, ...]:
    done = row.performance
    return (
        row.build_id + (" ★" if row.advised else ""),
        f"{row.device_name} ({row.device.kind})" if row.device else numbers.NONE,
        units.size.bare(row.size_bytes),
        numbers.ratio(row.size_ratio),
        _value(row),
        _drop(row.accuracy),
        row.verdict or "unchecked",
        _median(done, units.latency) if done else words.OUTCOMES[row.outcome],
        units.latency.bare(done.p90_ns if done else None),
        units.load.bare(done.load_cold_ns if done else None),
        units.memory.bare(done.peak_rss_kb if done else None),
    )


def _value(row: Row) -> str:
    return numbers.metric_value(row.accuracy, row.accuracy.value) if row.accuracy else numbers.NONE


def _drop(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return numbers.NONE
    drop = numbers.metric_change(accuracy, accuracy.drop, unit=False)
    return f"{drop} ({numbers.metric_interval(accuracy, unit=False)})"


def _median(done: Performance, unit: numbers.Unit) -> str:
    if done.median_ns is None:
        return f"{numbers.NONE} (too few runs)"
    if done.stand_in:
        return f"{unit.bare(done.median_ns)} (stand-in)"
    spread = f" ({unit.bare(done.interval.low)} to {unit.bare(done.interval.high)})" if done.interval else ""
    return unit.bare(done.median_ns) + spread


def _problems(document: Document, most: int) -> str:
    lines = [
        f"- {escape(words.row_name(row))}: {escape(words.failure_words(row))}"
        for row in document.rows
        if words.failure_words(row)
    ]
    lines += [f"- {escape(f'{build} {what}: {reason}')}" for build, what, reason in words.verdict_reasons(document)]
    lines += [
        f"- {escape(f'{item.target} {item.recipe} was not built: {item.error}')}" for item in document.failed_builds
    ]
    lines += [
        f"- {escape(f'{item.target} cannot express {item.recipe}: {item.reason}')}" for item in document.not_expressible
    ]
    for doubt, where in words.doubts(document):
        lines.append(f"- Doubt: {escape(doubt)} ({escape(', '.join(where))})")
    left = len(lines) - most
    more = [f"- {numbers.count(left, 'more line')}: see the HTML report."] if left > 0 else []
    return "\n".join(["**What failed, and what to doubt**", "", *lines[:most], *more]) if lines else ""


def _outputs(document: Document) -> str:
    lines = [
        (
            build.id,
            output.output,
            numbers.decibel(output.sqnr_db),
            f"{output.cosine:.5f}",
            numbers.digits(output.max_abs),
        )
        for build in document.builds
        for output in build.outputs
    ]
    return table(("Build", "Output", "SQNR", "Cosine", "Max abs"), lines, left_columns=2) if lines else ""


def _layers(document: Document) -> str:
    lines = [
        (build.id, layers.short_name(error.layer, _LAYER_WIDTH), error.operator, numbers.decibel(error.sqnr_db))
        for build in document.builds
        for error in layers.worst(build)
    ]
    shown = table(("Build", "Layer", "Operator", "SQNR"), lines, left_columns=3) if lines else ""
    noted = [f"- {escape(f'{name}: not measured, {note}')}" for name, note in layers.notes(document)]
    parts = (shown, "\n".join(noted))
    return "\n\n".join(filter(None, (layers.SUMMARY, *parts))) if any(parts) else ""


def _downloads(document: Document) -> str:
    if not document.downloads:
        return ""
    heads, rows = words.download_table(document)
    shown = table(heads, rows, left_columns=1)
    return f"{shown}\n\nOf {escape(document.downloads_note)}"


def _provenance(document: Document) -> str:
    facts = [
        ("source", f"{document.source.path} ({document.source.format}, sha256 {document.source.sha256})"),
        ("preprocessing", words.preprocess_words(document.preprocess)),
        ("calibration", words.data_words(document.calibration)),
        ("verification", words.data_words(document.verification)),
        ("toolchain", words.tools_words(document.toolchain)),
    ]
    lines = [f"- {name}: {escape(fact)}" for name, fact in facts]
    lines += [line for build in document.builds for line in _build_lines(build)]
    return "\n".join(lines)


def _build_lines(build: BuildFacts) -> Iterator[str]:
    yield f"- {escape(build.id)}: sha256 {escape(build.sha256)}; needs {escape(words.needs_words(build))}"
    for kept in build.kept_float:
        yield f"  - kept in float: {escape(kept.layer)} ({escape(kept.reason)})"
