"""The matrix for a spreadsheet: one line a row, figures as plain numbers with their unit in the column's name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from mobile_harness.reports.base import Accuracy, Document, Performance, Row

SUFFIX = ".csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(document: Document) -> str:
    """Return the matrix as comma-separated values with a header line."""
    lines = [dict(_cells(document, row)) for row in document.rows]
    page = io.StringIO()
    writer = csv.DictWriter(page, fieldnames=COLUMNS, lineterminator="\n")
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
    yield "sessions", len(done.sessions)
    yield "runs", done.runs


COLUMNS = (
    "run", "device", "kind", "build", "target", "recipe", "advised", "outcome", "size_bytes", "size_ratio",
    "metric", "value", "float_value", "drop", "drop_low", "drop_high", "confidence", "samples", "verdict",
    "median_ns", "median_low_ns", "median_high_ns", "p90_ns", "p99_ns", "load_cold_ns", "load_warm_ns", "first_ns",
    "peak_rss_kb", "sessions", "runs", "failure", "doubts", "verdict_reason", "notes",
)  # fmt: skip


def _text(name: str) -> str:
    """Return a name that a spreadsheet takes as text and not as a formula."""
    shown = name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "")
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
