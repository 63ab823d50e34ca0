"""Devices that come and go: every change of what :func:`mobile_harness.transports.adb.discover` would list."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.adb.address import Server, is_listening
from mobile_harness.adb.tracking import Tracker
from mobile_harness.records import DeviceInfo
from mobile_harness.transports import _adb_found
from toolkit.core.tools import Tools

AGAIN_S: Final = 2.0
"""While something is unusable it is looked at so often: that a device has booted is told by nobody."""
CALM_S: Final = 30.0
SETTLE_S: Final = 0.3
"""A device that connects is offline for a moment: so long news is let settle before it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A device that can be used now (``arrived``), cannot be used (``unusable``), or is gone (``left``).

    ``device`` is its selector; ``info`` belongs to one that arrived, ``reason`` and ``hint`` to one that is unusable.
    """

    kind: Literal["arrived", "unusable", "left"]
    device: str
    info: DeviceInfo | None = None
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What a device is now, and the names of the ways to it."""

    change: Change
    ways: frozenset[str]


def watch(asked: Sequence[Server], tools: Tools, seconds: float | None) -> Iterator[Change]:
    """Yield first what is there, then every change as it comes; ends after ``seconds``, or never with None."""
    bell = threading.Event()
    trackers = [Tracker(server, bell, tools.run) for server in asked]
    end_ns = None if seconds is None else tools.clock.monotonic_ns() + int(seconds * 1e9)
    before: dict[str, _Standing] = {}
    try:
        while True:
            bell.clear()
            now = _look(asked, tools)
            yield from changes(before, now)
            before = now
            left_s = CALM_S if end_ns is None else (end_ns - tools.clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                return
            unsettled = any(item.change.kind == "unusable" for item in now.values())
            if bell.wait(min(left_s, AGAIN_S if unsettled else CALM_S)):
                tools.clock.sleep(min(SETTLE_S, left_s))
    finally:
        for tracker in trackers:
            tracker.stop()


def _look(asked: Sequence[Server], tools: Tools) -> dict[str, _Standing]:
    running = [server for server in asked if not server.is_local or is_listening(server)]
    seen, unusable = _adb_found.look_around(running, tools)
    found = {}
    for item in unusable:
        name = f"{item.transport}:{item.serial}".rstrip(":")
        change = Change(kind="unusable", device=name, reason=item.reason, hint=item.hint)
        found[name] = _Standing(change=change, ways=frozenset([item.serial]))
    for device in seen:
        name = f"{device.info.transport}:{device.info.serial}"
        ways = frozenset(route.serial for route in device.session.routes)
        found[name] = _Standing(change=Change(kind="arrived", device=name, info=device.info), ways=ways)
    return found


def changes(before: dict[str, _Standing], now: dict[str, _Standing]) -> Iterator[Change]:
    """Yield what differs. A transport that turned into a device by its own name has not left."""
    ways = {way for item in now.values() for way in item.ways}
    for name, item in before.items():
        if name not in now and not (item.change.kind == "unusable" and item.ways & ways):
            yield Change(kind="left", device=name)
    for name, item in now.items():
        if name not in before or before[name].change != item.change:
            yield item.change
