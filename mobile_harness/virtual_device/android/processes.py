"""The device's process table: what ``ps``, ``pidof`` and ``kill`` see. The processes are tasks of ours."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

FIRST_PID: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; ``end`` ends what it stands for, given a signal's number."""

    pid: int
    parent: int
    user: str
    name: str
    argv: tuple[str, ...]
    rss_kb: int
    end: Callable[[int], None]


class Processes:
    """All processes by pid."""

    def __init__(self) -> None:
        self._next = FIRST_PID
        self._running: dict[int, Process] = {}

    def start(self, *, user: str, argv: tuple[str, ...], end: Callable[[int], None], rss_kb: int = 2048) -> Process:
        """Add a process under a new pid; its name is the last part of its first word."""
        self._next += 1
        name = argv[0].rpartition("/")[2]
        process = Process(pid=self._next, parent=1, user=user, name=name, argv=argv, rss_kb=rss_kb, end=end)
        self._running[process.pid] = process
        return process

    def stop(self, process: Process) -> None:
        """Remove a process that has ended."""
        self._running.pop(process.pid, None)

    @contextmanager
    def running(
        self, *, user: str, argv: tuple[str, ...], end: Callable[[int], None], rss_kb: int = 2048
    ) -> Iterator[Process]:
        """Have a process in the table for as long as the block lasts."""
        process = self.start(user=user, argv=argv, end=end, rss_kb=rss_kb)
        try:
            yield process
        finally:
            self.stop(process)

    def all(self) -> list[Process]:
        """Return the processes by pid."""
        return [self._running[pid] for pid in sorted(self._running)]

    def named(self, name: str) -> list[Process]:
        """Return the processes of a name, the newest first as ``pidof`` does."""
        return [item for item in reversed(self.all()) if name in (item.name, item.argv[0])]

    def find(self, pid: int) -> Process | None:
        """Return the process of a pid."""
        return self._running.get(pid)

    def kill(self, pid: int, signal: int, user: str) -> None:
        """End a process.

        Raises:
            OSError: ``ESRCH`` without such a process, ``EPERM`` for another user's.
        """
        process = self._running.get(pid)
        if process is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if process.user != user:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if signal:
            process.end(signal)
