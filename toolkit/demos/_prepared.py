"""Prepare a demo once: in a child process, and then out of the cache."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from toolkit.core import discovery, store
from toolkit.core.errors import ToolMissing
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.demos._project import DemoProject

ROOM = "toolkit.demos"
DEADLINE_S = 900.0


def prepared(name: str, tools: Tools) -> DemoProject:
    """Return the demo of this name, made anew only when its code or one of its packages changed.

    Raises:
        SettingsError: there is none of that name; the nearest is offered.
        ToolMissing: a package of the extra ``demo`` is not installed.
        ChildFailed: preparing it crashed or took longer than a quarter of an hour.
    """
    demo = discovery.load(ROOM, name)
    code = [Path(str(demo.__file__)), *sorted(Path(__file__).parent.glob("_*.py"))]
    inputs = {
        "demo": name,
        "code": [store.sha256_of(path) for path in code],
        "packages": _versions(name, demo.PACKAGES),
    }
    return tools.store.memo(
        "demo/1", inputs, DemoProject, lambda folder: isolate(tools, DEADLINE_S, demo.prepare, folder, tools.emit)
    )


def _versions(name: str, packages: Sequence[str]) -> dict[str, str]:
    found, missing = {}, []
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        raise ToolMissing(
            f"The demo {name!r} needs {', '.join(missing)}, which is not installed.",
            hint="Run `pip install 'palmtop[demo]'`.",
        )
    return found
