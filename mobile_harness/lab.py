"""All devices within reach, over all transports, and the words that choose among them."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import filelock

from mobile_harness import profiles
from mobile_harness.profiles import selector as selecting
from mobile_harness.profiles.selector import Selector
from mobile_harness.transports.base import Device, Found, Unusable
from toolkit.core import discovery
from toolkit.core.errors import PalmtopError, SettingsError, ToolMissing
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


def absence(device: Device, tools: Tools) -> Unusable | None:
    """Look for a device that was found before: None when it can be used again, else why it cannot."""
    found = _ask(device.info.transport, tools)
    if any(selector(other) == selector(device) for other in found.devices):
        return None
    reasons = (item for item in found.unusable if item.serial in ("", device.info.serial))
    gone = Unusable(
        transport=device.info.transport,
        serial=device.info.serial,
        reason="it is not attached, or does not answer",
        hint="`palmtop devices` lists what is, and why others are not.",
    )
    return next(reasons, gone)


def select(lab: Lab, selectors: Sequence[str]) -> tuple[Device, ...]:
    """Return the devices that any of the words names, each once, in the lab's order.

    ``all``, a kind (``phone``, ``emulator``, ``simulator``, ``virtual``, ``host``), a transport, ``transport:serial``,
    a device profile, a selector (``ram>=6000,api>=31``; :mod:`mobile_harness.profiles.selector`), or any of the first
    five with ``*`` and ``?``. Without words: everything attached, and this host only when nothing is.

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
    matches = tuple(device for device in lab.devices if _is_named(device, word))
    if matches:
        return matches
    for item in lab.unusable:
        if word in (item.transport, f"{item.transport}:{item.serial}"):
            failed = ToolMissing if item.needs_install else SettingsError
            raise failed(f"The device {word!r} cannot be used: {item.reason}", hint=item.hint)
    if word in KINDS:
        raise SettingsError(f"No {word} is attached.", hint=_LISTED)
    return _of_profiles(lab, word)


def _is_named(device: Device, word: str) -> bool:
    names = (device.info.kind, device.info.transport, selector(device), f"{device.info.kind}:{device.info.serial}")
    return word in names or (("*" in word or "?" in word) and any(fnmatch.fnmatchcase(name, word) for name in names))


_LISTED = "`palmtop devices` lists what is, and why others are not."


def _of_profiles(lab: Lab, word: str) -> tuple[Device, ...]:
    """Return the devices that a selector or a profile's name chooses."""
    known = profiles.shipped()
    names = {profile.name: profile for profile in known}
    if not selecting.is_selector(word) and not fnmatch.filter(names, word.lower()):
        raise _unknown(lab, word, names)
    wanted = selecting.parse_selector(word, names)
    traits = {
        selector(device): selecting.traits_of(device.info, profiles.best_match(known, device.info))
        for device in lab.devices
    }
    matches = tuple(device for device in lab.devices if selecting.selects(wanted, traits[selector(device)]))
    if not matches:
        alone = [Selector(terms=(term,)) for term in wanted.terms]
        unmet = [str(one) for one in alone if not any(selecting.selects(one, item) for item in traits.values())]
        why = f"None is {' or '.join(unmet)}. " if unmet and len(alone) > 1 else ""
        raise SettingsError(f"No device within reach is {wanted}.", hint=f"{why}{_LISTED}")
    return matches


def _unknown(lab: Lab, word: str, profile_names: Iterable[str]) -> SettingsError:
    names = {"all", *(device.info.kind for device in lab.devices), *map(selector, lab.devices)}
    near = difflib.get_close_matches(word, sorted({*names, *profile_names}), n=1, cutoff=0.5)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    words = (
        f"{guess}Known: {', '.join(sorted(names))}; the names that `palmtop devices profiles` lists; and conditions "
        "such as ram>=6000,api>=31."
    )
    return SettingsError(f"Unknown device {word!r}.", hint=words)


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
