"""A comparison, a self-check and a trend in plain words, for a terminal; the reports have the other formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mobile_harness.comparer.values import CellComparison, Change, Comparison, NoiseFloor, RunRef, SelfCheck, Trend

_SIGNS = {"regressed": "▲", "improved": "▼", "equivalent": "=", "inconclusive": "?"}
_DETAILS = 12


def render(comparison: Comparison) -> str:
    """Return a comparison as plain text, 160 columns at most unless names are long."""
    parts = [
        comparison.sentence,
        ", ".join((_run_words("base", comparison.base), _run_words("head", comparison.head))),
    ]
    if comparison.cells:
        parts.append(_columns(("cell", "latency", "before", "after", "change", "sessions"), _cell_rows(comparison)))
    if comparison.builds:
        parts.append(_columns(("build", "metric", "before", "after", "change", "verdict"), _build_rows(comparison)))
    others = list(_other_rows(comparison))
    if others:
        parts.append(_columns(("cell", "metric", "before", "after", "change", "verdict"), others))
    parts += ["\n".join(f"- {line}" for line in _remarks(comparison)), _gate_words(comparison)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _run_words(side: str, run: RunRef) -> str:
    return f"{side} {run.id} ({run.created_utc}, {run.model})"


def _cell_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    return [_cell_row(cell) for cell in comparison.cells]


def _cell_row(cell: CellComparison) -> tuple[str, ...]:
    change = next((change for change in cell.changes if change.metric == "latency"), None)
    kind = "" if cell.device.kind == "phone" else f" [{cell.device.kind}]"
    if change is None:
        return f"{cell.head_cell}{kind}", cell.status, "", "", "", ""
    sessions = f"{change.sessions_before} / {change.sessions_after}"
    return (f"{cell.head_cell}{kind}", f"{_SIGNS[change.verdict]} {change.verdict}", *_figures(change), sessions)


def _build_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (build.build_id, change.metric, *_figures(change), f"{_SIGNS[change.verdict]} {change.verdict}")
        for build in comparison.builds
        for change in build.changes
        if change.metric == "accuracy" or change.verdict != "equivalent"
    ]


def _other_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return what changed besides latency; what did not is left to the other formats."""
    return [
        (cell.head_cell, change.metric, *_figures(change), f"{_SIGNS[change.verdict]} {change.verdict}")
        for cell in comparison.cells
        for change in cell.changes
        if (change.metric == "energy" and (change.before is not None or change.after is not None))
        or (change.metric not in ("latency", "energy") and change.verdict in ("regressed", "improved"))
    ]


def _figures(change: Change) -> tuple[str, str, str]:
    """Return before, after and the change with its interval."""
    return amount(change.before, change.unit), amount(change.after, change.unit), _effect(change)


def _effect(change: Change) -> str:
    if change.effect is None:
        return ""
    if change.metric == "accuracy":
        scale, unit = (100.0, " points") if change.unit == "share" else (1.0, "")
        words = [f"{scale * end:+.2f}" if end is not None else "" for end in (change.effect, change.low, change.high)]
        interval = f" ({words[1]} to {words[2]})" if change.low is not None and change.low != change.high else ""
        return f"{words[0]}{unit}{interval}"
    ends = [f"{100 * (end - 1):+.1f}" for end in (change.effect, change.low, change.high) if end is not None]
    interval = f" ({ends[1]} to {ends[2]})" if len(ends) == 3 and change.low != change.high else ""
    return f"{ends[0]} %{interval}"


def amount(value: float | None, unit: str) -> str:
    """Say a figure in its unit.

    >>> amount(2_345_678, "ns"), amount(0.9731, "share"), amount(None, "ns"), amount(51_200, "kB"), amount(4.2e6, "B")
    ('2.346 ms', '97.31 %', '', '50.0 MB', '4200.0 kB')
    """
    if value is None:
        return ""
    words = {
        "ns": lambda: f"{value / 1e6:.3f} ms" if value < 1e9 else f"{value / 1e9:.2f} s",
        "share": lambda: f"{100 * value:.2f} %",
        "kB": lambda: f"{value / 1024:.1f} MB",
        "uJ": lambda: f"{value / 1000:.3f} mJ",
        "B": lambda: f"{value / 1000:.1f} kB",
    }
    return words[unit]() if unit in words else f"{value:.4g}"


def _remarks(comparison: Comparison) -> list[str]:
    """Return what has to be read with the tables, one line for all cells of which the same is said."""
    about: dict[str, list[str]] = {}
    for name, words in _said_of_cells(comparison):
        about.setdefault(words, []).append(name)
    said = [*comparison.notes, *(f"{_names(names)}: {words}" for words, names in about.items())]
    if len(said) <= _DETAILS:
        return said
    return [*said[:_DETAILS], f"{len(said) - _DETAILS} more remarks: -f json has them all."]


def _said_of_cells(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for cell in comparison.cells:
        if cell.reason:
            yield cell.head_cell, cell.reason
        yield from ((cell.head_cell, change.reason) for change in cell.changes if _wants_words(change))
        flagged = "; ".join(item.sentence for item in cell.differences if not item.refused)
        if flagged:
            yield cell.head_cell, f"Unlike in {flagged}."
    for build in comparison.builds:
        yield from ((build.build_id, change.reason) for change in build.changes if _told(change))
    yield from ((f"{lone.cell_id} ({lone.side})", lone.reason) for lone in comparison.lone)


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _wants_words(change: Change) -> bool:
    if change.metric in ("latency", "energy"):
        return bool(change.reason) and change.verdict != "equivalent"
    return bool(change.reason) and change.verdict == "regressed"


def _told(change: Change) -> bool:
    return change.metric == "accuracy" and bool(change.reason) and change.reason != "The same file."


def _gate_words(comparison: Comparison) -> str:
    gate = comparison.gate
    result = f"fails: {', '.join(gate.regressed)}." if gate.failed else "passes."
    return f"Gate {result} It looked at {gate.looked_at} changes. {gate.note}".rstrip()


def self_check(found: SelfCheck) -> str:
    """Return a self-check as plain text."""
    rows = [
        (
            f"{floor.build_id}@{floor.device.transport}:{floor.device.serial}",
            f"{floor.sessions_before} / {floor.sessions_after}",
            _percent(None if floor.observed is None else floor.observed - 1, sign="+"),
            _percent(floor.deviation),
            _percent(floor.detectable),
            str(floor.sessions_needed or "over 1000"),
        )
        for floor in found.floors
    ]
    heads = ("cell", "sessions", "A/A", "spread", "noise floor", f"sessions for {100 * found.margin:g} %")
    lines = "\n".join(f"- {_floor_name(floor)}: {floor.reason}" for floor in found.floors)
    runs = f"runs {found.base.id} and {found.head.id}: the same builds twice"
    if found.base.id == found.head.id:
        runs = f"run {found.base.id}: its sessions by turns, in the order ABBA"
    about = f"A/A of {runs}; what differs is noise."
    return f"{about}\n\n{_columns(heads, rows)}\n\n{lines}\n"


def _floor_name(floor: NoiseFloor) -> str:
    return f"{floor.build_id}@{floor.device.transport}:{floor.device.serial}"


def _percent(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{100 * value:{sign}.1f} %"


def trend(found: Trend) -> str:
    """Return a trend as plain text, a line a run; ``◆`` marks where the level changed."""
    rows = []
    for point in found.points:
        interval = ""
        if point.low_ns is not None and point.high_ns is not None:
            interval = f"{amount(point.low_ns, 'ns')} to {amount(point.high_ns, 'ns')}"
        mark = "" if point.step is None else f"◆ {100 * (point.step - 1):+.1f} % from here on (p {point.step_p:.2g})"
        rows.append(
            (
                point.run_id,
                point.created_utc,
                amount(point.median_ns, "ns"),
                interval,
                str(point.sessions),
                mark,
                "; ".join(point.changed),
            )
        )
    kind = "" if found.device.kind == "phone" else f" [{found.device.kind}: no phone's figures]"
    place = f"{found.device.transport}:{found.device.serial} ({found.device.model})"
    title = f"{found.model}: {found.build_id} on {place}{kind}"
    heads = ("run", "started (UTC)", "median", "95 % interval", "sessions", "level", "changed since the run before")
    return f"{title}\n\n{_columns(heads, rows)}\n"


def _columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [tuple(heads), *(tuple(map(_one_line, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
