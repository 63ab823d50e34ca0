"""The matrix of the HTML report: a line for each build on each device, with what it sorts and filters by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mobile_harness.records.state import Energy, Placement
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports._chart_resources import METHODS
from mobile_harness.reports._page import Column, Figure, filters_of
from mobile_harness.reports.base import Accuracy, Document, Performance, Row


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the matrix; ``doubts`` are the numbers of the doubts listed below it."""

    row: Row
    figures: tuple[Figure, ...]
    verdict: str
    doubts: tuple[int, ...]
    placed: str


def matrix(document: Document) -> dict[str, Any]:
    units = words.units_of(document)
    doubts = words.doubts(document)
    energy = numbers.energy_unit(_energies(document)) if any(_energies(document)) else None
    keys = dict.fromkeys(words.doubt_key(doubt) for row in document.rows for doubt in row.doubts)
    places = {key: at for at, key in enumerate(keys, start=1)}
    return {
        "columns": tuple(_columns(document, units)),
        "lines": tuple(_line(row, units, places, energy) for row in document.rows),
        "filters": filters_of(
            device=(row.device_name for row in document.rows if row.device),
            target=sorted({row.target for row in document.rows}),
            recipe=(row.recipe for row in document.rows),
            verdict=(row.verdict or "unchecked" for row in document.rows),
            outcome=(words.OUTCOMES[row.outcome] for row in document.rows),
        ),
        "doubts": tuple((doubt, "; ".join(about)) for doubt, about in doubts),
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
    energies = list(_energies(document))
    if energies:
        yield Column("Energy", numbers.energy_unit(energies).name, numeric=True)
    yield Column("Doubts", "", numeric=True)


def _energies(document: Document) -> Iterator[float]:
    yield from (row.energy.per_inference_uj for row in document.rows if isinstance(row.energy, Energy))


def _line(row: Row, units: words.Units, places: dict[str, int], energy: numbers.Unit | None) -> Line:
    ratio = numbers.ratio(row.size_ratio) if row.size_ratio else ""
    figures = (
        Figure(units.size.bare(row.size_bytes), ratio, row.size_bytes),
        *_accuracy_figures(row.accuracy),
        *_performance_figures(row, units),
        *(() if energy is None else (_energy(row, energy),)),
    )
    numbered = tuple(sorted({places[words.doubt_key(doubt)] for doubt in row.doubts}))
    return Line(row, figures, row.verdict or "unchecked", numbered, placed(row.placement))


def _energy(row: Row, unit: numbers.Unit) -> Figure:
    if not isinstance(row.energy, Energy):
        return Figure(numbers.NONE)
    item = row.energy
    return Figure(unit.bare(item.per_inference_uj), METHODS[item.method], item.per_inference_uj)


def placed(placement: Placement | None) -> str:
    """Say how much of a build ran where it was asked to, empty where nothing was asked for."""
    if placement is None:
        return ""
    if placement.fallback:
        return f"{placement.requested}: nothing ran there"
    if placement.delegated_nodes is None:
        return f"{placement.requested}: how much ran there is not known"
    of = "" if placement.total_nodes is None else f" of {placement.total_nodes}"
    return f"{placement.requested}: {placement.delegated_nodes}{of} nodes"


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
    pss = f"PSS {units.memory.bare(done.pss_kb)}" if done.pss_kb is not None else ""
    yield Figure(units.memory.bare(done.peak_rss_kb), pss, done.peak_rss_kb)


def _spread(done: Performance, unit: numbers.Unit) -> str:
    if done.stand_in:
        return "stand-in"
    if done.median_ns is None:
        return "too few runs" if done.mean_ns is None else f"mean {unit.bare(done.mean_ns)}"
    return f"{unit.bare(done.interval.low)} to {unit.bare(done.interval.high)}" if done.interval else "one session"
