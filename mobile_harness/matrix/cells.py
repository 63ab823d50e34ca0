"""The cells of a matrix as values: planned, ordered, doubted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from mobile_harness import lab, stats
from mobile_harness.measurer.machine import Limits
from mobile_harness.records import Cell, Doubt, Failure, RunPlan, Session
from mobile_harness.records.state import Vitals
from mobile_harness.transports.base import Device, runner_of
from toolkit.core.manifest import BuildEntry

UTC = "%Y-%m-%dT%H:%M:%SZ"
RESUMED_APART_S = 3600.0
"""A device that rested longer between two sessions of a cell may be in another state."""


class Sink(Protocol):
    """Where sessions and cells go as they end; :class:`mobile_harness.history.History` is one."""

    def add_session(self, run_id: str, cell_id: str, session: Session) -> None:
        """Keep a session."""

    def save_cell(self, cell: Cell) -> None:
        """Keep how a cell stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A cell to be filled: as far as it is stored, with the device and the build that it names."""

    cell: Cell
    device: Device
    build: BuildEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all cells share: the folder of the builds, where results go, and how long to wait for a runner."""

    folder: Path
    sink: Sink
    limits: Limits


def cell_id(device: Device, build: BuildEntry) -> str:
    """Return the name of a cell within its run."""
    return f"{build.id}@{lab.selector(device)}"


def plan_cell(run_id: str, device: Device, build: BuildEntry, plan: RunPlan, reason: Failure) -> Cell:
    """Return a cell before anything was measured; ``reason`` explains it should it stay so."""
    return Cell(
        id=cell_id(device, build),
        run_id=run_id,
        device=device.info,
        build_id=build.id,
        build_sha256=build.sha256,
        target=build.target,
        recipe=build.recipe,
        size_bytes=build.size_bytes,
        plan=plan,
        outcome="skipped",
        runner=runner_of(device, build.target),
        runtime="",
        runtime_version="",
        failure=reason,
    )


def abba(cells: Sequence[str], sessions: int) -> Iterator[tuple[str, int]]:
    """Yield every (cell, session) so that rounds alternate in direction.

    >>> [cell + str(index) for cell, index in abba(("A", "B"), 3)]
    ['A0', 'B0', 'B1', 'A1', 'A2', 'B2']
    """
    for index in range(sessions):
        for cell in cells if index % 2 == 0 else reversed(cells):
            yield cell, index


def sessions_left(cell: Cell) -> int:
    """Return how many sessions of its plan a cell lacks."""
    taken = {session.index for session in cell.sessions}
    return len(set(range(cell.plan.sessions)) - taken)


def with_session(cell: Cell, session: Session) -> Cell:
    """Return the cell with a session more, in order."""
    return dataclasses.replace(cell, sessions=tuple(sorted((*cell.sessions, session), key=lambda item: item.index)))


def baseline(cells: Iterable[Cell]) -> Vitals | None:
    """Return how the device stood before the first session that a run's cells on it have, if they have any."""
    sessions = sorted((session for cell in cells for session in cell.sessions), key=lambda item: item.started_utc)
    return next((session.cooled.vitals for session in sessions if session.cooled is not None), None)


def resumed_doubt(sessions: Sequence[Session]) -> tuple[Doubt, ...]:
    """Return the doubt about the sessions of a resumed cell, if they lie apart or several versions took them.

    Starts that are no time, as imported records may have, count as not apart.
    """
    starts = sorted(start for session in sessions if (start := _moment(session.started_utc)) is not None)
    apart_s = max(((late - early).total_seconds() for early, late in pairwise(starts)), default=0.0)
    versions = len({session.palmtop for session in sessions})
    if apart_s <= RESUMED_APART_S and versions < 2:
        return ()
    minutes, by = int(apart_s // 60), "version" if versions == 1 else "versions"
    words = (
        f"The run was resumed: sessions {minutes} minutes apart, taken by {versions} {by} of palmtop, count as one "
        "cell; what changed in between is in its figures."
    )
    return (Doubt(kind="resumed", message=words),)


def _moment(utc: str) -> datetime | None:
    try:
        return datetime.strptime(utc, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None


def median_words(cell: Cell) -> str:
    """Say a measured cell's result in a few words."""
    summary = stats.summarise_cell(cell.sessions)
    median = "no median, too few runs" if summary.median_ns is None else f"median {summary.median_ns / 1e6:.3g} ms"
    if summary.median_ns is None and summary.mean_ns is not None:
        median = f"mean {summary.mean_ns / 1e6:.3g} ms, no median"
    return f"{median} over {summary.sessions} sessions ({cell.device.kind})"
