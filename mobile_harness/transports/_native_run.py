"""One start of a native tool, told in the bench app's own protocol: its output is read to its end, then translated.

A tool speaks only when it is done. Until then the stream that is open is all that is known of it, so signs of life are
given no longer than its own limits allow it to run.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from mobile_harness import stats
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Session
from mobile_harness.records import DeviceInfo
from mobile_harness.transports._native_tools import NativeTool, read_output
from mobile_harness.transports.base import Job, News
from mobile_harness.vitals import placement, reading
from mobile_harness.vitals.native import RUNTIMES, Figures
from mobile_harness.vitals.reading import Unreadable
from mobile_harness.wire import frames, messages
from mobile_harness.wire.messages import Aggregate, Beat, Body, Bye, Error, Hello, Phase, Place, Record
from toolkit.core.clock import Clock

OUTPUT_MAX: Final = 1 << 20
LOAD_S: Final = 60.0
"""What a tool may take for what its own limits do not bound: reading and preparing the model."""
BEAT_S: Final = 2.0
_EVIDENCE: Final = 4000
_TEXT_MAX: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is started: the tool, for which session, on which device."""

    tool: NativeTool
    job: Job
    info: DeviceInfo
    argv: Sequence[str]
    deadline_s: float


class NativeRun:
    """A run of a tool, from its start until its output ends."""

    def __init__(self, session: Session, start: Start, clock: Clock) -> None:
        self._start = start
        self._clock = clock
        self._session = session
        self._book = _Book(start.job.run, clock)
        self._text = bytearray()
        self._over = threading.Event()
        self._given_up = False
        self._lost: AdbFailed | None = None
        self._ended = ""
        self._told = False
        self._waiting = [self._book.add(_hello(start)), self._book.add(Phase(name="measure", edge="begin"))]
        self._link, self._command = session.start(start.argv, start.deadline_s)
        self._started_ns = self._beat_ns = clock.monotonic_ns()
        self._thread = threading.Thread(target=self._read, name="palmtop-native", daemon=True)
        self._thread.start()

    def file_of(self, run: str) -> bytes | None:
        """Return the result file of a run; None for another's, and unless the tool ended by itself."""
        return self._book.whole() if run == self._start.job.run else None

    def poll(self, timeout_s: float) -> News:
        """Return what is known, waiting at most so long.

        Raises:
            AdbFailed: the way to the device was lost, unless the run was stopped.
        """
        if not self._waiting and self._over.wait(timeout_s) and not self._told:
            self._told = True
            if self._lost is not None and not self._given_up:
                raise self._lost
            self._translate()
        elif not self._waiting and not self._over.is_set():
            self._beat()
        lines = tuple(line for some in self._waiting for line in some)
        self._waiting = []
        if lines or not self._told:
            return News(lines=lines, running=True)
        return News(lines=(), running=False, ended=self._ended or "it was stopped")

    def evidence(self) -> str:
        """Return the end of what the tool printed."""
        return bytes(self._text[-_EVIDENCE:]).decode("utf-8", "replace").strip()

    def stop(self) -> None:
        """Hang up, which ends the tool, and make sure of it."""
        self._given_up = True
        unfinished = not self._over.is_set()
        self._link.hang_up()
        self._thread.join(timeout=5)
        self._link.close()
        if unfinished:
            self._session.kill(self._command.pid)

    def _read(self) -> None:
        try:
            with suppress(AdbFailed):  # a tool reads nothing; one that is gone already says so below
                self._command.feed(None)
            for _, data in self._command.output():
                self._text += data[: max(0, OUTPUT_MAX - len(self._text))]
        except AdbFailed as error:
            self._lost = error
        finally:
            self._over.set()

    def _beat(self) -> None:
        now_ns = self._clock.monotonic_ns()
        plan = self._start.job.plan
        allowed_s = LOAD_S + plan.warmup_max_s + plan.warmup_min_s + plan.min_seconds + plan.max_seconds
        if now_ns - self._beat_ns >= BEAT_S * 1e9 and now_ns - self._started_ns < allowed_s * 1e9:
            self._beat_ns = now_ns
            self._waiting.append(self._book.add(Beat(phase="measure", done=0)))

    def _translate(self) -> None:
        """Say in records what the tool said in its own words, and how it ended."""
        code = self._command.code or 0
        text = bytes(self._text).decode("utf-8", "replace")
        figures = read_output(self._start.tool, text, stats.needed)
        if code > 128 and isinstance(figures, Unreadable):
            self._ended = _signal_words(code)
            return  # killed: there is no goodbye
        took_ns = self._clock.monotonic_ns() - self._started_ns
        self._waiting.append(self._book.add(Phase(name="measure", edge="end", took_ns=took_ns)))
        if isinstance(figures, Unreadable) or code:
            reason = figures.reason if isinstance(figures, Unreadable) else reading.shown(text.strip()[-_TEXT_MAX:])
            words = f"{self._start.tool.kind} ended with exit code {code}: {reason}"[:_TEXT_MAX]
            self._waiting.append(self._book.add(Error(code="run_failed", msg=words, where="measure")))
        else:
            placed = _place(figures, self._start.job.plan.accelerator)
            self._waiting.extend(self._book.add(body) for body in (placed, _aggregate(figures)) if body is not None)
        self._waiting.append(self._book.end(ok=not code and not isinstance(figures, Unreadable)))
        self._ended = f"exit code {code}"


class _Book:
    """The records of a run: as frames for those who listen, and as the lines of its result file."""

    def __init__(self, run: str, clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        self._count = 0
        self._lines = bytearray()
        self._ended = False

    def add(self, body: Body) -> tuple[str, ...]:
        """Write a record down and return its frames."""
        at_ns = self._clock.monotonic_ns() - self._started_ns
        text = messages.to_text(Record(seq=self._count, at_ns=at_ns, body=body))
        found = frames.encode(self._run, self._count, text)
        self._count += 1
        self._lines += text.encode("ascii") + b"\n"
        return found

    def end(self, *, ok: bool) -> tuple[str, ...]:
        """Write the last record and return its frames."""
        sha256 = hashlib.sha256(self._lines).hexdigest()
        found = self.add(Bye(exit="ok" if ok else "error", records=self._count, sha256=sha256))
        self._ended = True
        return found

    def whole(self) -> bytes | None:
        """Return the file, if it is complete."""
        return bytes(self._lines) if self._ended else None


def _hello(start: Start) -> Hello:
    tool, info = start.tool, start.info
    return Hello(
        proto=f"{messages.MAJOR}.0",
        run=start.job.run,
        app="palmtop",
        app_ver=version("palmtop"),
        runtime=f"{RUNTIMES[tool.target]} in {tool.kind}",
        runtime_ver=tool.version.version,
        model_sha256=start.job.model_sha256,
        os=reading.shown(info.os_version),
        device=reading.shown(info.model),
        pid=0,
        page_size=0,
        clock="the tool's own",
        caps=("aggregate",),
    )


def _place(figures: Figures, requested: str) -> Place | None:
    judged = placement.judge(figures.placement, requested)
    if judged.delegated_nodes is None:
        return None
    return Place(
        requested=requested,
        delegated_nodes=judged.delegated_nodes,
        total_nodes=judged.total_nodes or 0,
        partitions=judged.partitions or 0,
        source="log",
        fallback=judged.fallback,
    )


def _aggregate(figures: Figures) -> Aggregate:
    return Aggregate(
        runner=figures.runner,
        average=figures.average_ns,
        runs=figures.runs,
        min=figures.minimum_ns,
        max=figures.maximum_ns,
        deviation=figures.deviation_ns,
        load=figures.load_ns,
        first=figures.first_ns,
        warmup=figures.warmup_ns,
        warmup_runs=figures.warmup_runs,
        peak_kb=figures.peak_memory_kb,
        percentiles={f"{item.share:g}": item.value_ns for item in figures.percentiles},
        dropped=figures.dropped,
    )


def _signal_words(code: int) -> str:
    try:
        return f"signal {signal.Signals(code - 128).name}"
    except ValueError:
        return f"exit code {code}"
