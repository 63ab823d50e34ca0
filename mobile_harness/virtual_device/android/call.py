"""One run of a command: who calls it, with what words, and where its output goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from mobile_harness.virtual_device.android.system import System
from mobile_harness.virtual_device.filesystem import View
from mobile_harness.virtual_device.shell.plumbing import Sink, Source


class Trouble(Exception):
    """A command cannot go on: the message goes to its standard error, behind its name, and ``code`` is its end."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Runner(Protocol):
    """The shell that called, for commands that start others (``sh``, ``timeout``, ``run-as``)."""

    async def run_words(self, call: Call, words: list[str]) -> int:
        """Run a command by its words, as the caller of ``call``; return its exit code."""

    async def run_text(self, call: Call, text: str, parameters: list[str]) -> int:
        """Run a script in a shell of its own; return its exit code."""


@dataclass(slots=True, kw_only=True)
class Call:
    """What a command gets."""

    system: System
    runner: Runner
    view: View
    environment: dict[str, str]
    name: str
    args: list[str]
    stdin: Source
    stdout: Sink
    stderr: Sink
    pid: int

    async def say(self, text: str) -> None:
        """Print to standard output."""
        await self.stdout.write(text.encode("utf-8", "surrogateescape"))

    async def complain(self, text: str) -> None:
        """Print a line to standard error, behind the command's name."""
        await self.stderr.write(f"{self.name}: {text}\n".encode("utf-8", "surrogateescape"))


Command = Callable[[Call], Awaitable[int]]
"""Does the work and returns the exit code; raises :class:`Trouble` or OSError to end with a message."""


def describe(error: OSError, path: str = "") -> str:
    """Return an error of the system as a command says it: ``PATH: No such file or directory``."""
    place = path or (error.filename if isinstance(error.filename, str) and not error.errno else "")
    reason = error.strerror or str(error)
    return f"{place}: {reason}" if place else reason
