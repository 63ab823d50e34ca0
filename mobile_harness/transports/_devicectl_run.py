"""One start of the bench app on an iPhone: ``devicectl … launch --console``, whose output is the app's own."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from mobile_harness.apple import phones, plain
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.transports.base import News
from mobile_harness.vitals import reading
from toolkit.core import process
from toolkit.core.clock import Clock
from toolkit.core.process import exit_words

LINE_MAX: Final = 8192
QUEUE_MAX: Final = 2000
SAID_MAX: Final = 400
_CLOSED_S: Final = 0.02
_LOOK_S: Final = 0.05
_DRAIN_S: Final = 1.0
_STARTED: Final = ("Launched application", "@PT1 ")
_SIGNAL: Final = re.compile(r"terminated due to signal (\d{1,2})")


class Running:
    """A running app, as its console shows it. ``folder`` takes the tool's own files; it must be there."""

    def __init__(self, argv: Sequence[str], folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._report = folder / "launch.json"
        self._report.unlink(missing_ok=True)
        self._lines: queue.Queue[str] = queue.Queue(QUEUE_MAX)
        self._given_up = threading.Event()
        self._read_out = threading.Event()
        self._started = threading.Event()
        self._said = ""
        self._signal = 0
        self._ended_ns: int | None = None
        self._open = ExitStack()
        self._errors = self._open.enter_context((folder / "launch.err").open("w+b"))
        try:
            self._child = self._open.enter_context(
                process.start([*argv, "--json-output", str(self._report)], stderr_fd=self._errors.fileno())
            )
        except BaseException:
            self._open.close()
            raise
        self._reader = threading.Thread(target=self._read, name="palmtop-devicectl", daemon=True)
        self._reader.start()

    def wait_started(self, deadline_s: float) -> None:
        """Return once the app has started, or has said something.

        Raises:
            AppleFailed: it does not start, with the reason; ``timeout``.
        """
        end_ns = self._clock.monotonic_ns() + int(deadline_s * 1e9)
        while not self._started.wait(_LOOK_S):
            if self._is_over():
                failure = phones.read_failure(self._json())
                if failure is not None:
                    raise AppleFailed(f"The app does not start: {failure.message}", kind=failure.kind)
                if self._child.returncode:
                    raise AppleFailed(f"The app does not start: {self._complaint()}", kind="refused")
                return  # it started, said nothing and ended: poll tells
            if self._clock.monotonic_ns() > end_ns:
                raise AppleFailed(f"The app did not start within {deadline_s:.0f} s.", kind="timeout")

    def poll(self, timeout_s: float) -> News:
        """Return what the app said, waiting at most so long for it."""
        lines = []
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_CLOSED_S if self._read_out.is_set() else timeout_s))
            while len(lines) < QUEUE_MAX:
                lines.append(self._lines.get_nowait())
        running = bool(lines) or not self._is_over()
        return News(
            lines=tuple(line for line in lines if line), running=running, ended="" if running else self._words()
        )

    @property
    def is_over(self) -> bool:
        """Whether the console has closed."""
        return self._is_over()

    @property
    def ended_well(self) -> bool:
        """Whether the app ended by itself and without complaint."""
        return self._is_over() and self._child.returncode == 0 and not self._signal

    def stop(self) -> None:
        """Hang the console up; the app itself is ended by its process."""
        self._given_up.set()
        process.kill_group(self._child)
        self._reader.join(timeout=5)
        if not self._errors.closed:
            self._open.close()

    def _read(self) -> None:
        pipe = self._child.stdout
        assert pipe is not None
        with suppress(ValueError, OSError):  # the pipe was closed by stop()
            while line := pipe.readline(LINE_MAX):
                self._take(line.rstrip("\r\n"))
        self._read_out.set()
        self._put("")  # wakes a poll that waits

    def _take(self, line: str) -> None:
        found = _SIGNAL.search(line)
        self._signal = int(found.group(1)) if found else self._signal
        self._said = (f"{self._said} {line.strip()}" if "@PT1 " not in line else self._said)[-SAID_MAX:]
        if any(sign in line for sign in _STARTED):
            self._started.set()
        self._put(line)

    def _put(self, line: str) -> None:
        while not self._given_up.is_set():
            try:
                self._lines.put(line, timeout=0.2)
            except queue.Full:
                continue  # the app waits, as it would on any slow terminal
            return

    def _is_over(self) -> bool:
        if self._child.poll() is None:
            return False
        self._ended_ns = self._ended_ns or self._clock.monotonic_ns()
        waited_s = (self._clock.monotonic_ns() - self._ended_ns) / 1e9
        return not self._reader.is_alive() or waited_s > _DRAIN_S

    def _words(self) -> str:
        if self._signal:
            return exit_words(-self._signal)
        code = self._child.returncode
        failure = phones.read_failure(self._json())
        if code and failure is not None:
            return f"{exit_words(code)}: {failure.message}"
        return exit_words(code)

    def _json(self) -> str:
        if not self._report.is_file():
            return ""
        with self._report.open("rb") as file:
            return file.read(plain.TEXT_MAX).decode("utf-8", "replace")

    def _complaint(self) -> str:
        self._errors.seek(0)
        text = self._errors.read(1 << 16).decode("utf-8", "replace") or self._said
        return reading.shown(" ".join(text.split())) or exit_words(self._child.returncode)
