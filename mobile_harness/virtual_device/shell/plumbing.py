"""What commands read from and write to, all of it in memory or in the device's own files."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import BinaryIO, Final, Protocol

from mobile_harness.virtual_device.filesystem import OpenFile

CHUNK: Final = 64 << 10
PIPE_MAX: Final = 256 << 10
COLLECT_MAX: Final = 4 << 20
LINE_MAX: Final = 1 << 20


class Source(Protocol):
    """Where a command's input comes from."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person may be typing."""

    async def read(self) -> bytes:
        """Return the next bytes, or nothing at the end."""

    async def unread(self, data: bytes) -> None:
        """Give back what was read too much: the next reader gets it first."""


class Sink(Protocol):
    """Where a command's output goes."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person may be looking: ``ls`` prints columns then."""

    async def write(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            ConnectionError: nobody reads them.
        """


class Nothing:
    """``/dev/null``."""

    is_terminal = False

    async def read(self) -> bytes:
        return b""

    async def unread(self, data: bytes) -> None:
        """Nothing was read."""

    async def write(self, data: bytes) -> None:
        """Drop them."""


class Pipe:
    """Bytes from one command to the next; the writer waits for the reader."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.is_terminal = is_terminal
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Condition()
        self._write_ended = False
        self._read_ended = False

    async def read(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._chunks) or self._write_ended)
            if not self._chunks:
                return b""
            data = self._chunks.popleft()
            self._size -= len(data)
            self._changed.notify_all()
            return data

    async def unread(self, data: bytes) -> None:
        async with self._changed:
            if data:
                self._chunks.appendleft(data)
            self._size += len(data)
            self._changed.notify_all()

    async def write(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < PIPE_MAX or self._read_ended)
            if self._read_ended:
                raise BrokenPipeError("nobody reads the pipe")
            if data:
                self._chunks.append(data)
                self._size += len(data)
            self._changed.notify_all()

    async def end_writing(self) -> None:
        """Nothing more will come."""
        async with self._changed:
            self._write_ended = True
            self._changed.notify_all()

    async def end_reading(self) -> None:
        """Nobody will read any more."""
        async with self._changed:
            self._read_ended = True
            self._changed.notify_all()


class Given:
    """Input that is known beforehand."""

    is_terminal = False

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def unread(self, data: bytes) -> None:
        self._data = data + self._data


class Collected:
    """Output kept in memory, at most :data:`COLLECT_MAX` bytes of it."""

    is_terminal = False

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        if len(self.data) + len(data) > COLLECT_MAX:
            raise ConnectionError(f"more than {COLLECT_MAX} bytes of output in a substitution")
        self.data += data


class FileSource:
    """Input from a file of the device."""

    is_terminal = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._back = b""

    async def read(self) -> bytes:
        data, self._back = self._back or self._file.read(CHUNK), b""
        if len(data) >= CHUNK:
            await asyncio.sleep(0)  # some files have no end: other devices share the loop
        return data

    async def unread(self, data: bytes) -> None:
        self._back = data + self._back

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FileSink:
    """Output into a file of the device."""

    is_terminal = False

    def __init__(self, file: OpenFile) -> None:
        self._file = file

    async def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


async def lines(source: Source) -> AsyncIterator[bytes]:
    """Yield the lines of a source with their ends; a longer one than :data:`LINE_MAX` is cut into several."""
    rest = b""
    while data := await source.read():
        parts = (rest + data).splitlines(keepends=True)
        rest = b"" if parts[-1].endswith(b"\n") else parts.pop()
        for line in parts:
            yield line
        while len(rest) > LINE_MAX:
            yield rest[:LINE_MAX]
            rest = rest[LINE_MAX:]
    if rest:
        yield rest


async def read_line(source: Source) -> bytes | None:
    """Return the next line without its end, None at the end of the input; what follows it stays to be read.

    Raises:
        ConnectionError: it is longer than :data:`LINE_MAX`.
    """
    found = b""
    while data := await source.read():
        line, ended, rest = (found + data).partition(b"\n")
        if ended:
            await source.unread(rest)
            return line
        found += data
        if len(found) > LINE_MAX:
            raise ConnectionError(f"a line of more than {LINE_MAX} bytes")
    return found or None


async def read_all(source: Source, at_most: int) -> bytes:
    """Return everything a source gives.

    Raises:
        ConnectionError: there is more than ``at_most``.
    """
    found = bytearray()
    while data := await source.read():
        found += data
        if len(found) > at_most:
            raise ConnectionError(f"more than {at_most} bytes of input")
    return bytes(found)
