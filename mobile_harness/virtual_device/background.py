"""Virtual devices in a process of their own: started, found again by a state file, and stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from mobile_harness.virtual_device.farm import Farm, FarmFailed
from toolkit.core import codec, process, store
from toolkit.core.errors import SettingsError

SCHEMA: Final = 1
STATE_MAX: Final = 1 << 20
_BOOT_S: Final = 120.0
_STOP_S: Final = 30.0
_SAME_START_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A running device: its serial, and its address for ``adb connect``."""

    serial: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the state file says of a farm's process; ``started`` is when it was, in seconds of the epoch."""

    schema: int
    pid: int
    started: float
    adb_port: int | None
    devices: tuple[Place, ...]


def describe(farm: Farm, adb_port: int | None) -> State:
    """Return the state of a farm of this process; ``adb_port`` is None when no adb server was told of it."""
    own = psutil.Process()
    devices = tuple(Place(serial=device.serial, address=device.address) for device in farm.devices)
    return State(schema=SCHEMA, pid=own.pid, started=own.create_time(), adb_port=adb_port, devices=devices)


def to_text(state: State) -> str:
    """Return a state as one line of JSON."""
    return json.dumps(codec.unstructure(state)) + "\n"


def read_state(path: Path) -> State | None:
    """Return what a state file says, or None without one.

    Raises:
        SettingsError: it is no state file, or one of a newer palmtop.
    """
    try:
        with path.open("rb") as file:
            plain = json.loads(file.read(STATE_MAX))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(f"The state file {path} cannot be read: {error}", hint="Delete it.") from error
    if isinstance(plain, dict) and plain.get("schema") != SCHEMA:
        raise SettingsError(f"The state file {path} has schema {plain.get('schema')!r}, not {SCHEMA}.")
    return codec.structure(plain, State, what=f"state file {path}")


def running(state: State) -> psutil.Process | None:
    """Return the farm's process, or None when it has ended (its number may be another's by now)."""
    try:
        found = psutil.Process(state.pid)
        same = abs(found.create_time() - state.started) < _SAME_START_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def boot(count: int, path: Path, words: Sequence[str] = ()) -> State:
    """Start virtual devices in the background, connected to the adb server unless ``words`` say otherwise.

    Args:
        count: how many devices.
        path: where their state is kept.
        words: more options of ``python -m mobile_harness.virtual_device``.

    Raises:
        FarmFailed: some already run under this state file, or they did not start.
    """
    old = read_state(path)
    if old is not None and running(old) is not None:
        raise FarmFailed(
            f"{len(old.devices)} virtual devices already run (process {old.pid}).",
            hint="Stop them first: `palmtop devices stop virtual`.",
        )
    argv = [sys.executable, "-m", "mobile_harness.virtual_device", "--detach"]
    done = process.run([*argv, "--count", str(count), "--state", str(path), *words], deadline_s=_BOOT_S)
    state = read_state(path) if done.code == 0 else None
    if state is None:
        reason = done.tail().strip().removeprefix("error: ") or done.describe()
        raise FarmFailed(f"The virtual devices did not start: {reason}")
    return state


def stop(path: Path) -> State | None:
    """Stop the devices of a state file; returns what ran, or None when nothing did.

    Raises:
        FarmFailed: their process does not end.
    """
    state = read_state(path)
    found = None if state is None else running(state)
    if found is not None:
        found.terminate()
        try:
            found.wait(_STOP_S)
        except psutil.TimeoutExpired as error:
            raise FarmFailed(f"The process {found.pid} of the virtual devices does not end.") from error
    path.unlink(missing_ok=True)
    return state if found is not None else None


def keep(state: State, path: Path) -> None:
    """Write the state file."""
    store.write_atomic(path, to_text(state))
