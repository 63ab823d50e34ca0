"""The state of the stand-in: one JSON file, changed under a lock, and folders beside it."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

HOME = Path(os.environ.get("PALMTOP_FAKE_APPLE", "/nonexistent"))


@contextmanager
def _alone() -> Iterator[None]:
    with (HOME / "state.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def changing() -> Iterator[dict[str, Any]]:
    """Yield the state and keep what was changed in it."""
    path = HOME / "state.json"
    with _alone():
        state = json.loads(path.read_text())
        yield state
        part = path.with_suffix(".new")
        part.write_text(json.dumps(state, indent=1))
        part.replace(path)


def read() -> dict[str, Any]:
    with _alone():
        state: dict[str, Any] = json.loads((HOME / "state.json").read_text())
        return state


def fail(code: int, text: str) -> NoReturn:
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()
    os._exit(code)


def spawn(argv: list[str], *, shown: bool, errors: Path | None = None, **env: str) -> int:
    """Start a Python program in a session of its own and return its process; its output is ours or nobody's."""
    null = os.open(os.devnull, os.O_RDWR)
    told = null if errors is None else os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, told, 2)]
    if not shown:
        actions.append((os.POSIX_SPAWN_DUP2, null, 1))
    words = [sys.executable, *argv]
    return os.posix_spawn(sys.executable, words, {**os.environ, **env}, file_actions=actions, setsid=True)


def pause() -> None:
    threading.Event().wait(0.02)


def options(words: list[str], flags: set[str], values: set[str], tool: str) -> tuple[dict[str, str], list[str]]:
    """Read a command's words; an option that the tool does not know ends it, as the tool's own parser does."""
    given: dict[str, str] = {}
    rest: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if rest and tool == "launch":
            rest.append(word)  # all after the app's name is the app's
        elif word in flags:
            given[word] = ""
        elif word in values and waiting:
            given[word] = waiting.pop(0)
        elif word.startswith("-") and word != "-":
            fail(64, f"Error: Unknown option '{word}'")
        else:
            rest.append(word)
    return given, rest
