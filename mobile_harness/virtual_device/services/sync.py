"""``sync:``, the file service: requests of four letters and a path, versions 1 and 2.

Source: ``file_sync_protocol.h`` of the Android Open Source Project. What adbd does and is easily missed: a file whose
host goes away in the middle is removed; after a failure the data that is still coming is read, so that the message is
not lost; and a compression flag is obeyed or refused, since a host that is ignored waits for ever.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Final

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.filesystem import SHELL, OpenFile, View
from mobile_harness.virtual_device.services import compression
from mobile_harness.virtual_device.services.session import Opened
from mobile_harness.virtual_device.streams import StreamClosed

PATH_MAX: Final = 1024
DATA_MAX: Final = 64 << 10
DRY_RUN: Final = 0x80000000
_HEAD: Final = struct.Struct("<4sI")
_STAT_V1: Final = struct.Struct("<4sIII")
_STAT_V2: Final = struct.Struct("<4sIQQIIIIQqqq")
_SETUP_SEND: Final = struct.Struct("<4sII")
_SETUP_RECEIVE: Final = struct.Struct("<4sI")


class _Failed(Exception):
    """The request fails with this message."""


async def sync(opened: Opened) -> None:
    """Serve requests until the host says QUIT or goes away."""
    opened.stream.accept()
    service = _Sync(opened)
    try:
        while await service.serve_one():
            pass
    except StreamClosed:
        return  # the host went away between or within requests; what was half done is undone


class _Sync:
    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._stream = opened.stream
        self._view = View(opened.system.files, SHELL)
        self._received = 0

    async def serve_one(self) -> bool:
        name, size = _HEAD.unpack(await self._stream.read_exactly(_HEAD.size))
        if size > PATH_MAX:
            await self._fail("path too long")
            return False
        path = os.fsdecode(await self._stream.read_exactly(size))
        requests = {
            b"STAT": self._stat_v1, b"STA2": self._stat_v2, b"LST2": self._lstat_v2, b"LIST": self._list_v1,
            b"LIS2": self._list_v2, b"SEND": self._send_v1, b"SND2": self._send_v2, b"RECV": self._receive_v1,
            b"RCV2": self._receive_v2,
        }  # fmt: skip
        request = requests.get(name)
        if request is None:
            if name != b"QUIT":
                await self._fail(f"unknown command {name!r}")
            return False
        try:
            await request(path)
        except _Failed as failed:
            await self._fail(str(failed))
            return False
        return True

    async def _fail(self, message: str) -> None:
        raw = message.encode("utf-8", "replace")
        await self._stream.write(_HEAD.pack(b"FAIL", len(raw)) + raw)

    # what is there ----------------------------------------------------------------------------------------------

    async def _stat_v1(self, path: str) -> None:
        await self._stream.write(_packed_v1(b"STAT", self._look(path, follow=False)[0]))

    async def _stat_v2(self, path: str) -> None:
        await self._stream.write(_packed_v2(b"STA2", *self._look(path, follow=True)))

    async def _lstat_v2(self, path: str) -> None:
        await self._stream.write(_packed_v2(b"LST2", *self._look(path, follow=False)))

    def _look(self, path: str, *, follow: bool) -> tuple[os.stat_result | None, int]:
        try:
            return self._view.stat(path, follow=follow), 0
        except OSError as error:
            return None, error.errno or errno.EIO

    async def _list_v1(self, path: str) -> None:
        for name, info in self._entries(path):
            await self._stream.write(_packed_v1(b"DENT", info) + struct.pack("<I", len(name)) + name)
        await self._stream.write(b"DONE" + bytes(16))

    async def _list_v2(self, path: str) -> None:
        for name, info in self._entries(path):
            await self._stream.write(_packed_v2(b"DNT2", info, 0) + struct.pack("<I", len(name)) + name)
        await self._stream.write(b"DONE" + bytes(72))

    def _entries(self, path: str) -> list[tuple[bytes, os.stat_result]]:
        try:
            names = [".", "..", *self._view.names(path)]
        except OSError:
            return []  # adbd too answers with an empty list
        found = [(os.fsencode(name), self._look(f"{path}/{name}", follow=False)[0]) for name in names]
        return [(name, info) for name, info in found if info is not None]

    # to the host ------------------------------------------------------------------------------------------------

    async def _receive_v1(self, path: str) -> None:
        await self._receive(path, compression.NONE)

    async def _receive_v2(self, path: str) -> None:
        _, flags = _SETUP_RECEIVE.unpack(await self._stream.read_exactly(_SETUP_RECEIVE.size))
        await self._receive(path, flags)

    async def _receive(self, path: str, flag: int) -> None:
        coder = _coder(flag, packing=True)
        try:
            file = self._view.open_read(path)
        except OSError as error:
            raise _Failed(f"open failed: {error.strerror}") from error
        with file:
            while data := file.read(DATA_MAX):
                await self._send_data(coder.feed(data))
        await self._send_data(coder.finish())
        await self._stream.write(_HEAD.pack(b"DONE", 0))

    async def _send_data(self, data: bytes) -> None:
        for start in range(0, len(data), DATA_MAX):
            part = data[start : start + DATA_MAX]
            await self._stream.write(_HEAD.pack(b"DATA", len(part)) + part)

    # from the host ----------------------------------------------------------------------------------------------

    async def _send_v1(self, words: str) -> None:
        path, comma, mode = words.rpartition(",")
        if not comma or not mode.isdigit():
            raise _Failed("missing , in ID_SEND")
        await self._send(path, int(mode), compression.NONE)

    async def _send_v2(self, path: str) -> None:
        _, mode, flags = _SETUP_SEND.unpack(await self._stream.read_exactly(_SETUP_SEND.size))
        await self._send(path, mode, flags)

    async def _send(self, path: str, mode: int, flags: int) -> None:
        try:
            coder = _coder(flags & ~DRY_RUN, packing=False)
            incoming = _Incoming(self._view, path, mode, dry=bool(flags & DRY_RUN))
            incoming.open()
        except _Failed as failed:
            await self._drain()
            raise _Failed(str(failed)) from failed
        try:
            modified_s = await self._take(incoming, coder)
        except StreamClosed:
            incoming.undo()
            raise
        except _Failed as failed:
            incoming.undo()
            await self._drain()
            raise _Failed(str(failed)) from failed
        incoming.finish(modified_s)
        await self._stream.write(_HEAD.pack(b"OKAY", 0))

    async def _take(self, incoming: _Incoming, coder: compression.Coder) -> int:
        while True:
            name, size = _HEAD.unpack(await self._stream.read_exactly(_HEAD.size))
            if name == b"DONE":
                return int(size)
            if name != b"DATA" or size > DATA_MAX:
                raise _Failed("oversize data message" if name == b"DATA" else "invalid data message")
            data = await self._stream.read_exactly(size)
            self._count(size)
            try:
                incoming.write(coder.feed(data))
            except compression.Damaged as error:
                raise _Failed(f"decompress failed: {error}") from error
            except OSError as error:
                raise _Failed(f"write failed: {error.strerror}") from error

    def _count(self, size: int) -> None:
        """Pull the cable where a fault says so."""
        before, self._received = self._received, self._received + size
        known = self._opened.system.faults
        limit = known.peek(faults.DropMidPush)
        is_due = limit is not None and before < limit.after_bytes <= self._received
        if is_due and known.strike(faults.DropMidPush, "sync") is not None:
            self._opened.transport.close(abruptly=True)

    async def _drain(self) -> None:
        """Read what the host still sends for a file that has failed."""
        while True:
            name, size = _HEAD.unpack(await self._stream.read_exactly(_HEAD.size))
            if name != b"DATA":
                return
            await self._stream.read_exactly(size)


class _Incoming:
    """A file, or a link, that a host is sending."""

    def __init__(self, view: View, path: str, mode: int, *, dry: bool) -> None:
        self._view = view
        self._path = path
        self._mode = mode
        self._dry = dry
        self._is_link = stat.S_ISLNK(mode)
        self._target = b""
        self._file: OpenFile | None = None

    def open(self) -> None:
        if self._dry:
            return
        try:
            self._view.make_folder(self._path.rpartition("/")[0] or "/", parents=True)
        except OSError as error:
            raise _Failed(f"secure_mkdirs() failed: {error.strerror}") from error
        try:
            if self._view.exists(self._path) and not self._view.is_folder(self._path):
                self._view.remove(self._path)
            if not self._is_link:
                self._file = self._view.open_write(self._path, mode=_spread(self._mode))
                self._view.set_mode(self._path, _spread(self._mode))
        except OSError as error:
            raise _Failed(f"couldn't create file: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        if self._is_link:
            self._target += data
            if len(self._target) > PATH_MAX:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        elif self._file is not None:
            self._file.write(data)

    def undo(self) -> None:
        """Remove what came so far."""
        if self._file is not None:
            self._file.close()
            if self._view.exists(self._path):
                self._view.remove(self._path)

    def finish(self, modified_s: int) -> None:
        if self._file is not None:
            self._file.close()
            self._view.set_time(self._path, modified_s)
        elif self._is_link and not self._dry:
            try:
                self._view.link(os.fsdecode(self._target.rstrip(b"\0")), self._path)
            except OSError as error:
                raise _Failed(f"symlink failed: {error.strerror}") from error


def _spread(mode: int) -> int:
    """Return permission bits as adbd sets them: what the owner may, the group and all others may too."""
    bits = mode & 0o777
    bits |= (bits >> 3) & 0o070
    return bits | (bits >> 3) & 0o007


def _coder(flag: int, *, packing: bool) -> compression.Coder:
    try:
        return compression.coder(flag, packing=packing)
    except compression.Damaged as error:
        raise _Failed(str(error)) from error


def _packed_v1(name: bytes, info: os.stat_result | None) -> bytes:
    if info is None:
        return _STAT_V1.pack(name, 0, 0, 0)
    return _STAT_V1.pack(name, info.st_mode, info.st_size & 0xFFFFFFFF, int(info.st_mtime) & 0xFFFFFFFF)


def _packed_v2(name: bytes, info: os.stat_result | None, error: int) -> bytes:
    if info is None:
        return _STAT_V2.pack(name, error, *[0] * 10)
    numbers = (info.st_dev, info.st_ino, info.st_mode, info.st_nlink, SHELL.uid, SHELL.uid, info.st_size)
    return _STAT_V2.pack(name, error, *numbers, int(info.st_atime), int(info.st_mtime), int(info.st_ctime))
