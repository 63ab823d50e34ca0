"""Device x build cells: planned, measured interleaved on each device and in parallel across devices, each explained.

On one device the sessions of all builds alternate, forth in one round and back in the next (A B C, C B A, ...), so
that a drift of the device falls on all builds alike. A session that fails in a way that may pass is taken once more;
one that fails again ends its own cell and no other.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from mobile_harness import deployer, lab, stats
from mobile_harness.deployer import Deployment
from mobile_harness.doubts import Evidence, doubts_of
from mobile_harness.measurer.loop import Cancelled, Watch, take
from mobile_harness.measurer.machine import Limits
from mobile_harness.measurer.session import RETRIED, Frame, figures, worst_step
from mobile_harness.records import Cell, Doubt, Failure, RunPlan, Session
from mobile_harness.transports.base import Device, DeviceFailed, Job
from mobile_harness.wire.messages import Hello
from toolkit.core.events import Event, Level
from toolkit.core.manifest import BuildEntry
from toolkit.core.tools import Tools

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
        runner=device.runner,
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


def measure(slots: Sequence[Slot], setting: Setting, tools: Tools) -> None:
    """Fill the slots: devices at the same time, the cells of one device in turns. Results are in the sink.

    A slot that is measured already is left alone, as are the sessions that a cell has. Failures of builds and devices
    end as explained cells; what raises here is ours (a full disk under the history), and stops every device.
    """
    devices = list({id(slot.device): slot.device for slot in slots}.values())
    cancelled = threading.Event()
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            tools.emit(event)

    shared = dataclasses.replace(tools, emit=emit)
    with ThreadPoolExecutor(max_workers=max(len(devices), 1), thread_name_prefix="palmtop-device") as pool:
        turns = [
            _Turns(device, [slot for slot in slots if slot.device is device], setting, shared, cancelled)
            for device in devices
        ]
        futures = [pool.submit(turn.run) for turn in turns]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and future.exception() is None for future in futures):
                cancelled.set()
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda item: isinstance(item, Cancelled)):
        raise error  # what made the others stop comes first


class _Turns:
    """The cells of one device, measured in turns."""

    def __init__(
        self, device: Device, slots: Sequence[Slot], setting: Setting, tools: Tools, cancelled: threading.Event
    ) -> None:
        self._device = device
        self._slots = {slot.cell.id: slot for slot in slots if slot.cell.outcome != "measured"}
        self._cells = {
            name: dataclasses.replace(slot.cell, started_utc=slot.cell.started_utc or _utc(tools))
            for name, slot in self._slots.items()
        }
        self._setting = setting
        self._tools = tools
        self._cancelled = cancelled
        self._deployed: dict[str, Deployment] = {}
        self._ended: set[str] = set()

    def run(self) -> None:
        """Measure all of them; the device is clean afterwards."""
        with deployer.clean(self._device):
            sessions = max((cell.plan.sessions for cell in self._cells.values()), default=0)
            for name, index in abba(tuple(self._cells), sessions):
                if name not in self._ended:
                    self._turn(name, index)

    def _turn(self, name: str, index: int) -> None:
        cell = self._cells[name]
        if index not in {session.index for session in cell.sessions}:
            failure = self._deploy(name) or self._session(name, index)
            if failure is not None:
                self._end(name, failure)
                return
        if index == cell.plan.sessions - 1:
            self._end(name, None)

    def _deploy(self, name: str) -> Failure | None:
        if name in self._deployed:
            return None
        try:
            self._deployed[name] = deployer.deploy(self._device, self._setting.folder, self._slots[name].build)
        except DeviceFailed as error:
            return Failure(kind=error.kind, message=error.message, hint=error.hint)
        return None

    def _session(self, name: str, index: int) -> Failure | None:
        with lab.reserve(self._device, self._tools, self._give_up):
            got = self._attempt(name, index)
            if isinstance(got, Failure) and got.kind in RETRIED:
                self._tell(name, f"session {index + 1}: {got.message} Taken once more.", level="warning")
                got = self._attempt(name, index)
        if isinstance(got, Failure):
            return got
        cell = self._cells[name]
        cell = dataclasses.replace(cell, sessions=tuple(sorted((*cell.sessions, got), key=lambda item: item.index)))
        self._cells[name] = cell
        self._setting.sink.add_session(cell.run_id, cell.id, got)
        return None

    def _give_up(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _attempt(self, name: str, index: int) -> Session | Failure:
        cell, deployed = self._cells[name], self._deployed[name]
        job = Job(
            run=secrets.token_hex(4),
            target=cell.target,
            model=deployed.model,
            model_sha256=cell.build_sha256,
            golden=deployed.golden,
            plan=cell.plan,
        )
        frame = Frame(index=index, started_utc=_utc(self._tools), expected=deployed.expected)

        def progress(phase: str, done: int) -> None:
            self._tell(name, f"session {index + 1} of {cell.plan.sessions}: {phase}", done=index)

        limits = dataclasses.replace(self._setting.limits, deadline_s=cell.plan.session_deadline_s)
        watch = Watch(clock=self._tools.clock, cancelled=self._cancelled, progress=progress)
        try:
            finish = take(self._device, job, limits, watch)
        except DeviceFailed as error:
            return Failure(kind=error.kind, message=error.message, hint=error.hint)
        got = figures(finish, frame)
        if isinstance(got, Failure):
            return got
        got = dataclasses.replace(got, palmtop=version("palmtop"))
        return self._same_runtime(name, finish.transcript.bodies(Hello)) or got

    def _same_runtime(self, name: str, hellos: Sequence[Hello]) -> Failure | None:
        """Note the runtime of the first session, and refuse a later one with another: they would not be one cell."""
        cell, hello = self._cells[name], hellos[0] if hellos else None
        if hello is None:
            return Failure(kind="protocol", message="The result file has no record `hello`.")
        if not cell.runtime:
            cell = dataclasses.replace(cell, runtime=hello.runtime[:80], runtime_version=hello.runtime_ver[:80])
            self._cells[name] = cell
            self._setting.sink.save_cell(cell)
        elif (cell.runtime, cell.runtime_version) != (hello.runtime[:80], hello.runtime_ver[:80]):
            return Failure(
                kind="refused",
                message=f"This session ran on {hello.runtime} {hello.runtime_ver}, the others of its cell on "
                f"{cell.runtime} {cell.runtime_version}.",
                hint="Start a new run.",
            )
        return None

    def _end(self, name: str, failure: Failure | None) -> None:
        cell = dataclasses.replace(
            self._cells[name],
            outcome="failed" if failure else "measured",
            failure=failure,
            doubts=() if failure else self._doubts(name),
            ended_utc=_utc(self._tools),
        )
        self._cells[name] = cell
        self._ended.add(name)
        self._setting.sink.save_cell(cell)
        subject = self._subject(name)
        if failure:
            self._tools.emit(Event(subject=subject, phase="failed", message=failure.message, level="warning"))
        else:
            self._tools.emit(Event(subject=subject, phase="done", message=_words(cell)))

    def _doubts(self, name: str) -> tuple[Doubt, ...]:
        cell = self._cells[name]
        resumed = bool(self._slots[name].cell.sessions)
        return (*_doubts(cell), *(resumed_doubt(cell.sessions) if resumed else ()))

    def _tell(self, name: str, message: str, *, done: int = 0, level: Level = "info") -> None:
        total = self._cells[name].plan.sessions
        event = Event(subject=self._subject(name), phase="bench", message=message, done=done, total=total, level=level)
        self._tools.emit(event)

    def _subject(self, name: str) -> str:
        info = self._device.info
        place = "host" if info.kind == "host" else f"{info.kind} {lab.selector(self._device)}"
        return f"{self._cells[name].build_id} on {place}"


def _doubts(cell: Cell) -> tuple[Doubt, ...]:
    series = [session.latency_ns for session in cell.sessions]
    return doubts_of(
        Evidence(
            kind=cell.device.kind,
            sessions=cell.sessions,
            sessions_planned=cell.plan.sessions,
            runs_needed=cell.plan.min_runs,
            spread=stats.summarise(series).spread,
            steps=worst_step(series),
        )
    )


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


def _words(cell: Cell) -> str:
    summary = stats.summarise([session.latency_ns for session in cell.sessions])
    median = "no median, too few runs" if summary.median_ns is None else f"median {summary.median_ns / 1e6:.3g} ms"
    return f"{median} over {summary.sessions} sessions ({cell.device.kind})"


def _utc(tools: Tools) -> str:
    return tools.clock.utc().strftime(UTC)
