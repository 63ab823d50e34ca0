"""``adb devices -l``: which transports a server has. A transport is no phone: one phone may have three of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

State = Literal[
    "device", "offline", "unauthorized", "authorizing", "connecting", "bootloader", "recovery", "rescue", "sideload",
    "host", "detached", "unknown", "no permissions",
]  # fmt: skip

_STATE = re.compile(
    r"(?<=\s)(device|offline|unauthorized|authorizing|connecting|bootloader|recovery|rescue|sideload|host|detached"
    r"|unknown|no permissions)(?=[\s;]|$)"
)
_BARE_BUS = re.compile(r"[0-9][0-9.-]{0,63}")
_HEADER = "List of devices attached"
_ROWS_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One transport. ``bus`` is as the system writes it; ``note`` is what adb explains a state with."""

    serial: str
    state: State
    bus: str = ""
    product: str = ""
    model: str = ""
    device: str = ""
    transport_id: int | None = None
    note: str = ""


def read_devices(text: str) -> tuple[Row, ...] | Unreadable:
    """Return the rows of the command's output, or of a server's ``host:devices-l``, which has no header.

    Without rows the answer is empty when the header stands there or the text is empty, else the text is no listing.
    A serial may hold spaces, so a row is split at its state.
    """
    rows: list[Row] = []
    headed = False
    for line in reading.lines(text):
        if line.strip().startswith(_HEADER):
            rows, headed = [], True
        elif (row := _row(line)) is not None and len(rows) < _ROWS_MAX:
            rows.append(row)
    if rows or headed or not text.strip("\ufeff\r\n\t "):
        return tuple(rows)
    return reading.unreadable("adb devices -l", text, "device")


def _row(line: str) -> Row | None:
    if line.startswith(("*", "adb server", "adb: ", "error: ")):
        return None
    found = _STATE.search(line)
    if found is None or not (serial := line[: found.start()].strip()):
        return None
    fields: dict[str, str] = {}
    note, rest = _split_note(line[found.end() :])
    for word in rest.split():
        key, colon, value = word.partition(":")
        if not colon and not _BARE_BUS.fullmatch(word):
            return None
        if colon and key in {"product", "model", "device", "transport_id"}:
            fields.setdefault(key, value)
        else:
            fields.setdefault("bus", word)
    return Row(
        serial=reading.shown(serial),
        state=cast(State, found.group()),
        bus=reading.shown(fields.get("bus", "")),
        product=reading.shown(fields.get("product", "")),
        model=reading.shown(fields.get("model", "")),
        device=reading.shown(fields.get("device", "")),
        transport_id=reading.integer(fields.get("transport_id", "")),
        note=reading.shown(note),
    )


def _split_note(rest: str) -> tuple[str, str]:
    """Part ``(why); see [address] usb:1 …`` into the explanation and the fields."""
    if not rest.lstrip().startswith(("(", ";")):
        return "", rest
    end = max(rest.rfind("]"), rest.find(")") if "]" not in rest else -1)
    return rest[: end + 1], rest[end + 1 :]
