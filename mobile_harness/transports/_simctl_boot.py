"""The user's own simulators, booted and shut down at the user's word; what was booted here is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import filelock

from mobile_harness.apple import xcode
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.simulators import Simulator
from mobile_harness.apple.xcode import Xcrun
from mobile_harness.transports._simctl_own import END_S, LIST_S, MAKE_S
from toolkit.core import codec, store
from toolkit.core.errors import SettingsError
from toolkit.core.tools import Tools

STATE_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """A simulator that we booted."""

    name: str
    udid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the state file says."""

    schema: Literal[1] = 1
    booted: tuple[Booted, ...] = ()


def find(name: str, tools: Tools) -> Simulator | None:
    """Return the available simulator of this identifier or name, of several of one name the newest system's.

    Raises:
        AppleFailed: they cannot be listed.
        ToolMissing: there is no Xcode.
    """
    xcode.locate(tools)
    inventory = Xcrun(tools).inventory(LIST_S)
    fits = [item for item in inventory.simulators if item.is_available and name in (item.udid, item.name)]

    def version(item: Simulator) -> tuple[int, ...]:
        runtime = inventory.runtime_of(item)
        return runtime.order if runtime is not None else ()

    return max(fits, key=version, default=None)


def names(tools: Tools) -> tuple[str, ...]:
    """Return the names of the simulators that can be booted, each once.

    Raises:
        AppleFailed: they cannot be listed.
        ToolMissing: there is no Xcode.
    """
    return tuple(dict.fromkeys(item.name for item in Xcrun(tools).inventory(LIST_S).simulators if item.is_available))


def boot(simulator: Simulator, folder: Path, tools: Tools, deadline_s: float) -> Booted:
    """Boot a simulator without a window and wait until it is up.

    Raises:
        AppleFailed: it does not come up.
    """
    xcrun = Xcrun(tools)
    booted = Booted(name=simulator.name, udid=simulator.udid)
    xcrun.simctl(["boot", simulator.udid], MAKE_S, ok=("state",))
    xcrun.simctl(["bootstatus", simulator.udid, "-b"], deadline_s, ok=("state",))
    state = next((item.state for item in xcrun.inventory(LIST_S).simulators if item.udid == simulator.udid), "")
    if state != "Booted":
        raise AppleFailed(f"The simulator {simulator.name} is {state or 'gone'} after booting.", kind="state")
    if simulator.state != "Booted":
        with _changing(folder) as kept:
            others = tuple(item for item in kept.booted if item.udid != booted.udid)
            _keep(folder, (*others, booted))
    return booted


def stop(name: str, folder: Path, tools: Tools) -> Booted | None:
    """Shut a simulator down that we booted; None when we booted none of that name.

    Raises:
        AppleFailed: it stays.
        ToolMissing: Xcode is gone.
    """
    with _changing(folder) as kept:
        found = next((item for item in kept.booted if name in (item.name, item.udid)), None)
        if found is not None:
            Xcrun(tools).simctl(["shutdown", found.udid], END_S, ok=("state", "not_found"))
            _keep(folder, tuple(item for item in kept.booted if item != found))
    return found


@contextmanager
def _changing(folder: Path) -> Iterator[State]:
    with store.writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / "simulators.json"
    with filelock.FileLock(folder / "simulators.lock", timeout=60):
        try:
            plain = json.loads(path.read_bytes()[:STATE_MAX]) if path.exists() else {"schema": 1, "booted": []}
        except (OSError, ValueError) as error:
            raise SettingsError(f"The state file {path} cannot be read: {error}", hint="Delete it.") from error
        yield codec.structure(plain, State, what=f"state file {path}")


def _keep(folder: Path, booted: tuple[Booted, ...]) -> None:
    store.write_atomic(folder / "simulators.json", codec.pretty(State(booted=booted)))
