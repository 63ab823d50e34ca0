"""The figures for a spreadsheet: plain numbers with their unit in the column's name or beside them.

A run has a line a row of its matrix, a comparison one a change, a history one a run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mobile_harness.comparer import BuildComparison, CellComparison, Change, Comparison
from mobile_harness.records.state import Energy
from mobile_harness.reports.base import Accuracy, Document, HistoryDocument, Performance, Row

SUFFIX = ".csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(document: Document) -> str:
    """Return the matrix as comma-separated values with a header line."""
    return _table(COLUMNS, (dict(_cells(document, row)) for row in document.rows))


def render_comparison(comparison: Comparison) -> str:
    """Return every change as comma-separated values with a header line; cells without any have a line, too."""
    lines = [line for cell in comparison.cells for line in _cell_changes(comparison, cell)]
    lines += [line for build in comparison.builds for line in _build_changes(comparison, build)]
    return _table(CHANGE_COLUMNS, lines)


def render_history(history: HistoryDocument) -> str:
    """Return every run of every trend as comma-separated values with a header line."""
    return _table(HISTORY_COLUMNS, _points(history))


def _table(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    page = io.StringIO()
    writer = csv.DictWriter(page, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return page.getvalue()


def _cells(document: Document, row: Row) -> Iterator[tuple[str, object]]:
    device, failure = row.device, row.failure
    yield "run", _text(document.run_id)
    yield "device", _text(row.device_name)
    yield "kind", device.kind if device else ""
    yield "build", _text(row.build_id)
    yield "target", _text(row.target)
    yield "recipe", _text(row.recipe)
    yield "advised", int(row.advised)
    yield "outcome", row.outcome
    yield "size_bytes", row.size_bytes
    yield "size_ratio", row.size_ratio
    yield from _accuracy(row.accuracy)
    yield "verdict", row.verdict
    yield from _performance(row.performance)
    if isinstance(row.energy, Energy):
        yield "energy_uj", row.energy.per_inference_uj
        yield "energy_method", row.energy.method
    yield "failure", _text(f"{failure.kind}: {failure.message}") if failure else ""
    yield "doubts", _text(" | ".join(doubt.message for doubt in row.doubts))
    yield "verdict_reason", _text(row.verdict_reason)
    yield "notes", _text(" | ".join(document.notes))


def _accuracy(accuracy: Accuracy | None) -> Iterator[tuple[str, object]]:
    if accuracy is None:
        return
    yield "metric", _text(accuracy.metric)
    yield "value", accuracy.value
    yield "float_value", accuracy.float_value
    yield "drop", accuracy.drop
    yield "drop_low", accuracy.drop_interval.low
    yield "drop_high", accuracy.drop_interval.high
    yield "confidence", accuracy.drop_interval.confidence
    yield "samples", accuracy.samples


def _performance(done: Performance | None) -> Iterator[tuple[str, object]]:
    if done is None:
        return
    yield "median_ns", None if done.median_ns is None else round(done.median_ns)
    if done.interval:
        yield "median_low_ns", round(done.interval.low)
        yield "median_high_ns", round(done.interval.high)
    yield "p90_ns", done.p90_ns
    yield "p99_ns", done.p99_ns
    yield "load_cold_ns", done.load_cold_ns
    yield "load_warm_ns", done.load_warm_ns
    yield "first_ns", done.first_ns
    yield "peak_rss_kb", done.peak_rss_kb
    yield "pss_kb", done.pss_kb
    yield "sessions", len(done.sessions)
    yield "runs", done.runs


COLUMNS = (
    "run", "device", "kind", "build", "target", "recipe", "advised", "outcome", "size_bytes", "size_ratio",
    "metric", "value", "float_value", "drop", "drop_low", "drop_high", "confidence", "samples", "verdict",
    "median_ns", "median_low_ns", "median_high_ns", "p90_ns", "p99_ns", "load_cold_ns", "load_warm_ns", "first_ns",
    "peak_rss_kb", "sessions", "runs", "failure", "doubts", "verdict_reason", "notes",
    "pss_kb", "energy_uj", "energy_method",
)  # fmt: skip


def _cell_changes(comparison: Comparison, cell: CellComparison) -> Iterator[dict[str, object]]:
    names: dict[str, object] = {
        "base": _text(comparison.base.id),
        "head": _text(comparison.head.id),
        "device": _text(cell.device.model),
        "serial": _text(cell.device.serial),
        "kind": cell.device.kind,
        "build": _text(cell.build_id),
        "target": _text(cell.target),
        "recipe": _text(cell.recipe),
        "status": cell.status,
    }
    reason = _text(cell.reason)
    if not cell.changes:
        yield names | {"reason": reason}
    for change in cell.changes:
        yield names | _change(change)


def _build_changes(comparison: Comparison, build: BuildComparison) -> Iterator[dict[str, object]]:
    names: dict[str, object] = {
        "base": _text(comparison.base.id),
        "head": _text(comparison.head.id),
        "build": _text(build.build_id),
        "target": _text(build.target),
        "recipe": _text(build.recipe),
        "status": "same file" if build.same_file else "compared",
    }
    for change in build.changes:
        yield names | _change(change)


def _change(change: Change) -> dict[str, object]:
    return {
        "metric": change.metric,
        "unit": change.unit,
        "before": change.before,
        "after": change.after,
        "effect": change.effect,
        "low": change.low,
        "high": change.high,
        "verdict": change.verdict,
        "method": change.method,
        "p": change.p,
        "p_adjusted": change.p_adjusted,
        "detectable": change.detectable,
        "sessions_before": change.sessions_before,
        "sessions_after": change.sessions_after,
        "sessions_needed": change.sessions_needed,
        "gates": int(change.gates),
        "reason": _text(change.reason),
    }


CHANGE_COLUMNS = (
    "base", "head", "device", "serial", "kind", "build", "target", "recipe", "status", "metric", "unit", "before",
    "after", "effect", "low", "high", "verdict", "method", "p", "p_adjusted", "detectable", "sessions_before",
    "sessions_after", "sessions_needed", "gates", "reason",
)  # fmt: skip


def _points(history: HistoryDocument) -> Iterator[dict[str, object]]:
    for trend in history.trends:
        for point in trend.points:
            yield {
                "model": _text(trend.model),
                "build": _text(trend.build_id),
                "device": _text(trend.device.model),
                "serial": _text(trend.device.serial),
                "kind": trend.device.kind,
                "run": _text(point.run_id),
                "started_utc": _text(point.created_utc),
                "median_ns": round(point.median_ns),
                "low_ns": None if point.low_ns is None else round(point.low_ns),
                "high_ns": None if point.high_ns is None else round(point.high_ns),
                "sessions": point.sessions,
                "step": point.step,
                "step_p": point.step_p,
                "changed": _text("; ".join(point.changed)),
            }


HISTORY_COLUMNS = (
    "model", "build", "device", "serial", "kind", "run", "started_utc", "median_ns", "low_ns", "high_ns", "sessions",
    "step", "step_p", "changed",
)  # fmt: skip


def _text(name: str) -> str:
    """Return a name that a spreadsheet takes as text and not as a formula."""
    shown = name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "")
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
