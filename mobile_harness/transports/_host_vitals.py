"""What this machine says of itself: from the kernel's files where there are any, else from psutil."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final

import psutil

from mobile_harness.records.state import (
    NOT_ASKED,
    Battery,
    Cpus,
    DeviceMemory,
    Gauge,
    Part,
    PowerSample,
    ProcessMemory,
    Temperature,
    Thermal,
    Unavailable,
    Vitals,
)
from mobile_harness.transports.base import Moment
from mobile_harness.vitals import cpu
from mobile_harness.vitals.battery import CHARGING, DISCHARGING
from toolkit.core.clock import Clock

_BYTES_MAX: Final = 1 << 16
_RAILS: Final = "sys/class/powercap/intel-rapl:[0-9]*/energy_uj"
_CHIPS: Final[dict[str, Part]] = {"coretemp": "cpu", "k10temp": "cpu", "zenpower": "cpu", "cpu_thermal": "cpu"}
_FULL: Final = 5
_NO_SCREEN: Final = Unavailable(reason="a host's screen and power saving are not asked for")
_NO_BUILD: Final = Unavailable(reason="a host's system is in its device's description")


def look(pid: int | None, moment: Moment, clock: Clock) -> Vitals:
    """Return the vitals; ``pid`` is the running runner's."""
    at_ns = clock.monotonic_ns()
    charge = _battery()
    app = _process(pid) if moment in ("loaded", "ended") and pid is not None else NOT_ASKED
    if moment in ("resting", "loaded"):
        return Vitals(at_ns=at_ns, battery=charge, app=app, power=_power(charge, at_ns))
    memory = psutil.virtual_memory()
    return Vitals(
        at_ns=at_ns,
        thermal=_thermal(),
        battery=charge,
        cpus=_cpus(),
        memory=DeviceMemory(total_kb=int(memory.total) >> 10, available_kb=int(memory.available) >> 10),
        screen=_NO_SCREEN,
        software=_NO_BUILD,
        app=app,
        power=_power(charge, at_ns),
    )


def _thermal() -> Thermal | Unavailable:
    chips = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    rows = [
        Temperature(name=f"{chip} {row.label}".strip(), part=_CHIPS[chip], celsius=float(row.current), status=0)
        for chip, found in sorted(chips.items())
        if chip in _CHIPS
        for row in found
    ]
    if not rows:
        return Unavailable(reason="this machine shows no temperature of its processor")
    return Thermal(status=None, overridden=False, source="sysfs", temperatures=tuple(rows), skipped=0)


def _battery() -> Battery | Unavailable:
    told = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if told is None:
        return Unavailable(reason="this machine has no battery")
    charging = CHARGING if told.percent < 100 else _FULL
    return Battery(
        frozen=False,
        powered=("ac",) if told.power_plugged else (),
        status=charging if told.power_plugged else DISCHARGING,
        health=None,
        present=True,
        level_percent=float(told.percent),
        voltage_mv=None,
        temperature_c=None,
        counter_raw=None,
        technology="",
    )


def _power(charge: Battery | Unavailable, at_ns: int) -> PowerSample | Unavailable:
    """Return the energy that the processors' packages have used, where the kernel lets it be read."""
    packages = [path for path in sorted(Path("/").glob(_RAILS)) if path.parent.name.count(":") == 1]  # not their parts
    rails = {path.parent.name: value for path in packages if (value := _whole(path)) is not None}
    if not rails:
        return Unavailable(reason="this machine lets nobody read what its processors use")
    told = None if isinstance(charge, Unavailable) else charge
    return PowerSample(
        gauge=Gauge(
            at_ns=at_ns,
            status=None if told is None else told.status,
            level_percent=None if told is None else told.level_percent,
            voltage_mv=None,
        ),
        rails_uws=rails,  # a microjoule is a microwatt second
    )


def _cpus() -> Cpus | Unavailable:
    paths = chain.from_iterable(Path("/").glob(pattern.lstrip("/")) for pattern in cpu.FILES)
    return cpu.read_cpus({str(path): tuple(_lines(path)) for path in sorted(set(paths))})


def _process(pid: int) -> ProcessMemory | Unavailable:
    """Return a process's memory; the proportional share is the kernel's own sum over its mappings (Linux)."""
    try:
        rss_kb = int(psutil.Process(pid).memory_info().rss) >> 10
    except psutil.Error:
        return Unavailable(reason="the runner is gone")
    rows = dict(line.partition(":")[::2] for line in _lines(Path(f"/proc/{pid}/smaps_rollup")))
    words = {name: value.split() for name, value in rows.items()}
    sums = {name: int(found[0]) for name, found in words.items() if len(found) == 2 and found[0].isdigit()}
    return ProcessMemory(
        pid=pid,
        name="python",
        pss_kb=sums.get("Pss"),
        rss_kb=rss_kb,
        swap_pss_kb=sums.get("SwapPss"),
        native_heap_kb=None,
        graphics_kb=None,
    )


def _whole(path: Path) -> int | None:
    line = next(_lines(path), "")
    return int(line) if line.isdigit() else None


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file of the kernel; none where it may not be read."""
    with suppress(OSError), path.open("rb") as file:
        yield from file.read(_BYTES_MAX).decode("utf-8", "replace").splitlines()
