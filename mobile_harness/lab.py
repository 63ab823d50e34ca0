"""All devices within reach, over all transports, and the words that choose among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import filelock

from mobile_harness.transports.base import Device, Found, Unusable
from toolkit.core import discovery
from toolkit.core.errors import PalmtopError, SettingsError, unknown_name
from toolkit.core.events import Event
from toolkit.core.store import writing_to
from toolkit.core.tools import Tools

ROOM = "mobile_harness.transports"
KINDS = ("phone", "emulator", "simulator", "virtual", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """What is within reach now."""

    devices: tuple[Device, ...]
    unusable: tuple[Unusable, ...]


def discover(tools: Tools, *, wake: bool = False) -> Lab:
    """Ask every transport. One that fails is itself listed as unusable, with the reason.

    ``wake`` starts what a transport works through (an adb server) where it does not run yet; looking alone never does.
    """
    names = discovery.names(ROOM)
    asleep = [item for name in names for item in _wake(name, tools)] if wake else []
    found = [_ask(name, tools) for name in names]
    return Lab(
        devices=tuple(device for part in found for device in part.devices),
        unusable=tuple(dict.fromkeys([*asleep, *(item for part in found for item in part.unusable)])),
    )


def _wake(name: str, tools: Tools) -> tuple[Unusable, ...]:
    try:
        wake = getattr(discovery.load(ROOM, name), "wake", None)
        return tuple(wake(tools)) if wake is not None else ()
    except PalmtopError as error:
        return (Unusable(transport=name, serial="", reason=error.message, hint=error.hint),)


def _ask(name: str, tools: Tools) -> Found:
    try:
        found: Found = discovery.load(ROOM, name).discover(tools)
    except PalmtopError as error:
        return Found(devices=(), unusable=(Unusable(transport=name, serial="", reason=error.message, hint=error.hint),))
    return found


def selector(device: Device) -> str:
    """Return the word that names exactly this device."""
    return f"{device.info.transport}:{device.info.serial}"


def select(lab: Lab, selectors: Sequence[str]) -> tuple[Device, ...]:
    """Return the devices that any of the words names, each once, in the lab's order.

    ``all``, a kind (``phone``, ``emulator``, ``simulator``, ``virtual``, ``host``), a transport, or
    ``transport:serial``. Without words: everything attached, and this host only when nothing is.

    Raises:
        SettingsError: a word names no device; the nearest is offered, or why the device it names is unusable.
    """
    if not selectors:
        attached = tuple(device for device in lab.devices if device.info.kind != "host")
        return attached or lab.devices
    chosen = [device for word in selectors for device in _matching(lab, word)]
    return tuple(device for device in lab.devices if any(device is other for other in chosen))


def _matching(lab: Lab, word: str) -> tuple[Device, ...]:
    if word == "all":
        return lab.devices
    matches = tuple(
        device for device in lab.devices if word in (device.info.kind, device.info.transport, selector(device))
    )
    if matches:
        return matches
    for item in lab.unusable:
        if word in (item.transport, f"{item.transport}:{item.serial}"):
            raise SettingsError(f"The device {word!r} cannot be used: {item.reason}", hint=item.hint)
    if word in KINDS:
        raise SettingsError(f"No {word} is attached.", hint="`palmtop devices` lists what is, and why others are not.")
    names = {device.info.kind for device in lab.devices} | {selector(device) for device in lab.devices}
    raise unknown_name("device", word, {"all", *names})


def _taken(lock: filelock.FileLock) -> bool:
    try:
        lock.acquire(timeout=0.5)
    except filelock.Timeout:
        return False
    return True


@contextmanager
def reserve(device: Device, tools: Tools, give_up: Callable[[], None]) -> Iterator[None]:
    """Keep other palmtop processes of this user off a device for the length of the block; waits until it is free.

    ``give_up`` is called twice a second while it waits, and ends the waiting by raising.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", selector(device))
    folder = tools.store.root / "locks"
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{safe}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        words = "another palmtop is measuring on it: waiting"
        tools.emit(Event(subject=selector(device), phase="noted", message=words))
        while not _taken(lock):
            give_up()
    try:
        yield
    finally:
        lock.release()
