"""The device's own ports. They are the host's in no case: a device reaches the host only by ``adb reverse``."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mobile_harness.virtual_device.shell.plumbing import Pipe

FIRST_FREE = 32768


@dataclass(frozen=True, slots=True)
class Socket:
    """One end of a connection."""

    incoming: Pipe
    outgoing: Pipe

    async def close(self) -> None:
        """End both directions."""
        await self.outgoing.end_writing()
        await self.incoming.end_reading()


Answer = Callable[[Socket], Awaitable[None]]
"""What a listening port does with a connection; returns once it is handed on."""


class Network:
    """Which ports are listened on, and by whom."""

    def __init__(self) -> None:
        self._listening: dict[int, Answer] = {}

    def listen(self, port: int, answer: Answer) -> int:
        """Listen on a port, or on a free one for 0; returns which.

        Raises:
            OSError: ``EADDRINUSE``.
        """
        if port == 0:
            port = next(free for free in range(FIRST_FREE, 1 << 16) if free not in self._listening)
        if port in self._listening:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._listening[port] = answer
        return port

    def close(self, port: int) -> None:
        """Stop listening; nothing happens when nobody does."""
        self._listening.pop(port, None)

    async def connect(self, port: int) -> Socket:
        """Connect to a port.

        Raises:
            OSError: ``ECONNREFUSED``.
        """
        answer = self._listening.get(port)
        if answer is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        there, back = Pipe(), Pipe()
        await answer(Socket(incoming=there, outgoing=back))
        return Socket(incoming=back, outgoing=there)
