"""The device's log: buffers of entries, as ``logcat`` shows them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from dataclasses import dataclass
from typing import Final

from toolkit.core.clock import Clock

KEPT: Final = 5000
LEVELS: Final = "VDIWEF"
PAYLOAD_MAX: Final = 4068
"""Bytes of a message with its tag that a real logger keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry; ``number`` counts from the device's start."""

    number: int
    at: dt.datetime
    pid: int
    level: str
    tag: str
    message: str
    buffer: str


class Logs:
    """The last :data:`KEPT` entries of all buffers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._number = 0
        self._waiting: set[asyncio.Event] = set()

    def add(self, level: str, tag: str, message: str, *, pid: int = 1, buffer: str = "main") -> None:
        """Write an entry, one a line of the message."""
        for line in message.splitlines() or [""]:
            self._number += 1
            entry = Entry(
                number=self._number,
                at=self._clock.utc(),
                pid=pid,
                level=level,
                tag=tag,
                message=line[: PAYLOAD_MAX - len(tag)],
                buffer=buffer,
            )
            self._entries.append(entry)
        for event in self._waiting:
            event.set()

    def since(self, number: int) -> list[Entry]:
        """Return the entries after a number that are still kept."""
        return [entry for entry in self._entries if entry.number > number]

    def clear(self, buffers: frozenset[str]) -> None:
        """Forget the entries of some buffers."""
        kept = [entry for entry in self._entries if entry.buffer not in buffers]
        self._entries.clear()
        self._entries.extend(kept)

    async def wait(self) -> None:
        """Wait for the next entry."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)
