"""A device's vitals in one text: the script that asks for all parts at once, and the reading of what it prints.

One round trip costs a phone one shell. A part that fails, hangs past its own deadline or is missing leaves its section
empty, and the reading says so. The script is constant; its only argument, the app's package, arrives as ``$1``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from mobile_harness.records.state import (
    NOT_ASKED,
    Battery,
    DeviceMemory,
    Gauge,
    PowerSample,
    ProcessMemory,
    Screen,
    Software,
    Thermal,
    Unavailable,
    Vitals,
)
from mobile_harness.vitals import battery, cpu, memory, reading, sysfs, thermal
from mobile_harness.vitals.reading import Unreadable

_SUPPLY: Final = "/sys/class/power_supply/battery"
_ZONES: Final = "/sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp"
_HEAD, _TAIL = "== palmtop ", " =="

_BATTERY: Final = f"""echo '{_HEAD}battery{_TAIL}'
dumpsys -t 3 battery
echo '{_HEAD}meters{_TAIL}'
grep -s . /dev/null {_SUPPLY}/current_now {_SUPPLY}/voltage_now {_SUPPLY}/charge_counter"""
_APP: Final = f"""echo '{_HEAD}app{_TAIL}'
[ -n "$1" ] && dumpsys -t 5 meminfo "$1"
"""
LOADED: Final = f"""{_APP}{_BATTERY}
exit 0"""
"""What may be asked while the runner warms up: the app's memory first, the meters right before its figures count."""
WHOLE: Final = f"""echo '{_HEAD}thermal{_TAIL}'
heat="$(dumpsys -t 3 thermalservice 2>&1)"
echo "$heat"
{_BATTERY}
echo '{_HEAD}files{_TAIL}'
grep -s . /dev/null /proc/meminfo {" ".join(cpu.FILES)}
echo "$heat" | grep -q 'Temperature{{' || grep -s . /dev/null {_ZONES}
{_APP}echo '{_HEAD}screen{_TAIL}'
dumpsys -t 3 power | grep -m 1 mWakefulness=
echo "low_power=$(settings get global low_power)"
echo '{_HEAD}software{_TAIL}'
getprop ro.build.fingerprint
getprop ro.build.type
getprop ro.debuggable
exit 0"""
"""Everything, heat first: it is what passes soonest."""
IN_LOADED: Final = frozenset({"battery", "meters"})
IN_WHOLE: Final = IN_LOADED | {"thermal", "files", "screen", "software"}
CAPACITY: Final = """dumpsys -t 10 batterystats --charged | grep -m 1 'stimated battery capacity'
exit 0"""
_CAPACITY_MAX_MAH: Final = 100_000


def read(text: str, at_ns: int, asked: Collection[str]) -> Vitals:
    """Return the vitals that a script of this module printed; a section that is missing or no use says why.

    Args:
        text: what it printed.
        at_ns: the host's clock.
        asked: the sections that the script has, as :data:`IN_WHOLE`; ``app`` only where there is one.
    """
    found = {**dict.fromkeys(asked, ""), **_sections(text)}
    files = sysfs.read_files("\n".join(filter(None, (found.get("files"), found.get("meters")))))
    kernel: Mapping[str, tuple[str, ...]] = {} if isinstance(files, Unreadable) else files
    charge = _battery(found)
    return Vitals(
        at_ns=at_ns,
        thermal=_thermal(found, kernel),
        battery=charge,
        cpus=cpu.read_cpus(kernel) if "files" in asked else NOT_ASKED,
        memory=_memory(kernel) if "files" in asked else NOT_ASKED,
        screen=_screen(found),
        software=_software(found),
        app=_app(found) if "app" in asked else NOT_ASKED,
        power=_power(charge, kernel, at_ns),
    )


def read_capacity(text: str) -> float | None:
    """Return the battery's capacity by design in mAh from the line of ``dumpsys batterystats``, or None.

    >>> read_capacity("  Estimated battery capacity: 4855 mAh")
    4855.0
    """
    _, colon, rest = text.partition("battery capacity:")
    value = reading.number(rest.split()[0]) if colon and rest.split() else None
    return value if value is not None and 0 < value <= _CAPACITY_MAX_MAH else None


def _sections(text: str) -> dict[str, str]:
    """Return the text under each mark; the first of a name counts, so that nothing printed later can replace it."""
    found: dict[str, list[str]] = {}
    into: list[str] = []
    for line in reading.lines(text):
        if line.startswith(_HEAD) and line.endswith(_TAIL):
            name, into = line[len(_HEAD) : -len(_TAIL)], []
            found.setdefault(name, into)
        else:
            into.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def _no(answer: Unreadable) -> Unavailable:
    return Unavailable(reason=f"{answer.what}: {answer.reason}")


def _thermal(found: Mapping[str, str], files: Mapping[str, tuple[str, ...]]) -> Thermal | Unavailable:
    if "thermal" not in found:
        return NOT_ASKED
    told, zones = thermal.read_thermalservice(found["thermal"]), thermal.read_zones(files)
    if isinstance(told, Unreadable):
        return zones if zones.temperatures else _no(told)
    if told.temperatures or not zones.temperatures:
        return told
    return Thermal(
        status=told.status,
        overridden=told.overridden,
        source=zones.source,
        temperatures=zones.temperatures,
        skipped=zones.skipped,
        headroom_thresholds=told.headroom_thresholds,
    )


def _battery(found: Mapping[str, str]) -> Battery | Unavailable:
    if "battery" not in found:
        return NOT_ASKED
    told = battery.read_battery(found["battery"])
    if isinstance(told, Unreadable):
        return _no(told)
    return told if told.present else Unavailable(reason="the device has no battery")


def _memory(files: Mapping[str, tuple[str, ...]]) -> DeviceMemory | Unavailable:
    told = memory.read_device_memory("\n".join(files.get("/proc/meminfo", ())))
    return _no(told) if isinstance(told, Unreadable) else told


def _app(found: Mapping[str, str]) -> ProcessMemory | Unavailable:
    told = memory.read_meminfo(found.get("app", ""))
    if isinstance(told, Unreadable):
        return _no(told)
    return told if isinstance(told, Unavailable) else told[0]


def _screen(found: Mapping[str, str]) -> Screen | Unavailable:
    if "screen" not in found:
        return NOT_ASKED
    told = dict(line.strip().partition("=")[::2] for line in found["screen"].split("\n"))
    if not told.keys() & {"mWakefulness", "low_power"}:
        return Unavailable(reason="the device tells neither whether it sleeps nor whether it saves power")
    wakefulness, saving = told.get("mWakefulness", ""), told.get("low_power", "")
    return Screen(
        awake=None if not wakefulness else wakefulness == "Awake",
        power_save={"0": False, "null": False, "1": True}.get(saving),
    )


def _software(found: Mapping[str, str]) -> Software | Unavailable:
    lines = found.get("software", "").split("\n")
    if len(lines) < 3 or not lines[0].strip():
        return Unavailable(reason="the device does not tell its build") if "software" in found else NOT_ASKED
    return Software(
        fingerprint=reading.shown(lines[0]), build_type=reading.shown(lines[1]), debuggable=lines[2].strip() == "1"
    )


def _power(
    charge: Battery | Unavailable, files: Mapping[str, tuple[str, ...]], at_ns: int
) -> PowerSample | Unavailable:
    """Return the gauge: the kernel's finer figures where it lets them be read, else the battery service's."""
    if isinstance(charge, Unavailable):
        return charge

    def kernel(name: str) -> int | None:
        return reading.integer(next(iter(files.get(f"{_SUPPLY}/{name}", ())), ""))

    counter = battery.known(kernel("charge_counter"))
    return PowerSample(
        gauge=Gauge(
            at_ns=at_ns,
            status=charge.status,
            level_percent=charge.level_percent,
            voltage_mv=battery.millivolts(kernel("voltage_now")) or charge.voltage_mv,
            counter_raw=charge.counter_raw if counter is None else counter,
            current_raw=battery.known(kernel("current_now")),
        )
    )
