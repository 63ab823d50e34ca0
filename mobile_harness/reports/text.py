"""The report for a terminal: plain text of at most 100 columns, no colours, one table a device."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from mobile_harness import comparer
from mobile_harness.comparer import Comparison
from mobile_harness.reports import _layers as layers
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports.base import Document, HistoryDocument, Performance, Row

SUFFIX = ".txt"
WIDTH = 100
NAME_WIDTH = 28
MOST_LAYERS = 3


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the matrix: ``rank`` says which go first where the line is too short (the highest)."""

    title: str
    cell: Callable[[Row], str]
    rank: int
    right: bool = True


def render(document: Document) -> str:
    """Return the report as plain text."""
    blocks = [_head(document), _headline(document), *_matrices(document), _key(document)]
    blocks += [_outputs(document), _layers(document), _problems(document)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def render_comparison(comparison: Comparison) -> str:
    """Return a comparison as plain text, as wide as its names need."""
    return _plain(comparer.text.render(comparison))


def render_history(history: HistoryDocument) -> str:
    """Return the trends as plain text, as wide as their names need."""
    lines = [*map(comparer.text.trend, history.trends), *(f"Left out: {why}" for why in history.damaged.values())]
    return _plain("\n".join(lines) or f"No run measured {history.build_id}.\n")


def _plain(text: str) -> str:
    """Return lines in which nothing is invisible; the spaces that align them stay."""
    return "".join(f"{numbers.visible(line)}\n" for line in text.splitlines())


def _head(document: Document) -> str:
    lines = [
        f"{document.model}: run {document.run_id}",
        f"{words.moment(document.created_utc)} · palmtop {document.palmtop} · plan {words.plan_words(document.plan)}",
        document.where,
        *document.notes,
    ]
    return "\n".join(_wrap(line) for line in lines)


def _headline(document: Document) -> str:
    lines = []
    for advice in document.headline:
        figures = f" [{advice.figures}]" if advice.figures else ""
        lines.append(_wrap(f"{advice.target}: {advice.sentence}{figures}", hang=4))
    return "\n".join(lines)


def _matrices(document: Document) -> Iterator[str]:
    if not document.rows:
        yield "No builds."
    columns = tuple(_columns(document))
    for name, group in groupby(document.rows, key=lambda row: row.device_name):
        rows = list(group)
        device = rows[0].device
        title = f"{name} [{device.kind}] {words.device_words(device)}" if device else "Not measured in this run"
        yield "\n".join([_wrap(title), *_table(columns, rows)])


def _table(columns: Sequence[_Column], rows: Sequence[Row]) -> list[str]:
    cells = [[numbers.visible(column.cell(row)) for column in columns] for row in rows]
    kept = _that_fit(columns, cells)
    widths = [max(_width(columns[at].title), *(_width(line[at]) for line in cells)) for at in kept]
    lines = []
    for line in ([column.title for column in columns], *cells):
        padded = (_pad(line[at], width, right=columns[at].right) for at, width in zip(kept, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return [lines[0], "-" * max(map(_width, lines)), *lines[1:]]


def _that_fit(columns: Sequence[_Column], cells: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns to keep so that a line is not longer than :data:`WIDTH`."""
    widths = [max(_width(column.title), *(_width(line[at]) for line in cells)) for at, column in enumerate(columns)]
    kept = [at for at, width in enumerate(widths) if any(line[at].strip("–") for line in cells) or not columns[at].rank]
    while sum(widths[at] + 2 for at in kept) - 2 > WIDTH and any(columns[at].rank for at in kept):
        kept.remove(max(kept, key=lambda at: columns[at].rank))
    return kept


def _columns(document: Document) -> Iterator[_Column]:
    units = words.units_of(document)
    accuracies = [row.accuracy for row in document.rows if row.accuracy]
    points = all(accuracy.fraction for accuracy in accuracies)
    drop = f"drop{' pp' if points else ''} ({words.confidences(accuracies)})"
    yield _Column("  build", _name, 0, right=False)
    yield _Column(f"size {units.size.name}", lambda row: units.size.bare(row.size_bytes), 1)
    yield _Column("ratio", lambda row: numbers.ratio(row.size_ratio), 6)
    yield _Column(words.metric_names(document), _value, 2)
    yield _Column(drop, _drop, 4)
    yield _Column("verdict", _verdict, 0, right=False)
    yield _Column(f"median {units.latency.name}", _figure(units.latency, lambda done: done.median_ns), 0)
    yield _Column(f"mean {units.latency.name}", _figure(units.latency, _mean), 6)
    yield _Column(f"p90 {units.latency.name}", _figure(units.latency, lambda done: done.p90_ns), 7)
    yield _Column(f"p99 {units.latency.name}", _figure(units.latency, lambda done: done.p99_ns), 8)
    yield _Column(f"load {units.load.name}", _figure(units.load, lambda done: done.load_cold_ns), 5)
    yield _Column(f"peak {units.memory.name}", _figure(units.memory, lambda done: done.peak_rss_kb), 3)


def _name(row: Row) -> str:
    stand_in = " †" if row.performance and row.performance.stand_in else ""
    return ("* " if row.advised else "  ") + _clip(row.build_id) + stand_in


def _figure(unit: numbers.Unit, pick: Callable[[Performance], float | None]) -> Callable[[Row], str]:
    return lambda row: unit.bare(pick(row.performance) if row.performance else None)


def _mean(done: Performance) -> float | None:
    """Return a native tool's average, where it prints no median."""
    return done.mean_ns if done.median_ns is None else None


def _value(row: Row) -> str:
    return numbers.metric_value(row.accuracy, row.accuracy.value) if row.accuracy else numbers.NONE


def _drop(row: Row) -> str:
    if row.accuracy is None:
        return numbers.NONE
    change = numbers.metric_change(row.accuracy, row.accuracy.drop, unit=False)
    return f"{change} ({numbers.metric_interval(row.accuracy, unit=False)})"


def _verdict(row: Row) -> str:
    return row.outcome if row.outcome in ("failed", "skipped") else row.verdict or "unchecked"


def _key(document: Document) -> str:
    marks = {
        "* advised": any(row.advised for row in document.rows),
        "† executed by a stand-in for the runtime, whose times and memory these are": any(
            row.performance is not None and row.performance.stand_in for row in document.rows
        ),
    }
    return "; ".join(mark for mark, used in marks.items() if used)


def _outputs(document: Document) -> str:
    lines = []
    for build in document.builds:
        if build.outputs:
            worst = min(build.outputs, key=lambda output: output.sqnr_db)
            of = f"worst of {len(build.outputs)}, " if build.outputs[1:] else ""
            errors = f"cosine {worst.cosine:.5f}, max abs {numbers.digits(worst.max_abs)}"
            lines.append(f"  {build.id}: {numbers.decibel(worst.sqnr_db)} ({of}{worst.output}), {errors}")
    return "\n".join(["Outputs against the float model (SQNR)", *map(_wrap, lines)]) if lines else ""


def _layers(document: Document) -> str:
    lines = []
    for build in document.builds:
        shown = [
            f"{numbers.decibel(error.sqnr_db)} {layers.short_name(error.layer)} ({error.operator})"
            for error in layers.worst(build, MOST_LAYERS)
        ]
        if shown:
            lines.append(f"  {build.id}: {', '.join(shown)}")
    lines += [f"  {name}: not measured, {note}" for name, note in layers.notes(document)]
    head = f"{layers.TITLE} (SQNR, with the errors of the layers before)"
    return "\n".join([head, *(_wrap(line, hang=4) for line in lines)]) if lines else ""


def _problems(document: Document) -> str:
    lines = [f"{words.row_name(row)}: {words.failure_words(row)}" for row in document.rows if words.failure_words(row)]
    lines += [f"{build} {what}: {reason}" for build, what, reason in words.verdict_reasons(document)]
    lines += [f"{item.target} {item.recipe} was not built: {item.error}" for item in document.failed_builds]
    lines += [f"{item.target} cannot express {item.recipe}: {item.reason}" for item in document.not_expressible]
    lines += [f"doubt: {doubt} ({', '.join(where)})" for doubt, where in words.doubts(document)]
    wrapped = [_wrap(f"- {line}") for line in lines]
    return "\n".join(["What failed, and what to doubt", *wrapped]) if lines else ""


def _wrap(line: str, *, hang: int = 2) -> str:
    lines = textwrap.wrap(numbers.visible(line), WIDTH, subsequent_indent=" " * hang, break_on_hyphens=False)
    return "\n".join(lines)


def _clip(name: str) -> str:
    shown = numbers.visible(name)
    return shown if _width(shown) <= NAME_WIDTH else f"{shown[: NAME_WIDTH - 1]}…"


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - marks


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
