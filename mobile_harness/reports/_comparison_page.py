"""The HTML page of a comparison: the verdict, the gate, what is not alike, and every cell with its interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mobile_harness.comparer import CellComparison, Change, Comparison, Difference
from mobile_harness.reports import _changes as changes
from mobile_harness.reports import _chart_changes, _page
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports._page import Column, Figure


@dataclass(frozen=True, slots=True)
class Line:
    """A cell: its names, its verdict, its figures, and the words that stand with it."""

    cell: CellComparison
    device_name: str
    word: str
    rank: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of something else than latency, of a cell or of a build."""

    name: str
    place: str
    kind: str
    metric: str
    word: str
    figures: tuple[Figure, ...]


def render(comparison: Comparison) -> str:
    """Return the whole page."""
    chart = _chart_changes.intervals(comparison)
    names = changes.device_names(comparison)
    lines = tuple(_line(cell, names, rank) for rank, cell in enumerate(changes.ordered(comparison.cells)))
    gate_head, gate_words = changes.gate_words(comparison)
    return _page.page(
        "comparison.html.j2",
        comparison=comparison,
        palmtop=comparison.palmtop,
        runs=(("Base", changes.run_words(comparison.base)), ("Head", changes.run_words(comparison.head))),
        gate=(gate_head, gate_words),
        held=_held(comparison),
        meanings=dict(changes.MEANINGS),
        differences=tuple(_differences(comparison)),
        charts=_page.drawn(() if chart is None else (chart,)),
        columns=_COLUMNS,
        lines=lines,
        filters=_page.filters_of(
            device=(line.device_name for line in lines),
            target=sorted({line.cell.target for line in lines}),
            recipe=(line.cell.recipe for line in lines),
            verdict=(line.word for line in lines),
        ),
        series=_page.series_of(
            [*(cell.target for cell in comparison.cells), *(build.target for build in comparison.builds)]
        ),
        builds=tuple(_builds(comparison)),
        others=tuple(_others(comparison, names)),
        left_out=changes.left_out(comparison),
        remarks=tuple((said, changes.about_words(about, 5)) for said, about in changes.remarks(comparison)),
        notes=changes.NOTES,
    )


_COLUMNS = (
    Column("Build", "", numeric=False),
    Column("Device", "", numeric=False),
    Column("Verdict", "", numeric=False),
    Column("Before", "", numeric=True),
    Column("After", "", numeric=True),
    Column("Change", "", numeric=True),
    Column("p", "adjusted", numeric=True),
    Column("Would find", "", numeric=True),
    Column("Sessions", "", numeric=True),
    Column("Doubts", "", numeric=True),
)


def _held(comparison: Comparison) -> str:
    criteria = comparison.criteria
    allowed = f"; allowed to differ: {', '.join(criteria.allowed)}" if criteria.allowed else ""
    return f"margin {100 * criteria.margin:g} %, {numbers.share(criteria.confidence)} intervals{allowed}"


def _line(cell: CellComparison, names: dict[str, str], rank: int) -> Line:
    change = changes.latency(cell)
    doubts = len({doubt.message for doubt in (*cell.doubts_before, *cell.doubts_after)})
    return Line(
        cell=cell,
        device_name=names[cell.device.serial],
        word=changes.word(cell),
        rank=rank,
        figures=(*_figures(change), Figure(str(doubts or numbers.NONE), "", doubts)),
    )


def _figures(change: Change | None) -> Iterator[Figure]:
    if change is None:
        yield from (Figure(numbers.NONE) for _ in range(6))
        return
    yield from _amounts(change)
    p = change.p_adjusted if change.p_adjusted is not None else change.p
    yield Figure(numbers.chance(p), "", p)
    needs = change.sessions_needed if change.verdict == "inconclusive" else None
    yield Figure(changes.detectable(change), "", change.detectable)
    taken = f"{change.sessions_before} / {change.sessions_after}"
    yield Figure(taken, f"needs {needs}" if needs else "", min(change.sessions_before, change.sessions_after))


def _amounts(change: Change) -> Iterator[Figure]:
    yield Figure(changes.amount(change.before, change), "", change.before)
    yield Figure(changes.amount(change.after, change), "", change.after)
    beyond = " beyond the margin" if change.beyond_margin else ""
    yield Figure(changes.effect(change), f"{changes.effect_interval(change)}{beyond}".strip(), change.effect)


def _builds(comparison: Comparison) -> Iterator[Changed]:
    for build, change in changes.build_changes(comparison):
        place = "the same file" if build.same_file else "another file"
        yield Changed(
            name=build.build_id,
            place=place,
            kind="",
            metric=changes.METRICS[change.metric],
            word=change.verdict,
            figures=tuple(_amounts(change)),
        )


def _others(comparison: Comparison, names: dict[str, str]) -> Iterator[Changed]:
    for cell, change in changes.others(comparison):
        yield Changed(
            name=cell.build_id,
            place=names[cell.device.serial],
            kind=cell.device.kind,
            metric=changes.METRICS[change.metric],
            word=change.verdict,
            figures=tuple(_amounts(change)),
        )


def _differences(comparison: Comparison) -> Iterator[tuple[Difference, str]]:
    """Yield what is not alike: of the runs as a whole, then of cells, each once."""
    about: dict[Difference, list[str]] = {}
    for cell in comparison.cells:
        for item in cell.differences:
            about.setdefault(item, []).append(cell.head_cell)
    yield from ((item, "both runs") for item in comparison.differences)
    yield from ((item, changes.about_words(tuple(cells), 2)) for item, cells in about.items())
