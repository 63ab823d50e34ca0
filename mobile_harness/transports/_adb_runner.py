"""One start of the bench app: ``am instrument`` read in a thread, its frames in a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Session
from mobile_harness.adb.shell import STDERR, STDOUT, Command
from mobile_harness.transports.base import News
from mobile_harness.vitals import instrument, reading

LINE_MAX: Final = 8192
QUEUE_MAX: Final = 2000
_ENDED_S: Final = 0.02
_SAID_MAX: Final = 300


class Running:
    """A run of the app, from its start until the stream of what it says ends."""

    def __init__(self, session: Session, argv: Sequence[str], deadline_s: float) -> None:
        self._lines: queue.Queue[str] = queue.Queue(QUEUE_MAX)
        self._given_up = threading.Event()
        self._over = threading.Event()
        self._said = ""
        self._ended = ""
        self._lost: AdbFailed | None = None
        self._link, self._command = session.start(argv, deadline_s)
        self._thread = threading.Thread(target=self._read, name="palmtop-instrument", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._over.is_set()

    def poll(self, timeout_s: float) -> News:
        """Return what came, waiting at most so long for it.

        Raises:
            AdbFailed: the way to the device is gone, and all that came before it went has been returned.
        """
        lines = []
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_ENDED_S if self.is_over else timeout_s))
            while len(lines) < QUEUE_MAX:
                lines.append(self._lines.get_nowait())
        lines = [line for line in lines if line]
        if lines or not self.is_over or not self._lines.empty():
            return News(lines=tuple(lines), running=True)
        if self._lost is not None and not self._given_up.is_set():
            raise self._lost
        return News(lines=(), running=False, ended=self._ended or "it was stopped")

    def stop(self) -> None:
        """Hang up: the device ends ``am``; the app itself must be stopped by its name."""
        self._given_up.set()
        self._link.hang_up()
        self._thread.join(timeout=5)
        self._link.close()

    def _read(self) -> None:
        reader = instrument.Reader()
        try:
            self._command.feed(None)
            for line in _lines(self._command):
                status = reader.feed(line)
                if status is not None:
                    self._put(status.frames())
                elif not line.startswith("INSTRUMENTATION_STATUS"):
                    self._said = (self._said + " " + line.strip())[-_SAID_MAX:]
            rest, end = reader.end()
            self._put(rest.frames() if rest is not None else ())
            self._ended = self._words(end)
        except AdbFailed as error:
            self._lost = error
        finally:
            self._over.set()
            with suppress(queue.Full):
                self._lines.put_nowait("")  # wakes a poll that waits

    def _put(self, frames: Sequence[str]) -> None:
        for frame in frames:
            while not self._given_up.is_set():
                try:
                    self._lines.put(frame[:LINE_MAX], timeout=0.2)
                except queue.Full:
                    continue  # the app waits, as it would on any slow terminal
                break

    def _words(self, end: instrument.End) -> str:
        if end.kind == "finished":
            return "exit code 0"
        if end.kind == "lost":
            said = f": {reading.shown(self._said)}" if self._said.strip() else ""
            return f"`am instrument` ended with exit code {self._command.code} without a word of the app{said}"
        words = {"crashed": "the app's process crashed", "failed": "the app failed", "aborted": "it was aborted"}
        return f"{words[end.kind]}: {end.message}"


def _lines(command: Command) -> Iterator[str]:
    """Yield the lines of both outputs of a command, cut at a bounded length."""
    waiting = {STDOUT: b"", STDERR: b""}
    for kind, data in command.output():
        *whole, rest = (waiting[kind] + data).split(b"\n")
        waiting[kind] = rest[:LINE_MAX]  # of a line without an end the beginning counts
        yield from (line[:LINE_MAX].decode("utf-8", "replace") for line in whole)
    yield from (rest.decode("utf-8", "replace") for rest in waiting.values() if rest)
