"""A comparison and a history as Markdown, short enough for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mobile_harness.comparer import CellComparison, Change, Comparison, Trend
from mobile_harness.reports import _changes as changes
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _trends as trends
from mobile_harness.reports._markdown import escape, fit, table
from mobile_harness.reports.base import HistoryDocument

_SIGNS = {
    "regressed": "🔺", "improved": "✅", "equivalent": "=", "inconclusive": "❔", "refused": "🚫", "unmeasured": "–",
}  # fmt: skip
_HEADS = ("", "Build", "Device", "Before", "After", "Change", "Interval", "Would find", "Sessions")
_QUIET = ("equivalent", "unmeasured")


def comparison(found: Comparison) -> str:
    """Return a comparison: what matters shows, what does not folds away."""
    loud = [cell for cell in changes.ordered(found.cells) if changes.word(cell) not in _QUIET]
    quiet = [cell for cell in changes.ordered(found.cells) if changes.word(cell) in _QUIET]
    meanings = [f"- {_SIGNS[word]} {word}: {escape(meaning)}" for word, meaning in changes.MEANINGS]
    folds = (
        (f"{numbers.count(len(quiet), 'cell')} equivalent or unmeasured", _cells(found, quiet, 100)),
        ("How to read this", "\n".join([*meanings, *(f"- {escape(note)}" for note in changes.NOTES)])),
    )

    def shown(most: int) -> Iterator[str]:
        head, words = changes.gate_words(found)
        yield f"### {escape(found.sentence)}"
        yield f"**{escape(head)}.** {escape(words)}"
        yield _about(found)
        yield _differences(found)
        yield _cells(found, loud, most)
        yield _files(found, most)
        yield _others(found, most)
        yield _remarks(found, most)

    return fit(shown, folds)


def _about(found: Comparison) -> str:
    criteria = found.criteria
    held = f"margin {100 * criteria.margin:g} %, {numbers.share(criteria.confidence)} intervals over sessions"
    runs = (("Base", found.base), ("Head", found.head))
    lines = [f"- {side}: {escape(changes.run_words(run))}" for side, run in runs]
    return "\n".join([f"Model {escape(found.head.model)}, {held}.", "", *lines])


def _differences(found: Comparison) -> str:
    lines = [
        f"- Not alike in {escape(item.sentence)}{', so nothing is compared' if item.refused else ''}"
        for item in found.differences
    ]
    return "\n".join(lines)


def _cells(found: Comparison, cells: list[CellComparison], most: int) -> str:
    names = changes.device_names(found)
    lines = [_cell(cell, names) for cell in cells[:most]]
    return _table(_HEADS, lines, len(cells) - len(lines)) if lines else ""


def _cell(cell: CellComparison, names: dict[str, str]) -> tuple[str, ...]:
    word, change = changes.word(cell), changes.latency(cell)
    head = (f"{_SIGNS[word]} {word}", cell.build_id, names[cell.device.serial] + changes.device_kind(cell.device))
    if change is None:
        return *head, *(numbers.NONE for _ in range(6))
    detectable, sessions = changes.detectable(change), changes.sessions(change)
    return *head, *_amounts(change), detectable, sessions


def _amounts(change: Change) -> tuple[str, str, str, str]:
    before, after = (changes.amount(value, change) for value in (change.before, change.after))
    return before, after, changes.effect(change), changes.effect_interval(change) or numbers.NONE


def _files(found: Comparison, most: int) -> str:
    lines = [
        (
            f"{_SIGNS[change.verdict]} {change.verdict}",
            build.build_id,
            changes.METRICS[change.metric],
            *_amounts(change),
        )
        for build, change in changes.build_changes(found)
        if change.metric == "accuracy" or change.before != change.after
    ]
    heads = ("", "Build", "Metric", "Before", "After", "Change", "Interval")
    return _table(heads, lines[:most], len(lines) - most) if lines else ""


def _others(found: Comparison, most: int) -> str:
    names = changes.device_names(found)
    lines = [
        (
            f"{_SIGNS[change.verdict]} {change.verdict}",
            f"{cell.build_id} on {names[cell.device.serial]}{changes.device_kind(cell.device)}",
            changes.METRICS[change.metric],
            *_amounts(change),
        )
        for cell, change in changes.others(found)
    ]
    heads = ("", "Cell", "Metric", "Before", "After", "Change", "Interval")
    return _table(heads, lines[:most], len(lines) - most) if lines else ""


def _table(heads: tuple[str, ...], lines: Iterable[tuple[str, ...]], left: int) -> str:
    more = f"\n\n{numbers.count(left, 'more row')}: see the HTML, CSV or JSON format." if left > 0 else ""
    return table(heads, lines, left_columns=3) + more


def _remarks(found: Comparison, most: int) -> str:
    every = changes.remarks(found)
    lines = []
    for said, about in every[:most]:
        names = f" ({changes.about_words(about)})" if about else ""
        lines.append(f"- {escape(said)}{escape(names)}")
    left = len(every) - len(lines)
    return "\n".join([*lines, *([f"- {numbers.count(left, 'more remark')}."] if left else [])])


def history(found: HistoryDocument) -> str:
    """Return the trends: a sentence each, and their latest runs folded away."""
    names = trends.device_names(found.trends)
    folds = tuple((f"Runs of {trends.place(trend, names)}", _runs(trend)) for trend in found.trends)

    def shown(most: int) -> Iterator[str]:
        yield f"### {escape(found.build_id)} over the runs"
        lines = [
            f"- **{escape(trends.place(trend, names))}**: {escape(trends.sentence(trend))}"
            for trend in found.trends[:most]
        ]
        lines += [f"- Left out: {escape(f'{run}: {why}')}" for run, why in list(found.damaged.items())[:most]]
        yield "\n".join(lines) or "No run measured it."

    return fit(shown, folds)


def _runs(trend: Trend) -> str:
    rows = [trends.row(point, trends.unit_of(trend)) for point in reversed(trend.points)]
    return _table(trends.HEADS, rows[:50], len(rows) - 50)
