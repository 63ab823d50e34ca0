"""The only module that starts processes. A finished process is a value; a missing program is an ordinary error."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from toolkit.core.errors import ToolMissing

OnLine = Callable[[str], None]


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
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as err,
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
        lines = []
        try:
            assert child.stdout is not None
            for line in child.stdout:
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\r\n"))
            code = child.wait()
        finally:
            timer.cancel()
        feeder.join(timeout=1)
        err.seek(0)
        return Finished(
            argv=tuple(argv),
            code=code,
            stdout="".join(lines),
            stderr=err.read(),
            seconds=time.monotonic() - started,
            timed_out=timed_out.is_set(),
        )


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
    try:
        yield child
    finally:
        kill_group(child)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # the reader is gone, and so is what was left to write
        child.wait()


def kill_group(child: subprocess.Popen[str]) -> None:
    """Kill the process and everything it started; nothing happens when all have ended."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
