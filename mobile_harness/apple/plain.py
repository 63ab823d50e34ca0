"""JSON that a tool wrote, taken apart without trust: bounded, typed at every step, absent where it is not as said."""

from __future__ import annotations

import json
from typing import Any, Final

from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

TEXT_MAX: Final = 32 << 20
ITEMS_MAX: Final = 4096
"""Entries of a list or an object that are looked at."""


def read(text: str, what: str) -> dict[str, Any] | Unreadable:
    """Return the object of a JSON text; words that a tool prints before it are passed over."""
    if len(text) > TEXT_MAX:
        return Unreadable(what=what, reason=f"it is longer than {TEXT_MAX >> 20} MB")
    start = text.find("{")
    if start < 0:
        return reading.unreadable(what, text, "JSON object")
    try:
        found = json.JSONDecoder().raw_decode(text, start)[0]
    except RecursionError:
        return Unreadable(what=what, reason="it is nested too deep")
    except ValueError as error:
        return Unreadable(what=what, reason=f"it is no JSON: {reading.shown(str(error))}")
    return found if isinstance(found, dict) else reading.unreadable(what, text, "JSON object")


def at(plain: object, *path: str) -> object:
    """Return what lies at a path of keys, or None."""
    for key in path:
        plain = plain.get(key) if isinstance(plain, dict) else None
    return plain


def word(plain: object, *path: str) -> str:
    """Return the text at a path as it may stand in a message, or nothing; devicectl wraps some as ``{"string": …}``."""
    found = at(plain, *path)
    if isinstance(found, dict):
        found = found.get("string", found.get("stringValue"))
    return reading.shown(found) if isinstance(found, str) else ""


def whole(plain: object, *path: str) -> int | None:
    """Return the whole number of 64 bits at a path, or None."""
    found = at(plain, *path)
    usable = isinstance(found, int) and not isinstance(found, bool) and -(1 << 63) <= found < 1 << 63
    return found if usable and isinstance(found, int) else None


def flag(plain: object, *path: str) -> bool | None:
    """Return the truth value at a path, or None; old Xcodes write it as the text ``YES``."""
    found = at(plain, *path)
    if isinstance(found, str) and found in ("YES", "NO"):
        return found == "YES"
    return found if isinstance(found, bool) else None


def rows(plain: object, *path: str) -> list[dict[str, Any]]:
    """Return the objects of the list at a path; what is none is passed over."""
    found = at(plain, *path)
    return [row for row in found[:ITEMS_MAX] if isinstance(row, dict)] if isinstance(found, list) else []


def table(plain: object, *path: str) -> dict[str, Any]:
    """Return the object at a path, or an empty one."""
    found = at(plain, *path)
    return dict(list(found.items())[:ITEMS_MAX]) if isinstance(found, dict) else {}
