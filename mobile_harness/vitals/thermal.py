"""How warm a device is: ``dumpsys thermalservice``, ``/sys/class/thermal``, the cool-down gate and throttling.

Vendors list voltages, currents and percentages as "temperatures" too, and one shifts the types by one; only what is a
temperature by type or by an allowed name is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mobile_harness.records.state import HeatSource, Part, Temperature, Thermal, Unavailable
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

STATUS_NAMES: Final = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
COOL_WITHIN_C: Final = 2.0
"""Skin and battery may be this much warmer than before the first session."""
SLOWER_MAX: Final = 1.10
"""A probe that takes longer than this ratio of its first time says that the clocks were lowered."""

_PARTS: Final[dict[int, Part]] = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin", 9: "npu"}
_NAMED: Final[dict[str, Part]] = {
    "TYPE_CPU": "cpu", "TYPE_GPU": "gpu", "TYPE_BATTERY": "battery", "TYPE_SKIN": "skin", "TYPE_NPU": "npu",
}  # fmt: skip
_THERMISTOR = re.compile(r"[\w-]{0,64}[_-]therm[0-9]{0,2}", re.ASCII)
_ZONES: Final[tuple[tuple[str, Part], ...]] = (
    ("cpu", "cpu"), ("gpu", "gpu"), ("g3d", "gpu"), ("npu", "npu"), ("tpu", "npu"), ("nsp", "npu"),
    ("battery", "battery"), ("batt_therm", "battery"), ("skin", "skin"), ("quiet", "skin"), ("xo-therm", "skin"),
)  # fmt: skip
_LOWEST_C, _HIGHEST_C = -50.0, 150.0
_READINGS_MAX = 1024
_ZONE = re.compile(r"/sys/class/thermal/thermal_zone([0-9]{1,4})/(type|temp)")


def status_name(status: int | None) -> str:
    """Return the word for a thermal status.

    >>> status_name(3), status_name(None), status_name(12)
    ('severe', 'not known', 'not known')
    """
    return STATUS_NAMES[status] if status is not None and 0 <= status < len(STATUS_NAMES) else "not known"


def read_thermalservice(text: str) -> Thermal | Unreadable:
    """Return the service's page; the hardware's current temperatures win over the service's cached ones."""
    sections = _sections(text)
    status = _status(sections[""])
    if status is None and len(sections) == 1:
        return reading.unreadable("dumpsys thermalservice", text, "'Thermal Status'")
    source: HeatSource = "none"
    kept: list[Temperature] = []
    skipped = 0
    for name, title in (("current", "current temperatures from hal"), ("cached", "cached temperatures")):
        rows = [_temperature(line) for line in sections.get(title, ()) if line.lstrip().startswith("Temperature{")]
        kept = [row for row in rows if row is not None]
        if kept:
            source, skipped = "current" if name == "current" else "cached", len(rows) - len(kept)
            break
    return Thermal(
        status=status,
        overridden=any(line.strip() == "IsStatusOverride: true" for line in sections[""]),
        source=source,
        temperatures=tuple(kept[:_READINGS_MAX]),
        skipped=skipped,
        headroom_thresholds=_thresholds(sections.get("temperature headroom thresholds", ())),
    )


_TITLES = (
    "cached temperatures", "current temperatures from hal", "current cooling devices from hal",
    "temperature static thresholds from hal", "temperature headroom thresholds", "hal connection", "hal ready",
)  # fmt: skip


def _sections(text: str) -> dict[str, list[str]]:
    """Return the lines under each title (the first of a title counts), those before all titles under ''."""
    found: dict[str, list[str]] = {"": []}
    into = found[""]
    for line in reading.lines(text):
        head, colon, rest = line.strip().partition(":")
        title = head.strip().lower()
        if colon and title in _TITLES:
            into = [rest.strip()]
            found.setdefault(title, into)
        else:
            into.append(line)
            if head.strip() in {"Thermal Status", "IsStatusOverride"} and into is not found[""]:
                found[""].append(line)
    return found


def _status(lines: Sequence[str]) -> int | None:
    for line in lines:
        head, _, rest = line.strip().partition(":")
        status = reading.integer(rest) if head == "Thermal Status" else None
        if status is not None and 0 <= status < len(STATUS_NAMES):
            return status
    return None


def _temperature(line: str) -> Temperature | None:
    """Return a row that is a temperature, or None."""
    inner = line.strip().removeprefix("Temperature{").partition("}")[0]
    fields = dict(part.strip().partition("=")[::2] for part in inner.split(","))
    value, kind = reading.number(fields.get("mValue", "")), reading.integer(fields.get("mType", ""))
    name = fields.get("mName", "")
    part = _part(name, kind)
    if value is None or part is None or not _LOWEST_C < value < _HIGHEST_C or "}" not in line:
        return None
    status = reading.integer(fields.get("mStatus", "")) or 0
    return Temperature(name=reading.shown(name), part=part, celsius=value, status=status)


def _part(name: str, kind: int | None) -> Part | None:
    if name.startswith("TYPE_"):
        return _NAMED.get(name)
    if kind == -1:
        return "other" if _THERMISTOR.fullmatch(name) else None
    return None if kind is None else _PARTS.get(kind)


def _thresholds(lines: Sequence[str]) -> tuple[float | None, ...]:
    for line in lines:
        inner = line.strip()
        if inner.startswith("[") and inner.endswith("]"):
            return tuple(reading.number(word) for word in inner[1:-1].split(",")[: len(STATUS_NAMES)])
    return ()


def headroom(value: float) -> float | Unavailable:
    """Return what ``getThermalHeadroom`` forecast (1 is the severe status), unless the device does not know it."""
    if not math.isfinite(value) or value < 0:
        return Unavailable(reason="the device forecasts no thermal headroom")
    return value


def read_zones(files: Mapping[str, tuple[str, ...]]) -> Thermal:
    """Return the thermal zones from ``/sys/class/thermal/thermal_zone*/{type,temp}``; they carry no status.

    The kernel's unit is 0.001 °C; some drivers give whole degrees. Zones of unknown names are skipped.
    """
    zones: dict[int, dict[str, str]] = {}
    for path, lines in files.items():
        if (match := _ZONE.fullmatch(path)) and lines:
            zones.setdefault(int(match[1]), {})[match[2]] = lines[0]
    rows = [_zone(zone.get("type", ""), reading.integer(zone.get("temp", ""))) for _, zone in sorted(zones.items())]
    kept = tuple(row for row in rows if row is not None)[:_READINGS_MAX]
    return Thermal(
        status=None,
        overridden=False,
        source="sysfs" if kept else "none",
        temperatures=kept,
        skipped=len(rows) - len(kept),
    )


def _zone(name: str, raw: int | None) -> Temperature | None:
    lowered = name.lower()
    part = next((part for word, part in _ZONES if word in lowered), None)
    if part is None or raw is None or raw == 0 or _HIGHEST_C <= abs(raw) < 1000:
        return None
    celsius = raw / 1000 if abs(raw) >= 1000 else float(raw)
    if not _LOWEST_C < celsius < _HIGHEST_C:
        return None
    return Temperature(name=reading.shown(name), part=part, celsius=celsius, status=0)


def too_warm(now: Thermal, first: Thermal | None, cool_to_c: float | None = None) -> tuple[str, ...]:
    """Return why a session must wait: the status is above none, or the device is warmer than at first or than allowed.

    Args:
        now: how it stands.
        first: how it stood before the first session of the run; None where this is the first.
        cool_to_c: the highest temperature of the skin, or of the battery where no skin is told; None: any.
    """
    return tuple(_warmth(now, first, cool_to_c))


_FELT: Final[tuple[Part, ...]] = ("skin", "battery")


def _warmth(now: Thermal, first: Thermal | None, cool_to_c: float | None) -> Iterator[str]:
    if now.status:
        yield f"the thermal status is {status_name(now.status)}"
    for part in _FELT:
        here, there = now.celsius(part), None if first is None else first.celsius(part)
        if here is not None and there is not None and here > there + COOL_WITHIN_C:
            yield f"the {part} has {here:.1f} °C, {here - there:.1f} °C more than before the first session"
    told = next(((part, here) for part in _FELT if (here := now.celsius(part)) is not None), None)
    if told is not None and cool_to_c is not None and told[1] > cool_to_c:
        yield f"the {told[0]} has {told[1]:.1f} °C, where the plan begins at {cool_to_c:.1f} °C"


def status_rose(before: Thermal, after: Thermal) -> bool:
    """Say whether the thermal status is higher afterwards; a status that is not told is none."""
    return (after.status or 0) > (before.status or 0)


def slowed(probe_ratio: float) -> bool:
    """Say whether a fixed probe that took ``probe_ratio`` times as long afterwards met lowered clocks."""
    return probe_ratio > SLOWER_MAX


def throttling(before: Thermal, after: Thermal, probe_ratio: float | None = None) -> tuple[str, ...]:
    """Return why a session counts as throttled: the status rose, or a fixed probe took longer afterwards.

    Args:
        before: the heat before the session.
        after: the heat right after it.
        probe_ratio: time of the same small work after the session over before it; None where none was run.
    """
    found = []
    if status_rose(before, after):
        found.append(
            f"the thermal status rose from {status_name(before.status or 0)} to {status_name(after.status or 0)}"
        )
    if probe_ratio is not None and slowed(probe_ratio):
        found.append(f"a fixed probe took {100 * (probe_ratio - 1):.0f} % longer afterwards")
    return tuple(found)
