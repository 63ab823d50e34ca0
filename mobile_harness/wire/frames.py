"""Frames: a record as short ASCII lines that survive logs which cut, prefix, mix and repeat lines.

``@PT1 <run8> <seq> <i>/<n> <crc32hex> <payload>`` with ``i`` from 1 to ``n``; the checksum (CRC-32 as in IEEE 802.3)
covers ``<run8> <seq> <i>/<n> <payload>``. With ``n`` 1 the payload is the record's JSON, at most 848 characters; a
longer record goes as slices of 848 characters of its base64url.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass

MARK = "@PT1 "
FRAME_MAX = 900
"""Characters of a frame, its line end not counted."""
PAYLOAD_MAX = 848
"""Characters of a payload: what every head leaves room for, so that all encoders cut alike."""
CHUNKS_MAX = 64
LINE_MAX = 1 << 16
"""Characters of a line that are looked at."""

_HEAD = re.compile(r"@PT1 ([0-9a-f]{8}) ([0-9]{1,10}) ([0-9]{1,2})/([0-9]{1,2}) ([0-9a-f]{8}) ")
_SLICE = re.compile(r"[A-Za-z0-9_=-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One frame whose checksum holds: part ``index`` (from 0) of the ``count`` parts of a record."""

    run: str
    seq: int
    index: int
    count: int
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a line held: whole frames, and how many damaged ones."""

    chunks: tuple[Chunk, ...]
    damaged: int


def encode(run: str, seq: int, text: str) -> tuple[str, ...]:
    """Return the frames of a record, each at most :data:`FRAME_MAX` characters, without line ends.

    Args:
        run: eight hex digits that the host chose.
        seq: the record's number in the run.
        text: the record's JSON, ASCII, without the mark (:func:`.messages.to_text`).
    """
    if len(text) <= PAYLOAD_MAX:
        return (_frame(run, seq, "1/1", text),)
    coded = base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii")
    slices = [coded[start : start + PAYLOAD_MAX] for start in range(0, len(coded), PAYLOAD_MAX)]
    if len(slices) > CHUNKS_MAX:
        raise ValueError(f"a record of {len(text)} characters is too long to send")
    return tuple(_frame(run, seq, f"{i}/{len(slices)}", part) for i, part in enumerate(slices, start=1))


def _frame(run: str, seq: int, part: str, payload: str) -> str:
    return f"{MARK}{run} {seq} {part} {_crc(run, str(seq), part, payload)} {payload}"


def _crc(run: str, seq: str, part: str, payload: str) -> str:
    return f"{zlib.crc32(f'{run} {seq} {part} {payload}'.encode('utf-8', 'replace')):08x}"


def scan(line: str) -> Scan:
    """Find the frames anywhere in a line: behind a logger's prefix, before another's text, or one after another."""
    chunks, damaged = [], 0
    starts = [found.start() for found in re.finditer(MARK, line[:LINE_MAX])]
    for start, end in zip(starts, [*starts, LINE_MAX][1:], strict=True):
        chunk = _chunk(line[start : min(end, start + FRAME_MAX)])
        if chunk is None:
            damaged += 1
        else:
            chunks.append(chunk)
    return Scan(chunks=tuple(chunks), damaged=damaged)


def _chunk(text: str) -> Chunk | None:
    head = _HEAD.match(text)
    if head is None:
        return None
    run, seq, index, count, crc = head.groups()
    if not 1 <= int(index) <= int(count) <= CHUNKS_MAX:
        return None
    for payload in _payloads(text[head.end() :].rstrip(), whole=count == "1"):
        if _crc(run, seq, f"{index}/{count}", payload) == crc:
            return Chunk(run=run, seq=int(seq), index=int(index) - 1, count=int(count), payload=payload)
    return None


def _payloads(rest: str, *, whole: bool) -> list[str]:
    """Return what the payload may be, since text of another writer may follow it on the same line."""
    if not whole:
        part = _SLICE.match(rest)
        return [part.group()] if part else []
    ends = [found.end() for found in re.finditer("}", rest)]
    return [rest[:end] for end in reversed(ends)]


def join(payloads: tuple[str, ...]) -> str | None:
    """Return a record's JSON text from the payloads of all its frames, or None where they are not base64url."""
    if len(payloads) == 1:
        return payloads[0]
    try:
        return base64.b64decode("".join(payloads), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
