"""Figures and names as people read them: three significant digits, one unit a column, nothing invisible in a name."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from mobile_harness.reports.base import Accuracy

NONE = "–"
MINUS = "\N{MINUS SIGN}"
THIN = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that the figures of one column share."""

    name: str
    scale: float

    def bare(self, value: float | None) -> str:
        """Return the figure without its unit, or a dash where there is none."""
        return NONE if value is None else digits(value / self.scale)

    def show(self, value: float | None) -> str:
        """Return the figure with its unit, or a dash where there is none."""
        return NONE if value is None else f"{self.bare(value)}{THIN}{self.name}"


def time_unit(values_ns: Iterable[float | None]) -> Unit:
    r"""Choose µs, ms or s, so that the largest figure stays below a thousand where it can.

    >>> time_unit([412_000, 38_000]).show(412_000)
    '412\xa0µs'
    """
    return _unit(values_ns, (Unit("µs", 1e3), Unit("ms", 1e6), Unit("s", 1e9)))


def size_unit(values_bytes: Iterable[float | None]) -> Unit:
    """Choose kB, MB or GB (powers of 1,000, as the command line does) for figures in bytes."""
    return _unit(values_bytes, (Unit("kB", 1e3), Unit("MB", 1e6), Unit("GB", 1e9)))


def memory_unit(values_kb: Iterable[float | None]) -> Unit:
    """Choose kB, MB or GB (powers of 1,000) for figures in the kilobytes of 1,024 bytes that records hold."""
    return _unit(values_kb, (Unit("kB", 1e3 / 1024), Unit("MB", 1e6 / 1024), Unit("GB", 1e9 / 1024)))


def energy_unit(values_uj: Iterable[float | None]) -> Unit:
    """Choose µJ, mJ or J for figures in microjoules."""
    return _unit(values_uj, (Unit("µJ", 1.0), Unit("mJ", 1e3), Unit("J", 1e6)))


def _unit(values: Iterable[float | None], ladder: tuple[Unit, ...]) -> Unit:
    largest = max((value for value in values if value is not None), default=0.0)
    return next((unit for unit in ladder if largest < 999.5 * unit.scale), ladder[-1])


def digits(value: float, significant: int = 3) -> str:
    """Return a figure with at least so many significant digits, thousands apart.

    >>> digits(0.012345), digits(41.26), digits(1234567), digits(-0.5)
    ('0.0123', '41.3', '1,234,567', '−0.500')
    """
    if not math.isfinite(value):
        return "∞" if value > 0 else f"{MINUS}∞" if value < 0 else "not a number"
    if value == 0:
        return "0"
    short = f"{value:.{significant - 1}e}"
    places = max(0, significant - 1 - int(short.partition("e")[2]))
    if places > 6:
        return _signed(short)
    return _signed(f"{value:,.{places}f}")


def ratio(value: float | None) -> str:
    """Return a ratio such as ``3.8×``."""
    return NONE if value is None else f"{digits(value, 2)}×"


def decibel(value: float) -> str:
    """Return a signal-to-noise ratio such as ``41.3 dB``, or ``exact`` where it is infinite."""
    if value == math.inf:
        return "exact"
    return f"{MINUS}∞{THIN}dB" if value == -math.inf else f"{_signed(f'{value:.1f}')}{THIN}dB"


def metric_name(accuracy: Accuracy) -> str:
    """Return the metric's name as people write it."""
    return {"top1": "top-1", "top5": "top-5"}.get(accuracy.metric, accuracy.metric)


def metric_value(accuracy: Accuracy, value: float) -> str:
    """Return a value of the metric: a percentage for fractions, else a plain figure."""
    return f"{_fixed(100 * value, 1)}{THIN}%" if accuracy.fraction else digits(value)


def metric_change(accuracy: Accuracy, value: float, *, unit: bool = True) -> str:
    """Return a difference of the metric: percentage points for fractions, else a plain figure."""
    if not accuracy.fraction:
        return digits(value)
    return _fixed(100 * value, 2) + (f"{THIN}pp" if unit else "")


def metric_interval(accuracy: Accuracy, *, unit: bool = True) -> str:
    """Return the interval of the drop, such as ``−0.31 to 0.85 pp``."""
    interval = accuracy.drop_interval
    low = metric_change(accuracy, interval.low, unit=False)
    return f"{low} to {metric_change(accuracy, interval.high, unit=unit)}"


def share(fraction: float) -> str:
    """Return a confidence such as ``95 %``."""
    return f"{100 * fraction:g}{THIN}%"


def share_of(fraction: float | None) -> str:
    """Return a share with as many digits as tell something, such as ``3.2 %``."""
    return NONE if fraction is None else f"{digits(100 * fraction, 2)}{THIN}%"


def signed_share(ratio_of: float | None) -> str:
    r"""Return a ratio as the change that it is, in per cent with its sign.

    >>> signed_share(1.052), signed_share(0.5)
    ('+5.2', '−50.0')
    """
    if ratio_of is None:
        return NONE
    if not math.isfinite(ratio_of):
        return digits(ratio_of)
    percent = _fixed(100 * (ratio_of - 1), 1)
    return percent if percent.startswith((MINUS, "0.0")) else f"+{percent}"


def chance(p: float | None) -> str:
    """Return a p value; below one in ten thousand it says just that."""
    return NONE if p is None else f"<{THIN}0.0001" if p < 1e-4 else digits(p, 2)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "session"), count(2, "session")
    ('1 session', '2 sessions')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _fixed(value: float, places: int) -> str:
    return _signed(f"{value:.{places}f}") if math.isfinite(value) else digits(value)


def _signed(text: str) -> str:
    if "-" not in text:
        return text
    if not text.partition("e")[0].strip("-0.,"):
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def visible(text: str) -> str:
    r"""Return a name on one line with nothing invisible in it: controls and text-direction marks become escapes.

    >>> print(visible("a\x1b[31mb\nc\u202ed"))
    a\x1b[31mb c\u202ed
    """
    if text.isprintable() or text.replace(THIN, "").isprintable():  # nearly every name, and there are many
        return text
    return "".join(_shown(character) for character in text.replace("\r\n", "\n").replace("\n", " ").replace("\t", " "))


def _shown(character: str) -> str:
    if character == THIN or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def short_sha(sha256: str) -> str:
    """Return the first twelve digits of a hash."""
    return sha256[:12]
