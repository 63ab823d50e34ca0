"""The only module that starts processes. A finished process is a value; a missing program is an ordinary error.

Of a process that prints without end the last :data:`KEPT` characters are kept, and the text says how many were dropped.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from toolkit.core.errors import ToolMissing

OnLine = Callable[[str], None]

KEPT = 16 << 20
"""Characters of a process's standard output, and bytes of its standard error, that are kept: the last ones."""
LONGEST_LINE = 64 << 20
"""Characters after which a line without an end is taken as one line, so that a runaway cannot fill the memory."""

_live: set[subprocess.Popen[str]] = set()
_detached: list[subprocess.Popen[bytes]] = []
_ending = threading.Event()
_endings: list[object] = []
_endings_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A process that has ended. ``code`` is negative for a signal; ``timed_out`` says that we ended it."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False

    def tail(self, lines: int = 12) -> str:
        """Return the end of what it printed, for an error message."""
        text = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return "\n".join(text[-lines:])

    def describe(self) -> str:
        """Return the command and how it ended, in one line."""
        end = "ran past its deadline" if self.timed_out else f"ended with {exit_words(self.code)}"
        return f"`{shlex.join(self.argv)}` {end} after {self.seconds:.1f} s"


class Ended(Exception):
    """What ends a thread that waited while the work it belongs to was ended; whoever ended it drops it."""


class Run(Protocol):
    """How code starts a process; tests hand in another."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        on_line: OnLine | None = None,
    ) -> Finished: ...


def exit_words(code: int) -> str:
    """Say an exit code in words: ``signal SIGSEGV`` or ``exit code 1``."""
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def run(
    argv: Sequence[str],
    *,
    deadline_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    on_line: OnLine | None = None,
) -> Finished:
    """Run a program to its end, or kill its whole process group at the deadline.

    Args:
        argv: program and arguments; never a shell string.
        deadline_s: seconds until the process group is killed.
        cwd: working folder.
        env: variables to add to our own environment.
        stdin: text for its standard input.
        on_line: called with each line of standard output as it comes, without its line end.

    Raises:
        ToolMissing: there is no such program.
    """
    started = time.monotonic()
    with (
        tempfile.TemporaryFile() as err,
        start(argv, cwd=cwd, env=env, stderr_fd=err.fileno()) as child,
    ):
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            kill_group(child)

        timer = threading.Timer(deadline_s, end)
        timer.daemon = True
        timer.start()
        feeder = threading.Thread(target=_feed, args=(child, stdin), daemon=True)
        feeder.start()
        out = _Tail()
        try:
            assert child.stdout is not None
            while line := child.stdout.readline(LONGEST_LINE):
                out.add(line)
                if on_line is not None:
                    on_line(line.rstrip("\r\n"))
            code = child.wait()
        finally:
            timer.cancel()
        feeder.join(timeout=1)
        return Finished(
            argv=tuple(argv),
            code=code,
            stdout=out.text(),
            stderr=_end_of(err),
            seconds=time.monotonic() - started,
            timed_out=timed_out.is_set(),
        )


class _Tail:
    """The last :data:`KEPT` characters of a stream of lines, whole lines where they fit."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._size = 0
        self._dropped = 0

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line)
        while self._size > KEPT and len(self._lines) > 1:
            gone = len(self._lines.popleft())
            self._size -= gone
            self._dropped += gone

    def text(self) -> str:
        return (f"[{self._dropped} characters dropped]\n" if self._dropped else "") + "".join(self._lines)


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - KEPT))
    cut = f"[{size - KEPT} bytes dropped]\n" if size > KEPT else ""
    return cut + file.read().decode("utf-8", errors="replace")


def _feed(child: subprocess.Popen[str], text: str) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(text)
        child.stdin.close()
    except (BrokenPipeError, ValueError):
        return  # it ended without reading; its exit code tells the story


@contextmanager
def start(
    argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, stderr_fd: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a program in a process group of its own; leaving the block kills what is left of the group.

    Raises:
        ToolMissing: there is no such program.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if stderr_fd is None else stderr_fd,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise ToolMissing(
            f"The program {argv[0]!r} is not installed.", hint="`palmtop doctor` says how to get it."
        ) from error
    _live.add(child)
    try:
        yield child
    finally:
        _live.discard(child)
        kill_group(child)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # the reader is gone, and so is what was left to write
        child.wait()


class Detached:
    """A process that outlives us, in a session of its own."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid
        _detached.append(child)

    def code(self) -> int | None:
        """Return how it ended, or None while it runs."""
        return self._child.poll()


@atexit.register
def _let_go() -> None:
    """Have the interpreter end without a warning of each process that goes on, as it is meant to."""
    for child in _detached:
        if child.poll() is None:
            child.returncode = 0


def detach(argv: Sequence[str], *, log: IO[bytes], env: Mapping[str, str] | None = None) -> Detached:
    """Start a program that goes on when we end; both its outputs go to the file ``log``.

    Raises:
        ToolMissing: there is no such program.
        OSError: it cannot be started.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ToolMissing(
            f"The program {argv[0]!r} is not installed.", hint="`palmtop doctor` says how to get it."
        ) from error
    return Detached(child)


def kill_group(child: subprocess.Popen[str]) -> None:
    """Kill the process and everything it started; nothing happens when all have ended."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


@contextmanager
def ending() -> Iterator[None]:
    """Tell, for the length of the block, every thread that waits through :func:`give_up_if_ending` to stop waiting.

    Blocks may overlap, as those of work within work do: the last one to end lifts it.
    """
    mark = object()
    with _endings_lock:
        _endings.append(mark)
        _ending.set()
    try:
        yield
    finally:
        with _endings_lock:
            _endings.remove(mark)
            if not _endings:
                _ending.clear()


def is_ending() -> bool:
    """Say whether a block of :func:`ending` runs: for a wait that has an end of its own to come to early."""
    return _ending.is_set()


def give_up_if_ending() -> None:
    """Raise :class:`Ended` within a block of :func:`ending`: for a thread that waits for something in slices."""
    if _ending.is_set():
        raise Ended("the work that this thread did a part of is being ended")


def end_all() -> None:
    """Kill every process that is running now, with its group: for a parent that was interrupted in several threads."""
    for child in tuple(_live):
        kill_group(child)
