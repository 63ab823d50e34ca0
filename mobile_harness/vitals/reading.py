"""What all parsers share: bounded lines, strict numbers, and the two words for "no answer"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mobile_harness.records.state import Unavailable as Unavailable

TEXT_MAX = 8 << 20
"""Characters of a device's text that are looked at."""
LINES_MAX = 1 << 17
LINE_MAX = 1 << 13
"""Characters of a line that are looked at."""
SHOWN_MAX = 200
"""Characters of a device's text that a message or a name repeats."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_UNITS = {"s": 1e9, "sec": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "μs": 1e3, "ns": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """The text is not what ``what`` prints; ``reason`` shows what it is instead."""

    what: str
    reason: str


def unreadable(what: str, text: str, missing: str) -> Unreadable:
    """Return the answer for a text without ``missing``, showing the first thing that it does say."""
    first = next((shown(line) for line in lines(text) if line.strip()), "")
    return Unreadable(what=what, reason=f"no {missing}; it says {first!r}" if first else f"no {missing}: it is empty")


def lines(text: str) -> Iterator[str]:
    """Yield the lines of a text without their ends (LF, CR LF, or the CR CR LF of old shells) and without a BOM."""
    for line in text[:TEXT_MAX].removeprefix("\ufeff").split("\n", LINES_MAX)[:LINES_MAX]:
        yield line[:LINE_MAX].rstrip("\r")


def shown(words: str) -> str:
    """Return text of a device as it may stand in a message: one line, printable, at most :data:`SHOWN_MAX` long."""
    cut = words.strip()[: SHOWN_MAX + 1]
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)
    return clean if len(clean) <= SHOWN_MAX else clean[: SHOWN_MAX - 1] + "…"


def integer(word: str) -> int | None:
    """Return a decimal integer of 64 bits, or None.

    >>> integer(" 42 "), integer("4_2"), integer("9" * 5000)
    (42, None, None)
    """
    word = word.strip()
    if not _INTEGER.fullmatch(word):
        return None
    value = int(word)
    return value if -(1 << 63) <= value < 1 << 63 else None


def number(word: str) -> float | None:
    """Return a finite decimal number, or None; words such as ``nan`` and ``inf`` are none.

    >>> number("2.95034e+06"), number("NaN"), number("1e999")
    (2950340.0, None, None)
    """
    word = word.strip()
    if not _NUMBER.fullmatch(word):
        return None
    value = float(word)
    return value if math.isfinite(value) else None


def duration_ns(words: str) -> int | None:
    """Return a time such as ``3.46 ms``, ``0.512 s`` or ``12 us (20 runs)`` in nanoseconds, or None.

    >>> duration_ns("1.16 ms (3 runs)")
    1160000
    """
    figure, _, rest = words.strip().partition(" ")
    unit, _, _ = rest.strip().partition(" ")
    value, factor = number(figure), _UNITS.get(unit)
    return nanoseconds(value, factor) if value is not None and factor is not None else None


def nanoseconds(value: float | None, factor: float) -> int | None:
    """Return a time of ``value`` units of ``factor`` nanoseconds; None below zero or beyond a year."""
    if value is None or not 0 <= value * factor < 3.2e16:
        return None
    return round(value * factor)
