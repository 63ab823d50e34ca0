"""What changed between two runs, in the words and the order that all formats share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from mobile_harness.comparer import BuildComparison, CellComparison, Change, Comparison, RunRef
from mobile_harness.records import DeviceInfo
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words

METRICS: Final = {
    "latency": "median latency",
    "p90": "p90 latency",
    "load": "cold load",
    "memory": "peak memory",
    "energy": "energy",
    "size": "size",
    "accuracy": "accuracy",
}
MEANINGS: Final = (
    ("regressed", "slower or larger, and by more than chance explains"),
    ("improved", "faster or smaller, likewise"),
    ("equivalent", "the whole interval lies within the margin"),
    ("inconclusive", "these sessions cannot tell; how many would is said beside it"),
    ("refused", "not alike in something that matters; the list says in what"),
    ("unmeasured", "one of the runs has no figures"),
)
NOTES: Final = (
    (
        "The session, a fresh process, is the unit. A change is the ratio of the geometric means of session medians, "
        "its interval Welch's on logarithms."
    ),
    "All changes that may fail the gate share one false alarm rate (Holm). One that is inconclusive fails nothing.",
    "Would find: the least change that these sessions would have found four times in five.",
    "Devices are compared with themselves alone. Only phones' figures fail a gate unless --gate-kind says otherwise.",
)
_ORDER: Final = ("regressed", "improved", "inconclusive", "equivalent", "refused", "unmeasured")


def word(cell: CellComparison) -> str:
    """Return the verdict of a cell, or why it has none in one word."""
    return cell.verdict or cell.status


def ordered(cells: Iterable[CellComparison]) -> list[CellComparison]:
    """Return cells with what matters first: by verdict, those that may fail the gate, then the largest change."""
    return sorted(cells, key=lambda cell: (_ORDER.index(word(cell)), not cell.gates, -_size(latency(cell))))


def _size(change: Change | None) -> float:
    effect = change.effect if change else None
    return abs(math.log(effect)) if effect and effect > 0 and math.isfinite(effect) else 0.0


def latency(cell: CellComparison) -> Change | None:
    """Return the change of the median latency."""
    return next((change for change in cell.changes if change.metric == "latency"), None)


def others(comparison: Comparison) -> Iterator[tuple[CellComparison, Change]]:
    """Yield what changed besides latency, and every energy that either run has a figure of: it is never tested."""
    for cell in ordered(comparison.cells):
        yield from ((cell, change) for change in cell.changes if _taken(change) and _listed(change))


def _taken(change: Change) -> bool:
    return change.metric != "latency" and (change.before is not None or change.after is not None)


def _listed(change: Change) -> bool:
    return change.metric == "energy" or change.verdict in ("regressed", "improved")


def left_out(comparison: Comparison) -> int:
    """Return how many changes :func:`others` leaves out."""
    return sum(_taken(change) and not _listed(change) for cell in comparison.cells for change in cell.changes)


def device_names(comparison: Comparison) -> dict[str, str]:
    """Return a name for each device by its serial: its model, with the serial where two share it."""
    devices = {cell.device.serial: cell.device for cell in comparison.cells}
    models = Counter(device.model for device in devices.values())
    return {
        serial: device.model if device.model and models[device.model] == 1 else f"{device.model} {serial}".strip()
        for serial, device in devices.items()
    }


def device_kind(device: DeviceInfo) -> str:
    """Return the kind in brackets where it is no phone."""
    return "" if device.kind == "phone" else f" [{device.kind}]"


def amount(value: float | None, change: Change) -> str:
    """Return a figure of a change with the unit that suits both of its sides."""
    if value is None:
        return numbers.NONE
    both = (change.before, change.after)
    if change.unit == "share":
        return f"{numbers.digits(100 * value, 4)}{numbers.THIN}%"
    units = {
        "ns": numbers.time_unit,
        "kB": numbers.memory_unit,
        "uJ": numbers.energy_unit,
        "B": numbers.size_unit,
    }
    return units[change.unit](both).show(value) if change.unit in units else numbers.digits(value)


def effect(change: Change) -> str:
    """Return a change such as ``+5.2 %``, for accuracy ``−0.40 pp``."""
    if change.effect is None:
        return numbers.NONE
    shown = _effect(change, change.effect)
    return f"{shown}{_effect_unit(change)}"


def effect_interval(change: Change) -> str:
    """Return the interval of a change such as ``+3.1 to +7.4``, empty where there is none or nothing to tell."""
    if change.low is None or change.high is None or change.low == change.high:
        return ""
    return f"{_effect(change, change.low)} to {_effect(change, change.high)}"


def _effect(change: Change, value: float) -> str:
    if change.metric != "accuracy":
        return numbers.signed_share(value)
    shown = numbers.digits(100 * value if change.unit == "share" else value, 2)
    return shown if shown.startswith((numbers.MINUS, "0")) and not value > 0 else f"+{shown}"


def _effect_unit(change: Change) -> str:
    if change.metric != "accuracy":
        return f"{numbers.THIN}%"
    return f"{numbers.THIN}pp" if change.unit == "share" else ""


def detectable(change: Change) -> str:
    """Return the least change that would have been found, such as ``2.1 %``."""
    return numbers.share_of(change.detectable)


def sessions(change: Change) -> str:
    """Return the sessions on both sides, and how many a side would find a change of the margin's size."""
    taken = f"{change.sessions_before} / {change.sessions_after}"
    if change.verdict != "inconclusive" or change.sessions_needed is None:
        return taken
    return f"{taken}, needs {change.sessions_needed}"


def run_words(run: RunRef) -> str:
    """Return a run in a few words."""
    return f"{run.id}, {words.moment(run.created_utc)}, plan {run.plan}, {run.measured} of {run.cells} cells"


def gate_words(comparison: Comparison) -> tuple[str, str]:
    """Return whether a gate passes, and what it looked at."""
    gate = comparison.gate
    looked = f"It looked at {numbers.count(gate.looked_at, 'change')}."
    if gate.failed:
        return "The gate fails", f"{', '.join(gate.regressed)}. {looked} {gate.note}".strip()
    if not gate.looked_at:
        return "The gate had nothing to look at", gate.note
    return "The gate passes", f"{looked} {gate.note}".strip()


def remarks(comparison: Comparison) -> list[tuple[str, tuple[str, ...]]]:
    """Return what has to be read with the figures: each sentence once, with the names that it is about.

    The differences of the runs are left out: they have a place of their own.
    """
    listed = {f"The runs differ in their {item.sentence}." for item in comparison.differences}
    about: dict[str, dict[str, None]] = {note: {} for note in comparison.notes if note not in listed}
    for said, name in _said(comparison):
        about.setdefault(said, {})[name] = None
    return [(said, tuple(names)) for said, names in about.items()]


def _said(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for cell in comparison.cells:
        if cell.reason:
            yield cell.reason, cell.head_cell
        yield from ((change.reason, cell.head_cell) for change in cell.changes if _telling(change))
        for item in cell.differences:
            if not item.refused:
                yield f"Unlike in {item.sentence}.", cell.head_cell
    for build in comparison.builds:
        yield from ((change.reason, build.build_id) for change in build.changes if _telling_of_build(change))
    yield from ((lone.reason, f"{lone.cell_id} ({lone.side})") for lone in comparison.lone)


def _telling(change: Change) -> bool:
    if change.method == "sessions" and change.verdict in ("inconclusive", "equivalent"):
        return False  # what such sessions would find stands beside the figures
    if change.metric in ("latency", "energy"):
        return bool(change.reason) and change.verdict != "equivalent"
    return bool(change.reason) and change.verdict == "regressed"


def _telling_of_build(change: Change) -> bool:
    return change.metric == "accuracy" and bool(change.reason) and change.reason != "The same file."


def about_words(names: tuple[str, ...], most: int = 3) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def build_changes(comparison: Comparison) -> Iterator[tuple[BuildComparison, Change]]:
    """Yield the size and the accuracy of every build."""
    for build in comparison.builds:
        yield from ((build, change) for change in build.changes)
