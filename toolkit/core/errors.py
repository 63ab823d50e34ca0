"""The error tree: one class per decision a caller can take, its exit code on the class.

PalmtopError                 1  a bug, unless a subclass says otherwise
├── UsageError               2  the words of the command are off
├── BadInput                 3  what the user gave cannot be used
│   ├── ModelError              the model file
│   ├── DataError               the data set
│   ├── SettingsError           recipe, palmtop.toml, names of things
│   └── OutputError             the place to write to
│       └── FolderTaken         it holds other results, which palmtop never overwrites
├── ChildFailed              3  a child process crashed, hung or raised; fails only its own build
├── GateFailed               4  an accuracy budget or a regression gate
├── SomeFailed               5  some builds, devices or cells failed; the rest are stored
└── ToolMissing              6  something must be installed first

A message says what failed and on what; ``hint`` says the likely cause and what to run next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PalmtopError(Exception):
    """Base of every error that palmtop raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(PalmtopError):
    """The words of the command cannot be taken."""

    exit_code = 2


class BadInput(PalmtopError):
    """Something the user gave cannot be used."""

    exit_code = 3


class ModelError(BadInput):
    """The model file cannot be read, or palmtop does not support what is in it."""


class DataError(BadInput):
    """The data set cannot be read or does not fit the model."""


class SettingsError(BadInput):
    """A setting, recipe or name is unknown or contradicts another."""


class OutputError(BadInput):
    """The output place is taken, full or not writable."""


class FolderTaken(OutputError):
    """The output folder holds builds of other inputs."""


class ChildFailed(PalmtopError):
    """A child process ended without an answer: crash, deadline, out of memory or a foreign exception.

    ``kind`` is ``crashed``, ``timeout``, ``memory`` or ``raised``; ``log`` is the path of its whole output.
    """

    exit_code = 3

    def __init__(self, message: str, *, kind: str, log: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.log = log


class GateFailed(PalmtopError):
    """An accuracy budget or a regression gate did not hold."""

    exit_code = 4


class SomeFailed(PalmtopError):
    """Some builds, devices or cells failed while the rest are stored."""

    exit_code = 5


class ToolMissing(PalmtopError):
    """A program or package that this command needs is not installed."""

    exit_code = 6


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SettingsError:
    """Make the error for a name that is not known, offering the nearest that is.

    >>> print(unknown_name("target", "tflit", ["onnx", "tflite"]))
    Unknown target 'tflit'. Did you mean 'tflite'? Known: onnx, tflite.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return SettingsError(f"Unknown {kind} {name!r}.", hint=f"{guess}Known: {', '.join(names) or 'none'}.")
