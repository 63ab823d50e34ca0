"""Battery and heat as this device's script has them: the profile's figures, changed by faults and by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android.system import System

STATUS_DISCHARGING: Final = 3
STATUS_CHARGING: Final = 2
_BATTERY_WARMS: Final = 0.3
"""Share of the skin's warmth above normal that reaches the battery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """What the battery service says: per cent, millivolts, tenths of a degree, microampere hours, microamperes."""

    level: int
    voltage_mv: int
    temperature_tenths: int
    counter_uah: int
    current_ua: int
    status: int
    usb: bool
    ac: bool


def battery(system: System) -> Battery:
    """Return the battery now: it discharges at the profile's currents; ``dumpsys battery set`` has the last word.

    On a charger it takes as much current as it would give, so that its counter rises.
    """
    profile, said = system.profile, system.battery_said
    low = system.faults.holding(faults.LowBattery)
    level = low.level if low else profile.battery_level
    charging = system.faults.holding(faults.Charging)
    now_ns = system.clock.monotonic_ns()
    busy_s = min(system.busy.seconds(now_ns), system.uptime_s())
    drawn_uah = int(-(profile.current_ua * (system.uptime_s() - busy_s) + profile.load_ua * busy_s) / 3600)
    current_ua = profile.load_ua if system.busy.since_ns else profile.current_ua
    warmth = _BATTERY_WARMS * (skin_c(system) - profile.skin_c)
    return Battery(
        level=said.get("level", level),
        voltage_mv=said.get("voltage", profile.battery_mv),
        temperature_tenths=said.get("temp", round(10 * (profile.battery_c + warmth))),
        counter_uah=said.get("counter", level * profile.battery_mah * 10 + (drawn_uah if charging else -drawn_uah)),
        current_ua=-current_ua if charging else current_ua,
        status=said.get("status", STATUS_CHARGING if charging else STATUS_DISCHARGING),
        usb=bool(said.get("usb", charging is not None and charging.over == "usb")),
        ac=bool(said.get("ac", charging is not None and charging.over == "ac")),
    )


def skin_c(system: System) -> float:
    """Return the skin's temperature now."""
    hot = system.faults.holding(faults.Hot)
    normal = system.profile.skin_c
    return normal if hot is None else normal + (hot.skin_c - normal) * _still_hot(system, hot)


def thermal_status(system: System) -> int:
    """Return what the framework says: 0 none to 6 shutdown."""
    if system.thermal_said is not None:
        return system.thermal_said
    hot = system.faults.holding(faults.Hot)
    return 0 if hot is None else round(hot.status * _still_hot(system, hot))


def cpu_c(system: System) -> float:
    """Return the processor's temperature now."""
    return system.profile.cpu_c + skin_c(system) - system.profile.skin_c


def _still_hot(system: System, hot: faults.Hot) -> float:
    """Return 1 right after the device became hot, falling in a line to 0 over the fault's ``cools_s``."""
    now = system.clock.monotonic_ns()
    since = system.hot_since_ns.setdefault(id(hot), now)
    return 1.0 if not hot.cools_s else max(0.0, 1 - (now - since) / 1e9 / hot.cools_s)
