"""One start of the bench app on a simulator: followed by its result file and its process, both of this computer.

The file lies on the Mac's own disk. Consoles of simulators cost minutes or lose lines; the file does neither.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from mobile_harness.apple.crashes import Crash, read_file
from mobile_harness.transports._result_tail import ResultTail
from mobile_harness.transports.base import News
from toolkit.core.clock import Clock

READ_MAX: Final = 1 << 20
REPORT_S: Final = 6.0
REPORTS_MAX: Final = 60
_LOOK_S: Final = 0.05
_REPORTS: Final = "Library/Logs/DiagnosticReports"


class Running:
    """A running app. ``pid`` is its process on this computer."""

    def __init__(self, pid: int, result: Path, run: str, clock: Clock) -> None:
        self.pid = pid
        self._process = _process(pid)
        self._result = result
        self._clock = clock
        self._tail = ResultTail(run)
        self._began = clock.utc().timestamp()

    def poll(self, timeout_s: float) -> News:
        """Return the records that were written since, as frames, waiting at most so long for one."""
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            lives = self.lives()  # before the file is read: what it wrote last is not missed
            lines = self._new_lines()
            if lines:
                return News(lines=tuple(lines), running=True)
            if not lives:
                return News(lines=(), running=False, ended=self._tail.words())
            if self._clock.monotonic_ns() >= end_ns:
                return News(lines=(), running=True)
            self._clock.sleep(_LOOK_S)

    def lives(self) -> bool:
        """Say whether the app's process is still there."""
        if self._process is None:
            return False
        try:
            return bool(self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def end(self) -> None:
        """Kill the process, whatever the simulator thinks of it."""
        if self.lives() and self._process is not None:
            try:
                self._process.kill()
                self._process.wait(REPORT_S)
            except (psutil.NoSuchProcess, psutil.TimeoutExpired):
                return  # it ended, or is ending

    def evidence(self) -> str:
        """Return the crash report of the process; one that still runs is made to crash, which shows its stacks."""
        if self._tail.has_ended:
            return ""  # it said its last word: there is no crash to wait for
        if self.lives():
            with suppress(ProcessLookupError):  # it ended just now, and may have left a report
                os.kill(self.pid, signal.SIGABRT)
        end_ns = self._clock.monotonic_ns() + int(REPORT_S * 1e9)
        while self._clock.monotonic_ns() < end_ns:
            crash = self._report()
            if crash is not None:
                return crash.words()
            self._clock.sleep(4 * _LOOK_S)
        return ""

    def _new_lines(self) -> list[str]:
        try:
            if self._result.is_symlink():
                return []
            with self._result.open("rb") as file:
                file.seek(self._tail.size)
                data = file.read(READ_MAX)
        except OSError:
            return []  # it is not there yet, or no longer
        return self._tail.feed(data)

    def _report(self) -> Crash | None:
        folder = Path.home() / _REPORTS
        times = {path: _changed_s(path) for path in folder.glob("*.ips")}
        late = [path for path, at_s in times.items() if at_s >= self._began - 1]
        for path in sorted(late, key=times.__getitem__, reverse=True)[:REPORTS_MAX]:
            crash = read_file(path)
            if isinstance(crash, Crash) and crash.pid == self.pid:
                return crash
        return None


def _changed_s(path: Path) -> float:
    """Return when a file was changed, 0 when it was moved away meanwhile, as the system does with reports."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
