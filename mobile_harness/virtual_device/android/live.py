"""The files under ``/proc`` and ``/sys``, made when they are read."""

from __future__ import annotations

import errno
import os
import platform
import re
import uuid
from collections.abc import Callable
from typing import Final

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android import vitals
from mobile_harness.virtual_device.android.system import System

_PROCESS: Final = re.compile(r"/proc/(\d+)(/.*)?")
_STATUS: Final = {vitals.STATUS_CHARGING: "Charging", vitals.STATUS_DISCHARGING: "Discharging"}
_ZONES: Final = ("skin", "cpu", "battery")


def fixed_paths(system: System) -> dict[str, Callable[[], str]]:
    """Return what is always there: a path and how to make its content."""
    profile = system.profile
    cores = len(profile.cpu_max_khz)
    found: dict[str, Callable[[], str]] = {
        "/proc/cpuinfo": lambda: _cpuinfo(cores),
        "/proc/meminfo": lambda: _meminfo(profile.memory_kb),
        "/proc/uptime": lambda: f"{system.uptime_s():.2f} {system.uptime_s():.2f}\n",
        "/proc/loadavg": lambda: "0.00 0.00 0.00 1/100 1000\n",
        "/proc/sys/kernel/random/boot_id": lambda: f"{_boot_id(system)}\n",
        "/proc/version": lambda: "Linux version 0.0-palmtop-virtual\n",
        "/sys/devices/system/cpu/online": lambda: f"0-{cores - 1}\n",
        "/sys/devices/system/cpu/possible": lambda: f"0-{cores - 1}\n",
    }
    found.update(_cpufreq(system))
    for number, name in enumerate(_ZONES):
        folder = f"/sys/class/thermal/thermal_zone{number}"
        found[f"{folder}/type"] = lambda name=name: f"{name}\n"  # type: ignore[misc]
        found[f"{folder}/temp"] = lambda name=name: f"{round(1000 * _zone_c(system, name))}\n"  # type: ignore[misc]
    found.update(_power_supply(system))
    return found


def _boot_id(system: System) -> uuid.UUID:
    """Return what no other device and no other start of this one says."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{platform.node()} {os.getpid()} {system.serial} {system.booted_ns}")


def _cpuinfo(cores: int) -> str:
    blocks = [f"processor\t: {core}\nmodel name\t: palmtop virtual (host processor)\n" for core in range(cores)]
    return "\n".join(blocks) + "\nHardware\t: palmtop_virtual\n"


def _meminfo(total_kb: int) -> str:
    rows = {"MemTotal": total_kb, "MemFree": total_kb // 4, "MemAvailable": total_kb // 2, "SwapTotal": 0}
    return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in rows.items())


def _cpufreq(system: System) -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {}
    max_khz = system.profile.cpu_max_khz
    for core, khz in enumerate(max_khz):
        same = " ".join(str(other) for other, value in enumerate(max_khz) if value == khz)
        values = {
            "cpuinfo_max_freq": khz, "scaling_min_freq": khz // 4, "cpuinfo_min_freq": khz // 4, "related_cpus": same,
        }  # fmt: skip
        folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
        for name, value in values.items():
            found[f"{folder}/{name}"] = lambda value=value: f"{value}\n"  # type: ignore[misc]
        for name in ("scaling_cur_freq", "scaling_max_freq"):
            found[f"{folder}/{name}"] = lambda khz=khz: f"{_allowed_khz(system, khz)}\n"  # type: ignore[misc]
        found[f"{folder}/scaling_governor"] = lambda: f"{_governor(system)}\n"
        found[f"{folder}/stats/time_in_state"] = lambda khz=khz: _times(system, khz)  # type: ignore[misc]
    return found


def _allowed_khz(system: System, khz: int) -> int:
    capped = system.faults.holding(faults.CappedClocks)
    return khz if capped is None else khz * capped.percent // 100


def _governor(system: System) -> str:
    capped = system.faults.holding(faults.CappedClocks)
    return "schedutil" if capped is None else capped.governor


def _times(system: System, khz: int) -> str:
    """Return the ticks of 10 ms at the lowest and the highest clock: the highest while the bench app ran."""
    busy_s = min(system.busy.seconds(system.clock.monotonic_ns()), system.uptime_s())
    return f"{khz // 4} {round(100 * (system.uptime_s() - busy_s))}\n{khz} {round(100 * busy_s)}\n"


def _zone_c(system: System, name: str) -> float:
    if name == "battery":
        return vitals.battery(system).temperature_tenths / 10
    return vitals.skin_c(system) if name == "skin" else vitals.cpu_c(system)


def _power_supply(system: System) -> dict[str, Callable[[], str]]:
    folder = "/sys/class/power_supply/battery"
    return {
        f"{folder}/capacity": lambda: f"{vitals.battery(system).level}\n",
        f"{folder}/temp": lambda: f"{vitals.battery(system).temperature_tenths}\n",
        f"{folder}/voltage_now": lambda: f"{vitals.battery(system).voltage_mv * 1000}\n",
        f"{folder}/current_now": lambda: f"{vitals.battery(system).current_ua}\n",
        f"{folder}/charge_counter": lambda: f"{vitals.battery(system).counter_uah}\n",
        f"{folder}/status": lambda: f"{_STATUS.get(vitals.battery(system).status, 'Unknown')}\n",
    }


def install(system: System) -> None:
    """Put the files into the device's folder, so that they can be listed, and make them when they are read."""
    paths = fixed_paths(system)
    for path, make in paths.items():
        system.files.put(path, make().encode(), 0o444)
    system.files.put("/proc/self/oom_score_adj", b"0\n", 0o444)

    def live(path: str) -> bytes | None:
        if path in paths:
            return paths[path]().encode()
        found = _PROCESS.fullmatch(path)
        return None if found is None else _of_process(system, int(found.group(1)), found.group(2) or "")

    system.files.live = live


def _of_process(system: System, pid: int, name: str) -> bytes | None:
    process = system.processes.find(pid)
    if process is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if name == "/cmdline":
        return "\0".join(process.argv).encode("utf-8", "surrogateescape") + b"\0"
    if name == "/status":
        rows = {"Name": process.name[:15], "State": "S (sleeping)", "Pid": str(pid), "PPid": str(process.parent)}
        memory = {"VmPeak": 8 * process.rss_kb, "VmHWM": process.rss_kb * 9 // 8, "VmRSS": process.rss_kb}
        text = "".join(f"{key}:\t{value}\n" for key, value in rows.items())
        return (text + "".join(f"{key}:\t{value:>8} kB\n" for key, value in memory.items())).encode()
    return None
