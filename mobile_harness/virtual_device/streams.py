"""One of the many streams of a link: bytes in order both ways, with the peer's and our own back-pressure."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from mobile_harness.virtual_device import protocol
from mobile_harness.virtual_device.protocol import Message

HIGH_WATER: Final = 4 << 20
"""Unread bytes from which on no OKAY is sent, so that the host stops."""
LIMIT: Final = HIGH_WATER + protocol.DELAYED_ACK_BYTES + protocol.PAYLOAD_MAX


class StreamClosed(ConnectionError):
    """The host closed the stream, or the link is gone."""


class Link(Protocol):
    """What a stream needs of its transport."""

    payload_max: int
    delayed_ack: bool

    def send(self, message: Message) -> None:
        """Queue a message for the host."""

    async def drain(self, sent: int) -> None:
        """Wait until the host has taken most of what is queued; ``sent`` bytes were just added."""

    def forget(self, local_id: int) -> None:
        """Drop a stream that has ended."""


class Stream:
    """Reading never fails: it ends. Writing raises :class:`StreamClosed` once nobody listens."""

    def __init__(self, link: Link, local_id: int, remote_id: int, may_send: int) -> None:
        self.local_id = local_id
        self.remote_id = remote_id
        self.ended = asyncio.Event()
        """Set when the host closed the stream or the link went away."""
        self.accepted = asyncio.Event()
        """Set when we opened the stream and the host answered, either way."""
        self._link = link
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._owed = 0
        self._may_send = may_send
        self._opened = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the host still listens."""
        return not self.ended.is_set()

    @property
    def was_accepted(self) -> bool:
        """Whether we told the host that the service is there."""
        return self._opened

    @property
    def unread(self) -> int:
        """Bytes the host sent that nobody has read."""
        return self._unread

    def accept(self) -> None:
        """Tell the host that the service is there."""
        self._opened = True
        self._writable.set()
        self._send(protocol.OKAY, protocol.credit(protocol.DELAYED_ACK_BYTES) if self._link.delayed_ack else b"")

    def refuse(self) -> None:
        """Tell the host that there is no such service."""
        if self.is_open:
            self._link.send(Message(protocol.CLSE, 0, self.remote_id))
            self.hang_up()

    def close(self) -> None:
        """End the stream from our side."""
        if self.is_open:
            self._send(protocol.CLSE)
            self.hang_up()

    # what the transport tells -----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes that the host sent.

        Raises:
            BadMessage: the host sent far more than it was allowed to.
        """
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread > LIMIT:
            raise protocol.BadMessage(f"{self._unread} bytes came without leave")
        self._readable.set()
        if self._unread < HIGH_WATER:
            self._acknowledge(len(data))
        else:
            self._owed += len(data)

    def grant(self, message: Message) -> None:
        """Take the host's OKAY: the first one for a stream that we opened, else leave to send more."""
        if not self.remote_id:
            self.remote_id = message.arg0
            self._opened = True
            self.accepted.set()
        self._may_send += protocol.read_credit(message.payload)
        if not self._link.delayed_ack or self._may_send > 0:
            self._writable.set()

    def hang_up(self) -> None:
        """The host closed the stream, or the link is gone: readers reach the end, writers fail."""
        self.ended.set()
        self.accepted.set()
        self._readable.set()
        self._writable.set()
        self._link.forget(self.local_id)

    # reading and writing ----------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """Return the next bytes, or nothing at the end."""
        while not self._chunks:
            if not self.is_open:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = self._chunks.popleft()
        self._taken(len(data))
        return data

    async def read_exactly(self, size: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            StreamClosed: the stream ended before.
        """
        parts: list[bytes] = []
        missing = size
        while missing:
            data = await self.read()
            if not data:
                raise StreamClosed("the host closed the stream in the middle of a message")
            if len(data) > missing:
                self._chunks.appendleft(data[missing:])
                self._unread += len(data) - missing
                data = data[:missing]
            parts.append(data)
            missing -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting for the host's leave.

        Raises:
            StreamClosed: the host does not listen any more.
        """
        size = self._link.payload_max
        for start in range(0, len(data), size):
            await self._writable.wait()
            if not self.is_open:
                raise StreamClosed("the host closed the stream")
            part = data[start : start + size]
            self._may_send -= len(part)
            if not self._link.delayed_ack or self._may_send <= 0:
                self._writable.clear()
            self._send(protocol.WRTE, part)
            await self._link.drain(len(part))

    def _taken(self, size: int) -> None:
        self._unread -= size
        if self._owed and self._unread < HIGH_WATER and self.is_open:
            self._acknowledge(self._owed)
            self._owed = 0

    def _acknowledge(self, size: int) -> None:
        self._send(protocol.OKAY, protocol.credit(size) if self._link.delayed_ack else b"")

    def _send(self, command: int, payload: bytes = b"") -> None:
        self._link.send(Message(command, self.local_id, self.remote_id, payload))
