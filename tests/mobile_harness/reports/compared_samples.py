"""Comparisons and histories to show: what changed between two lab runs, and a build over forty runs."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import report_samples as samples

from mobile_harness import comparer
from mobile_harness.comparer import Comparison, Criteria
from mobile_harness.history import StoredCell, StoredCells
from mobile_harness.records import Cell, RunRecord
from mobile_harness.reports._document import history_of
from mobile_harness.reports.base import HistoryDocument

HEAD_ID = "20261123-0900-71be"
FACTORS = (1.0, 1.12, 0.9, 1.01)


def slowed(cell: Cell, factor: float, rng: random.Random, spread: float = 0.004) -> Cell:
    """The same cell with all times of each session scaled by one factor and a little chance."""
    sessions = []
    for session in cell.sessions:
        of_session = factor * rng.gauss(1, spread)
        times = tuple(int(value * of_session) for value in session.latency_ns)
        sessions.append(dataclasses.replace(session, latency_ns=times))
    return dataclasses.replace(cell, run_id=HEAD_ID, sessions=tuple(sessions))


def head_of(base: RunRecord, factors: tuple[float, ...] = FACTORS, seed: int = 3) -> RunRecord:
    """A later run of the same builds: some cells slower, some faster, the static builds a tenth larger."""
    rng = random.Random(seed)
    cells = tuple(slowed(cell, factors[at % len(factors)], rng) for at, cell in enumerate(base.cells))
    builds = tuple(
        dataclasses.replace(build, size_bytes=int(1.1 * build.size_bytes), sha256=samples.sha(f"new {build.id}"))
        if build.recipe == "static-int8"
        else build
        for build in base.manifest.builds
    )
    manifest = dataclasses.replace(base.manifest, builds=builds)
    return dataclasses.replace(
        base, id=HEAD_ID, created_utc="2026-11-23T09:00:00Z", cells=cells, manifest=manifest, palmtop="0.2.0"
    )


def lab_comparison() -> Comparison:
    """Regressed, improved and equivalent cells on phones, an emulator and a host; the gate fails."""
    base = samples.lab_run()
    return comparer.compare(base, head_of(base))


def calm_comparison() -> Comparison:
    """Nothing but noise; the gate passes."""
    base = samples.lab_run()
    return comparer.compare(base, head_of(base, (1.0,)))


def unlike_comparison() -> Comparison:
    """Another runtime version on the host, cells that failed or are in one run alone, one session elsewhere."""
    base = samples.lab_run()
    head = head_of(base)
    cells = []
    for at, cell in enumerate(head.cells[:-1]):
        version = "9.9.9" if cell.device.kind == "host" else cell.runtime_version
        few = cell.sessions[:1] if at % 3 == 0 else cell.sessions
        cells.append(dataclasses.replace(cell, runtime_version=version, sessions=few))
    cells[1] = samples.failed_cell(samples.BUILDS[3], samples.PIXEL)
    return comparer.compare(base, dataclasses.replace(head, cells=tuple(cells)), Criteria(allowed=("palmtop",)))


def empty_comparison() -> Comparison:
    """Two runs without a cell."""
    return comparer.compare(samples.empty_run(), samples.empty_run())


def failed_comparison() -> Comparison:
    """Every cell failed in both runs."""
    return comparer.compare(samples.failed_run(), samples.failed_run())


def hostile_comparison() -> Comparison:
    """The lab's comparison with the same hostile text in every field that holds free text."""
    made = samples.hostile(lab_comparison())
    assert isinstance(made, Comparison)
    return made


COMPARISONS: dict[str, Callable[[], Comparison]] = {
    "lab": lab_comparison,
    "calm": calm_comparison,
    "unlike": unlike_comparison,
    "empty": empty_comparison,
    "failed": failed_comparison,
}


def stored(count: int = 40) -> StoredCells:
    """A build on a phone and a host over the runs: a runtime update makes it slower, then a fix faster."""
    rng = random.Random(5)
    found = []
    for device in (samples.PIXEL, samples.HOST):
        plain = samples.cell(samples.BUILDS[-1], device, sessions=4, runs=40)
        for at in range(count):
            factor = (1.0 if at < 14 else 1.09 if at < 29 else 0.97) if device is samples.PIXEL else 1.0
            cell = slowed(plain, factor * rng.gauss(1, 0.006), rng, 0.005)
            version = "1.32.0" if at < 14 else "1.33.0"
            found.append(
                StoredCell(
                    run_id=f"202611{1 + at // 2:02d}-{10 + at % 2}00-{at:04x}",
                    created_utc=f"2026-11-{1 + at // 2:02d}T{10 + at % 2}:00:00Z",
                    model="digits",
                    cell=dataclasses.replace(cell, runtime_version=version),
                )
            )
    found.sort(key=lambda item: item.created_utc)
    return StoredCells(cells=tuple(found), damaged={"20261101-0900-dead": "Run 20261101-0900-dead is damaged."})


def history() -> HistoryDocument:
    """Two trends, one of which changed level twice."""
    return history_of("tflite-static-int8", stored())


def empty_history() -> HistoryDocument:
    """A build that no run measured."""
    return history_of("tflite-static-int8", StoredCells(cells=(), damaged={}))


def hostile_history() -> HistoryDocument:
    """The history with the same hostile text in every field that holds free text."""
    made = samples.hostile(history_of("tflite-static-int8", stored(8)))
    assert isinstance(made, HistoryDocument)
    return made


HISTORIES: dict[str, Callable[[], HistoryDocument]] = {"steps": history, "empty": empty_history}
