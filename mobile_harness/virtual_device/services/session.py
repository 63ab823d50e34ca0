"""What every service gets: the device, the link and the stream, and the words it was opened with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mobile_harness.virtual_device import protocol
from mobile_harness.virtual_device.android import registry
from mobile_harness.virtual_device.android.system import System
from mobile_harness.virtual_device.filesystem import SHELL, View
from mobile_harness.virtual_device.protocol import Packet
from mobile_harness.virtual_device.shell.interpreter import Shell
from mobile_harness.virtual_device.streams import Stream
from mobile_harness.virtual_device.transport import Transport

ENVIRONMENT: Final = {
    "PATH": "/product/bin:/system/bin:/vendor/bin", "ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "HOME": "/",
    "SHELL": "/system/bin/sh", "TMPDIR": "/data/local/tmp", "EXTERNAL_STORAGE": "/sdcard", "USER": "shell",
    "LOGNAME": "shell", "HOSTNAME": "palmtop_virtual",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A stream that a host opened: ``kind`` with its ``options``, and ``argument`` behind the colon."""

    system: System
    transport: Transport
    stream: Stream
    kind: str
    options: tuple[str, ...]
    argument: str

    def shell(self) -> Shell:
        """Return a fresh shell of the user ``shell``."""
        view = View(self.system.files, SHELL)
        return Shell(system=self.system, view=view, commands=registry.COMMANDS, environment=dict(ENVIRONMENT))


Service = Callable[[Opened], Awaitable[None]]
"""Serves a stream to its end. It accepts the stream itself; one that it has not accepted is refused behind it."""


class RawSink:
    """Output without packets: what a host gets without the shell protocol. It looks like a terminal."""

    is_terminal = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)


class RawSource:
    """Input without packets: it has no end but the stream's."""

    is_terminal = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._back = b""

    async def read(self) -> bytes:
        data, self._back = self._back, b""
        return data or await self._stream.read()

    async def unread(self, data: bytes) -> None:
        self._back = data + self._back


class PacketSink:
    """One of the two outputs of the shell protocol; ``terminal`` makes line ends a terminal's."""

    def __init__(self, stream: Stream, kind: int, lock: asyncio.Lock, *, terminal: bool = False) -> None:
        self.is_terminal = terminal
        self._stream = stream
        self._kind = kind
        self._lock = lock

    async def write(self, data: bytes) -> None:
        data = data.replace(b"\n", b"\r\n") if self.is_terminal else data
        async with self._lock:
            await self._stream.write(protocol.encode_packet(Packet(self._kind, data)))
