"""The four seams handed down by argument: how to run processes, tell news, read time and keep files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from toolkit.core import process
from toolkit.core.clock import Clock, SystemClock
from toolkit.core.events import Emit, silent
from toolkit.core.process import Run
from toolkit.core.store import Store


@dataclass(frozen=True, slots=True)
class Tools:
    """What a stage may use of the world."""

    run: Run
    emit: Emit
    clock: Clock
    store: Store


def cache_root() -> Path:
    """Return where results are cached: ``$PALMTOP_CACHE``, or the user's cache folder."""
    named = os.environ.get("PALMTOP_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("palmtop"))


def system_tools(emit: Emit = silent) -> Tools:
    """Return the real tools of this machine."""
    return Tools(run=process.run, emit=emit, clock=SystemClock(), store=Store(cache_root(), emit))
