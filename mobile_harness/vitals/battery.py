"""``dumpsys battery``, and what the raw figures of a battery gauge mean on this device.

Android's contract is microampere hours and microamperes, positive while charging. Whole families of phones deviate by a
factor of 1000 or in the sign, so nothing is converted before :func:`calibrate` has decided from the device's own
readings, and a decision always carries its reason.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.records.state import Battery, Gauge, Unavailable
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

CHARGING: Final = 2
DISCHARGING: Final = 3
SAMPLES_MIN: Final = 10
"""Samples taken on battery that a decision on a sign or a unit needs."""
STATUS_NAMES: Final = {1: "unknown", CHARGING: "charging", DISCHARGING: "discharging", 4: "not charging", 5: "full"}

_LINE = re.compile(r"\s+([\w ]{1,64}): ?(.*)")
_HEADING = "Current Battery Service state"
_POWERED = {"AC powered": "ac", "USB powered": "usb", "Wireless powered": "wireless", "Dock powered": "dock"}
_NEAR = 2.0
"""A ratio within this factor of a unit's is that unit's."""
_AGREEING = 0.9
_CONSTANT = 1e-3
_MILLI_MAX = 5_000
_MICRO_MIN = 10_000
"""A phone at work draws between 10 mA and 5 A from its battery: below is milliamperes, above microamperes."""

Unit = Literal["micro", "milli"]


def read_battery(text: str) -> Battery | Unreadable:
    """Return the first block of ``dumpsys battery``; vendors' further lines and repeated keys are skipped."""
    found: dict[str, str] = {}
    frozen = inside = False
    for line in reading.lines(text):
        if not inside:
            inside = line.strip().startswith(_HEADING)
        elif not line.strip() or (line[0] not in " \t" and line.rstrip().endswith(":")):
            break
        elif "UPDATES STOPPED" in line:
            frozen = True
        elif match := _LINE.fullmatch(line):
            found.setdefault(match[1].strip(), match[2].strip())
    if not found:
        return reading.unreadable("dumpsys battery", text, f"'{_HEADING}' with values")
    return _battery(found, frozen=frozen)


def _battery(found: dict[str, str], *, frozen: bool) -> Battery:
    def whole(key: str) -> int | None:
        return reading.integer(found.get(key, ""))

    level, scale = whole("level"), whole("scale")
    percent = 100 * level / scale if level is not None and scale and 0 <= level <= scale else None
    tenths = whole("temperature")
    counter = whole("Charge counter")
    return Battery(
        frozen=frozen,
        powered=tuple(name for key, name in _POWERED.items() if found.get(key) == "true"),
        status=whole("status"),
        health=whole("health"),
        present=found.get("present") == "true",
        level_percent=percent,
        voltage_mv=millivolts(whole("voltage")),
        temperature_c=tenths / 10 if tenths is not None and -400 <= tenths <= 1200 else None,
        counter_raw=known(counter),
        technology=reading.shown(found.get("technology", "")),
    )


def known(raw: int | None) -> int | None:
    """Return a reading of the battery manager, or None for its words for "not supported": 0 and the least integers."""
    return None if raw in {None, 0, -(1 << 31), -(1 << 63)} else raw


def millivolts(raw: int | None) -> float | None:
    """Return a battery's voltage in millivolts from a reading in mV, V or µV; None for none of them.

    >>> millivolts(4189), millivolts(4), millivolts(4189000), millivolts(0)
    (4189.0, 4000.0, 4189.0, None)
    """
    for factor, low, high in ((1.0, 2_000, 20_000), (1e3, 2, 20), (1e-3, 2_000_000, 20_000_000)):
        if raw is not None and low <= raw <= high:
            return raw * factor
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What to multiply a raw reading with for µAh or µA (positive while charging), and why.

    ``step`` is the smallest change that was seen, in µAh or µA; None where nothing changed.
    """

    factor: float
    unit: Unit
    step: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How to read this device's charge counter and its current, decided apart."""

    counter: Scale | Unavailable
    current: Scale | Unavailable


def calibrate(samples: Sequence[Gauge], design_capacity_mah: float | None) -> Calibration:
    """Decide units and sign from samples in the order they were taken, and hold counter and current against each other.

    Where both were decided and yet the charge that the current carried differs from what the counter lost by more than
    a factor of two, neither is believed.
    """
    counter = _counter(samples, design_capacity_mah)
    current = _current(samples)
    if isinstance(counter, Scale) and isinstance(current, Scale) and (fault := _quarrel(samples, counter, current)):
        return Calibration(counter=Unavailable(reason=fault), current=Unavailable(reason=fault))
    return Calibration(counter=counter, current=current)


def _counter(samples: Sequence[Gauge], capacity_mah: float | None) -> Scale | Unavailable:
    pairs = [
        (gauge.counter_raw, gauge.level_percent)
        for gauge in samples
        if known(gauge.counter_raw) is not None and gauge.counter_raw is not None and gauge.level_percent
    ]
    if not pairs:
        return Unavailable(reason="the device has no charge counter")
    if capacity_mah is None or capacity_mah <= 0:
        return Unavailable(reason="the unit of the charge counter cannot be told: the design capacity is not known")
    ratio = statistics.median(abs(raw) / (level / 100 * capacity_mah) for raw, level in pairs)
    unit = _unit_of(ratio)
    if unit is None:
        return Unavailable(reason=f"the charge counter is {ratio:.3g} times the charge in mAh: neither µAh nor mAh")
    factor = 1.0 if unit == "micro" else 1e3
    changes = [abs(later - before) for (before, _), (later, _) in itertools.pairwise(pairs)]
    if _follows_level(pairs):
        return Unavailable(reason="the charge counter changes only with the level, in steps of 1 %")
    if _rises_on_battery(samples):
        return Unavailable(reason="the charge counter rises while the battery discharges")
    return Scale(
        factor=factor,
        unit=unit,
        step=min((change for change in changes if change), default=0) * factor or None,
        reason=f"the charge counter is {ratio:.3g} times the charge in mAh: {'µAh' if unit == 'micro' else 'mAh'}",
    )


def _unit_of(ratio: float) -> Unit | None:
    if 1e3 / _NEAR <= ratio <= 1e3 * _NEAR:
        return "micro"
    return "milli" if 1 / _NEAR <= ratio <= _NEAR else None


def _follows_level(pairs: Sequence[tuple[int, float]]) -> bool:
    """Say whether a counter that moved is nothing but the level times a constant."""
    seen: dict[float, set[int]] = {}
    for raw, level in pairs:
        seen.setdefault(level, set()).add(raw)
    ratios = [raw / level for raw, level in pairs]
    steady = abs(max(ratios) - min(ratios)) <= _CONSTANT * abs(max(ratios))
    return len(seen) > 1 and all(len(raws) == 1 for raws in seen.values()) and steady


def _rises_on_battery(samples: Sequence[Gauge]) -> bool:
    counted = [gauge.counter_raw for gauge in _on_battery(samples) if gauge.counter_raw is not None]
    return len(counted) > 1 and abs(counted[-1]) > abs(counted[0])


def _on_battery(samples: Sequence[Gauge]) -> list[Gauge]:
    return [gauge for gauge in samples if gauge.status == DISCHARGING]


def _current(samples: Sequence[Gauge]) -> Scale | Unavailable:
    if all(known(gauge.current_raw) is None for gauge in samples):
        return Unavailable(reason="the device does not tell the battery's current")
    raws = [raw for gauge in _on_battery(samples) if (raw := known(gauge.current_raw)) is not None]
    if len(raws) < SAMPLES_MIN:
        words = f"the current's sign and unit need {SAMPLES_MIN} samples on battery, there are {len(raws)}"
        return Unavailable(reason=words)
    negative = sum(raw < 0 for raw in raws) / len(raws)
    if 1 - _AGREEING < negative < _AGREEING:
        return Unavailable(reason="the current's sign changes while the battery discharges")
    typical = statistics.median(abs(raw) for raw in raws)
    if _MILLI_MAX < typical < _MICRO_MIN:
        return Unavailable(reason=f"a current of {typical:.0f} may be mA or µA")
    unit: Unit = "milli" if typical <= _MILLI_MAX else "micro"
    factor = (1e3 if unit == "milli" else 1.0) * (1 if negative >= _AGREEING else -1)
    changes = [abs(later - before) for before, later in itertools.pairwise(raws)]
    sign = "negative" if factor > 0 else "positive, against the contract,"
    return Scale(
        factor=factor,
        unit=unit,
        step=min((change for change in changes if change), default=0) * abs(factor) or None,
        reason=f"a median of {typical:.0f} is {'mA' if unit == 'milli' else 'µA'}; it is {sign} while discharging",
    )


def _quarrel(samples: Sequence[Gauge], counter: Scale, current: Scale) -> str:
    """Return how counter and current contradict each other over the longest stretch on battery, or nothing."""
    stretch = [
        (gauge.at_ns, gauge.counter_raw * counter.factor, -gauge.current_raw * current.factor)
        for gauge in _on_battery(samples)
        if gauge.counter_raw is not None and gauge.current_raw is not None
    ]
    if len(stretch) < SAMPLES_MIN or counter.step is None:
        return ""
    lost_uah = abs(stretch[0][1]) - abs(stretch[-1][1])
    if lost_uah < SAMPLES_MIN * counter.step:
        return ""
    carried_uah = sum(
        (later[0] - before[0]) / 3.6e12 * (later[2] + before[2]) / 2 for before, later in itertools.pairwise(stretch)
    )
    if carried_uah > 0 and 1 / _NEAR <= carried_uah / lost_uah <= _NEAR:
        return ""
    return f"the current carried {carried_uah:.0f} µAh where the charge counter lost {lost_uah:.0f} µAh"
