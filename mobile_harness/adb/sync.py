"""Files to and from a device by the sync service.

Source: ``SYNC.TXT`` of the Android Open Source Project's adb: four letters, a little-endian word, and data of at most
64 KiB. A device that refuses says why in ``FAIL``, also in the middle of a push, and drains the rest.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO

from mobile_harness.adb.errors import AdbFailed, hint_of, kind_of_failed_file
from mobile_harness.adb.link import SAID_MAX, Link

DATA_MAX = 64 << 10
STALL_S = 30.0
_BATCH = 16
_HEAD = struct.Struct("<4sI")
_STAT_V1 = struct.Struct("<4sIII")
_STAT_V2 = struct.Struct("<4sIQQIIIIQqqq")
_ENOENT = (2, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """What the device knows of a path, links not followed."""

    mode: int
    size: int

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


def send(link: Link, source: BinaryIO, remote: str, mode: int) -> tuple[str, int]:
    """Send a file on a link that was granted ``sync:``; returns the sha256 and size of what was sent.

    Raises:
        AdbFailed: ``storage`` or ``refused`` by what the device says; ``closed``; ``timeout``, also when nothing moves
            for :data:`STALL_S`.
    """
    _ask(link, b"SEND", f"{remote},{stat.S_IFREG | mode}")
    digest, total = hashlib.sha256(), 0
    batch = bytearray(_BATCH * (_HEAD.size + DATA_MAX))
    view = memoryview(batch)
    while size := _fill(view, source, digest):
        total += size
        chunks = -(-size // DATA_MAX)
        try:
            link.send(view[: size + chunks * _HEAD.size], STALL_S)
        except AdbFailed as error:
            raise _refusal_behind(link, error) from error
        if link.has_input():
            break
    else:
        link.send(_HEAD.pack(b"DONE", 0x386D4380))  # a fixed time: files are named by content
    _status(link)
    return digest.hexdigest(), total


def _fill(view: memoryview, source: BinaryIO, digest: hashlib._Hash) -> int:
    """Put the next chunks with their headers into a buffer; returns the bytes of content in it."""
    total = at = 0
    for _ in range(_BATCH):
        body = view[at + _HEAD.size : at + _HEAD.size + DATA_MAX]
        size = _read_into(source, body)
        if not size:
            break
        _HEAD.pack_into(view, at, b"DATA", size)
        digest.update(body[:size])
        at += _HEAD.size + size
        total += size
        if size < DATA_MAX:
            break
    return total


def _read_into(source: BinaryIO, body: memoryview) -> int:
    return source.readinto(body) or 0  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks it


def _refusal_behind(link: Link, error: AdbFailed) -> AdbFailed:
    """Return the device's own words where it said why before it closed the connection."""
    try:
        if link.has_input():
            _status(link)
    except AdbFailed as said:
        return said if said.kind in ("storage", "refused") else error
    return error


def _status(link: Link) -> None:
    word, size = _HEAD.unpack(link.read(_HEAD.size))
    if word == b"OKAY":
        return
    raise _failed(link, word, size)


def _failed(link: Link, word: bytes, size: int) -> AdbFailed:
    if word != b"FAIL" or size > DATA_MAX:
        return AdbFailed(f"The device answered {link.deadline.what} with {word!r}.", kind="garbage")
    said = link.read(size).decode("utf-8", "replace").strip()[:SAID_MAX]
    kind = kind_of_failed_file(said)
    return AdbFailed(f"The device refuses {link.deadline.what}: {said or 'no reason'}.", kind=kind, hint=hint_of(kind))


def look(link: Link, remote: str, *, v2: bool) -> FileStat | None:
    """Return what is at a path, or None; ``v2`` where the device offers ``stat_v2`` (sizes beyond 4 GiB)."""
    _ask(link, b"LST2" if v2 else b"STAT", remote)
    if not v2:
        word, mode, size, _ = _STAT_V1.unpack(link.read(_STAT_V1.size))
        failure = 0
    else:
        word, failure, _, _, mode, _, _, _, size, *_ = _STAT_V2.unpack(link.read(_STAT_V2.size))
    if word != (b"LST2" if v2 else b"STAT"):
        raise AdbFailed(f"The device answered {link.deadline.what} with {word!r}.", kind="garbage")
    if failure and failure not in _ENOENT:
        raise AdbFailed(f"The device refuses {link.deadline.what}: error {failure}.", kind="refused")
    return FileStat(mode=mode, size=size) if mode else None


def fetch(link: Link, remote: str, most: int) -> bytes:
    """Return a file's content, at most ``most`` bytes of it; the device may have more.

    Raises:
        AdbFailed: ``refused`` with the device's reason; ``garbage``; ``closed``; ``timeout``.
    """
    _ask(link, b"RECV", remote)
    got = bytearray()
    while len(got) < most:
        word, size = _HEAD.unpack(link.read(_HEAD.size))
        if word == b"DONE":
            break
        if word != b"DATA" or size > DATA_MAX:
            raise _failed(link, word, size)
        got += link.read(size)
    return bytes(got[:most])


def _ask(link: Link, word: bytes, path: str) -> None:
    raw = path.encode("utf-8", "surrogateescape")
    if len(raw) > 1024:
        raise AdbFailed(f"A path of {len(raw)} bytes is too long for adb.", kind="refused")
    link.send(_HEAD.pack(word, len(raw)) + raw)
