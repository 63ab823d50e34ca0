"""A distribution, as far as Python can tell, whose commands end in every way a command can."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMANDS = '''
"""Commands of a third party."""
import errno
import click
from toolkit.cli.options import common_options
from toolkit.core import errors
from toolkit.core.events import Event


@click.command()
@click.argument("how")
@common_options
def end(how, console):
    """End in the way named.

    Example:
      palmtop acme-end bug
    """
    if how == "bug":
        raise ZeroDivisionError("surprise \\x1b[31m")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")
    if how == "forbidden":
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")
    if how == "read-only":
        raise OSError(errno.EROFS, "Read-only file system", "/somewhere/else")
    if how == "library":
        import no_such_library.deep
    if how == "own-module":
        import toolkit.no_such_module
    if how == "child":
        raise errors.ChildFailed("It crashed.", kind="crashed", log="/x.log", hint="See /x.log")
    if how == "late":
        console.emit(Event(subject="work", phase="begin"))
        console.result({"builds": 1}, lambda: "one build")
        raise errors.GateFailed("Too low.", hint="Try more.")
    if how == "fine":
        console.emit(Event(subject="work", phase="begin"))
        console.emit(Event(subject="work", phase="detail", level="debug"))
        console.note("a note")
        console.result({"answer": float("inf")}, lambda: "the answer")
        return
    raise getattr(errors, how)("What failed.", hint="What to do.")
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Bring the commands ``acme-end`` and the broken ``acme-lost``, and try to take the name ``doctor``."""
    place = tmp_path / "acme"
    info = place / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "acme_commands.py").write_text(COMMANDS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[palmtop.commands]\n"
        "acme-end = acme_commands:end\nacme-lost = no_such_module:command\ndoctor = acme_commands:end\n"
    )
    monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()
    yield place
    sys.modules.pop("acme_commands", None)
