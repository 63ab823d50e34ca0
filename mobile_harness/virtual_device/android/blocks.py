"""``dd``: copies blocks, as toybox's does."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from mobile_harness.virtual_device.android.call import Call, Command, Trouble, describe
from mobile_harness.virtual_device.shell.plumbing import FileSink, FileSource, Sink, Source

BLOCK_MAX: Final = 64 << 20
_PART: Final = 1 << 20
_UNITS: Final = {"": 1, "c": 1, "w": 2, "b": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kd": 1000, "md": 10**6}
_SIZE: Final = re.compile(r"(\d{1,15})(kd|md|[cwbkmg]?)b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What to copy; ``count`` None is all there is, ``skip`` blocks of the input are left out first."""

    source: str | None
    target: str | None
    block: int
    count: int | None
    skip: int
    told: bool
    truncates: bool


def _order(args: list[str]) -> _Order:
    given: dict[str, str] = {}
    for word in args:
        name, equals, value = word.partition("=")
        if not equals or name not in ("if", "of", "bs", "count", "skip", "status", "conv"):
            raise Trouble(f"bad arg '{word}'")
        given[name] = value
    conversions = set(filter(None, given.get("conv", "").split(",")))
    if conversions - {"fsync", "sync", "notrunc"} or "sync" in conversions:
        raise Trouble(f"conv={given['conv']} is not supported by the virtual device")
    block = _size(given.get("bs", "512"))
    if not 0 < block <= BLOCK_MAX:
        raise Trouble(f"bad bs '{given['bs']}'")
    return _Order(
        source=given.get("if"),
        target=given.get("of"),
        block=block,
        count=_size(given["count"]) if "count" in given else None,
        skip=_size(given.get("skip", "0")),
        told=given.get("status") not in ("none", "noxfer"),
        truncates="notrunc" not in conversions,
    )


def _size(word: str) -> int:
    found = _SIZE.fullmatch(word)
    if found is None:
        raise Trouble(f"bad number '{word}'")
    return int(found.group(1)) * _UNITS[found.group(2).lower()]


@dataclass(slots=True)
class _Copied:
    """How much went through: whole blocks, a shorter last one, and bytes."""

    whole: int = 0
    part: int = 0
    size: int = 0


async def dd(call: Call) -> int:
    """Copy blocks from ``if=`` to ``of=``, where missing from the input and to the output."""
    order = _order(call.args)
    source: Source = call.stdin
    sink: Sink = call.stdout
    opened: list[FileSource | FileSink] = []
    place = order.source or ""
    try:
        if order.source is not None:
            source = FileSource(call.view.open_read(order.source))
            opened.append(source)
        if order.target is not None:
            place = order.target
            sink = FileSink(call.view.open_write(order.target, append=not order.truncates))
            opened.append(sink)
        copied = await _copy(order, source, sink)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise Trouble(describe(error, place)) from error
    finally:
        for file in opened:
            file.close()
    if order.told:
        records = f"{copied.whole}+{copied.part} records"
        await call.stderr.write(f"{records} in\n{records} out\n{copied.size} bytes copied\n".encode())
    return 0


async def _copy(order: _Order, source: Source, sink: Sink) -> _Copied:
    copied = _Copied()
    skipped = 0
    while order.count is None or copied.whole + copied.part < order.count:
        await asyncio.sleep(0)
        data = await _block(source, order.block)
        if not data:
            break
        if skipped < order.skip:
            skipped += 1
            continue
        for start in range(0, len(data), _PART):
            await sink.write(data[start : start + _PART])
        whole = len(data) == order.block
        copied.whole += whole
        copied.part += not whole
        copied.size += len(data)
    return copied


async def _block(source: Source, size: int) -> bytes:
    """Read a whole block, or what is left; what came beyond it stays for the next."""
    found = bytearray()
    while len(found) < size and (data := await source.read()):
        found += data
    if len(found) > size:
        await source.unread(bytes(found[size:]))
    return bytes(found[:size])


COMMANDS: Final[dict[str, Command]] = {"dd": dd}
