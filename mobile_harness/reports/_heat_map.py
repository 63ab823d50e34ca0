"""The heat map: a line a device, a column a build, every figure held against the best build on the same device.

Devices are never held against each other: a host's or an emulator's line has its own scale, as a phone's has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mobile_harness.records import DeviceInfo
from mobile_harness.records.state import Energy
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports.base import BuildFacts, Document, Row

STEPS: Final = (1.05, 1.25, 1.6, 2.2, 3.5)
"""Upper ends of the steps of colour, as times the best; the last step has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure that the map can show: the word for it and its unit."""

    name: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A figure of one cell: as shown, and its step of colour from 0, the best; None where it has none."""

    metric: str
    figure: str
    step: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCell:
    """A build on a device: its figures, or in one word why there are none."""

    shades: tuple[Shade, ...]
    outcome: str
    failed: bool
    doubts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLine:
    """A device."""

    name: str
    device: DeviceInfo
    cells: tuple[MapCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """The whole map; ``metrics`` has the one shown first in front."""

    metrics: tuple[Metric, ...]
    builds: tuple[BuildFacts, ...]
    lines: tuple[MapLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A metric with how to read it from a row."""

    name: str
    label: str
    unit: numbers.Unit
    of: Callable[[Row], float | None]


def heat_map(document: Document) -> HeatMap | None:
    """Return the map, None where fewer than two cells were measured."""
    known = {build.id: build for build in document.builds}
    cells = {(row.device_name, row.build_id): row for row in document.rows if row.device}
    if sum(row.performance is not None for row in cells.values()) < 2:
        return None
    kinds = [kind for kind in _kinds(document) if any(kind.of(row) is not None for row in cells.values())]
    builds = [known[name] for name in known if any(build == name for _, build in cells)]
    devices = {row.device_name: row.device for row in document.rows if row.device}
    lines = []
    for name, device in devices.items():
        rows = [cells.get((name, build.id)) for build in builds]
        lines.append(MapLine(name=name, device=device, cells=_cells(rows, kinds)))
    return HeatMap(
        metrics=tuple(Metric(name=kind.name, label=f"{kind.label}, {kind.unit.name}") for kind in kinds),
        builds=tuple(builds),
        lines=tuple(lines),
    )


def _kinds(document: Document) -> list[_Kind]:
    units = words.units_of(document)
    energy = numbers.energy_unit(row.energy.per_inference_uj for row in document.rows if isinstance(row.energy, Energy))
    return [
        _Kind(name="median", label="Median latency", unit=units.latency, of=_own(lambda done: done.median_ns)),
        _Kind(name="p90", label="p90 latency", unit=units.latency, of=_own(lambda done: done.p90_ns)),
        _Kind(name="load", label="Cold load", unit=units.load, of=_own(lambda done: done.load_cold_ns)),
        _Kind(name="first", label="First run", unit=units.first, of=_own(lambda done: done.first_ns)),
        _Kind(name="memory", label="Peak memory", unit=units.memory, of=_own(lambda done: done.peak_rss_kb)),
        _Kind(name="energy", label="Energy", unit=energy, of=_energy),
    ]


def _own(pick: Callable[..., float | None]) -> Callable[[Row], float | None]:
    """Return a reader of figures that are the build's own: a stand-in's are not."""
    return lambda row: pick(row.performance) if row.performance and not row.performance.stand_in else None


def _energy(row: Row) -> float | None:
    return row.energy.per_inference_uj if isinstance(row.energy, Energy) else None


def _cells(rows: Sequence[Row | None], kinds: Sequence[_Kind]) -> tuple[MapCell, ...]:
    best = {
        kind.name: min((value for row in rows if row and (value := kind.of(row)) is not None), default=math.nan)
        for kind in kinds
    }
    return tuple(_cell(row, kinds, best) for row in rows)


def _cell(row: Row | None, kinds: Sequence[_Kind], best: dict[str, float]) -> MapCell:
    if row is None or row.performance is None:
        outcome = words.OUTCOMES[row.outcome] if row else "not in this run"
        return MapCell(shades=(), outcome=outcome, failed=row is not None and row.outcome == "failed", doubts=0)
    shades = tuple(_shade(kind, kind.of(row), best[kind.name]) for kind in kinds)
    outcome = "stand-in" if row.performance.stand_in else ""
    return MapCell(shades=shades, outcome=outcome, failed=False, doubts=len(row.doubts))


def _shade(kind: _Kind, value: float | None, best: float) -> Shade:
    if value is None:
        return Shade(metric=kind.name, figure=numbers.NONE, step=None)
    times = value / best if best > 0 else 1.0
    step = next((at for at, end in enumerate(STEPS) if times <= end), len(STEPS))
    return Shade(metric=kind.name, figure=kind.unit.bare(value), step=step)


def scale_words() -> tuple[str, ...]:
    """Return what each step of colour means."""
    return (f"within {100 * (STEPS[0] - 1):.0f} %", *(f"to {end:g}×" for end in STEPS[1:]), f"above {STEPS[-1]:g}×")
