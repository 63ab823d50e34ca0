"""``dumpsys``: the services a harness reads, in Android 14's layouts. Every figure is the device's script.

The layouts are those of the Android Open Source Project's services (BatteryService, ThermalManagerService,
ActivityManagerService, PowerStatsService, BatteryStatsService, PackageManagerService, DeviceIdleController); none was
compared with a phone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from mobile_harness.virtual_device.android import vitals, words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble
from mobile_harness.virtual_device.android.system import System

NO_SERVICE: Final = 20
Dump = Callable[[Call, list[str]], Awaitable[int]]


async def dumpsys(call: Call) -> int:
    """Print what a service says of itself."""
    args = list(call.args)
    if args[:1] == ["-l"]:
        await call.say("Currently running services:\n" + "".join(f"  {name}\n" for name in sorted(SERVICES)))
        return 0
    if args[:1] == ["-t"]:
        args = args[2:]
    if not args:
        raise Trouble("name a service: dumping all is not supported by the virtual device")
    service = SERVICES.get(args[0].lower())
    if service is None or not call.system.has_booted():
        await call.stderr.write(f"Can't find service: {args[0]}\n".encode())
        return NO_SERVICE
    return await service(call, args[1:])


_SETTABLE: Final = {"level", "temp", "voltage", "counter", "status", "usb", "ac"}


async def battery(call: Call, args: list[str]) -> int:
    """BatteryService, with ``set``, ``unplug`` and ``reset``: what they say stays said until ``reset``."""
    said = call.system.battery_said
    if args[:1] == ["set"] and len(args) == 3 and args[1] in _SETTABLE:
        said[args[1]] = words.number(args[2], args[1])
    elif args[:1] == ["unplug"]:
        said.update(usb=0, ac=0, status=vitals.STATUS_DISCHARGING)
    elif args[:1] == ["reset"]:
        said.clear()
    elif args:
        await call.say("Unknown set option\n")
        return 0
    else:
        await call.say(battery_text(call.system))
    return 0


def battery_text(system: System) -> str:
    """Return the battery service's page."""
    now = vitals.battery(system)
    stopped = "  (UPDATES STOPPED -- use 'reset' to restart)\n" if system.battery_said else ""
    rows = {
        "AC powered": str(now.ac).lower(), "USB powered": str(now.usb).lower(), "Wireless powered": "false",
        "Dock powered": "false", "Max charging current": 0, "Max charging voltage": 0,
        "Charge counter": now.counter_uah, "status": now.status, "health": 2, "present": "true", "level": now.level,
        "scale": 100, "voltage": now.voltage_mv, "temperature": now.temperature_tenths, "technology": "Virtual",
        "Charging state": 0, "Charging policy": 0, "Capacity level": -1,
    }  # fmt: skip
    return "Current Battery Service state:\n" + stopped + "".join(f"  {key}: {value}\n" for key, value in rows.items())


async def thermal(call: Call, args: list[str]) -> int:
    """ThermalManagerService."""
    await call.say(thermal_text(call.system))
    return 0


def thermal_text(system: System) -> str:
    """Return the thermal service's page: types are 0 CPU, 2 battery, 3 skin."""
    status = vitals.thermal_status(system)
    found = (
        (vitals.skin_c(system), 3, "VIRTUAL-SKIN", status),
        (vitals.cpu_c(system), 0, "VIRTUAL-CPU", 0),
        (vitals.battery(system).temperature_tenths / 10, 2, "VIRTUAL-BATTERY", 0),
    )
    rows = "".join(
        f"\tTemperature{{mValue={value:.3f}, mType={kind}, mName={name}, mStatus={state}}}\n"
        for value, kind, name, state in found
    )
    return (
        f"IsStatusOverride: {str(system.thermal_said is not None).lower()}\n"
        "ThermalEventListeners:\n\tcallbacks: 1\n\tkilled: false\n\tbroadcasts count: -1\n"
        f"ThermalStatusListeners:\n\tcallbacks: 1\n\tkilled: false\n\tbroadcasts count: -1\nThermal Status: {status}\n"
        f"Cached temperatures:\n{rows}HAL Ready: true\nHAL connection:\n\tThermalHAL AIDL 1  connected: yes\n"
        f"Current temperatures from HAL:\n{rows}Current cooling devices from HAL:\n"
        "\tCoolingDevice{mValue=0, mType=2, mName=virtual-cpufreq}\n"
    )


async def meminfo(call: Call, args: list[str]) -> int:
    """Memory of a process by name or pid, or of the device."""
    wanted = [word for word in args if not word.startswith("-")]
    if not wanted:
        total = call.system.profile.memory_kb
        await call.say(f"Total RAM: {total:,}K (status normal)\n Free RAM: {total // 2:,}K\n")
        return 0
    found = [item for item in call.system.processes.all() if wanted[0] in (item.name, str(item.pid))]
    if not found:
        await call.say(f"No process found for: {wanted[0]}\n")
        return 0
    await call.say(meminfo_text(call.system, found[-1].pid, found[-1].name, found[-1].rss_kb))
    return 0


def meminfo_text(system: System, pid: int, name: str, rss_kb: int) -> str:
    """Return a process's page as Android 11 and later print it."""
    uptime = round(1000 * system.uptime_s())
    pss = rss_kb * 3 // 5
    parts = {"Java Heap": 10, "Native Heap": 60, "Code": 15, "Stack": 1, "Graphics": 0, "Private Other": 9}
    rows = "".join(
        f"{label + ':':>20} {pss * share // 100:>8}{'':26}{rss_kb * share // 100:>8}\n"
        for label, share in parts.items()
    )
    return (
        f"Applications Memory Usage (in Kilobytes):\nUptime: {uptime} Realtime: {uptime}\n\n"
        f"** MEMINFO in pid {pid} [{name}] **\n"
        "                   Pss  Private  Private  SwapPss      Rss     Heap     Heap     Heap\n"
        "                 Total    Dirty    Clean    Dirty    Total     Size    Alloc     Free\n"
        "                ------   ------   ------   ------   ------   ------   ------   ------\n"
        f"        TOTAL {pss:>8} {pss * 4 // 5:>8} {pss // 10:>8}        0 {rss_kb:>8}        0        0        0\n\n"
        " App Summary\n                       Pss(KB)                        Rss(KB)\n"
        "                        ------                         ------\n"
        f"{rows}\n           TOTAL PSS: {pss:>8}            TOTAL RSS: {rss_kb:>8}      TOTAL SWAP PSS:        0\n"
    )


async def batterystats(call: Call, args: list[str]) -> int:
    """BatteryStatsService: models of a script, so it says only what is asked most."""
    if "--reset" in args:
        await call.say("Battery stats reset.\n")
        return 0
    mah = call.system.profile.battery_mah
    ms = round(1000 * call.system.uptime_s())
    await call.say(
        f"Statistics since last charge:\n  System starts: 0, currently on battery: true\n"
        f"  Estimated battery capacity: {mah} mAh\n  Time on battery: {ms}ms (100.0%) realtime\n  Discharge: 0 mAh\n"
        f"  Estimated power use (mAh):\n    Capacity: {mah}, Computed drain: 0, actual drain: 0\n"
    )
    return 0


async def powerstats(call: Call, args: list[str]) -> int:
    """PowerStatsService of a device without power monitors."""
    await call.say("PowerStats HAL is not initialized.  No data available.\n")
    return 0


async def package(call: Call, args: list[str]) -> int:
    """PackageManagerService of one package, or of all."""
    wanted = [word for word in args if not word.startswith("-")]
    apps = [app for name, app in sorted(call.system.packages.items()) if not wanted or name in wanted]
    if not apps:
        await call.say(f"Unable to find package: {wanted[0]}\n" if wanted else "")
        return 0
    for app in apps:
        flags = "DEBUGGABLE HAS_CODE" if app.manifest.debuggable else "HAS_CODE"
        await call.say(
            f"Packages:\n  Package [{app.package}] (1):\n    appId={app.uid}\n    codePath={app.folder}\n"
            f"    versionCode={app.manifest.version_code} minSdk={app.manifest.min_sdk} targetSdk=34\n"
            f"    versionName={app.manifest.version_name}\n    flags=[ {flags} ]\n    pkgFlags=[ {flags} ]\n"
        )
    return 0


async def deviceidle(call: Call, args: list[str]) -> int:
    """DeviceIdleController: ``enable``, ``disable``, ``whitelist`` and the state."""
    if args[:1] in (["enable"], ["disable"]):
        await call.say(f"Deep idle mode {args[0]}d\nLight idle mode {args[0]}d\n")
    elif args[:1] == ["get"]:
        await call.say("ACTIVE\n")
    elif args[:1] == ["whitelist"]:
        await call.say("".join(f"Added: {word[1:]}\n" for word in args[1:] if word.startswith("+")))
    elif args:
        await call.say(f"Unknown command: {args[0]}\n")
    else:
        await call.say("  mLightState=ACTIVE\n  mState=ACTIVE\n  mScreenOn=true\n")
    return 0


async def power(call: Call, args: list[str]) -> int:
    """PowerManagerService, as far as the screen goes."""
    await call.say("POWER MANAGER (dumpsys power)\n\n  mWakefulness=Awake\nmHoldingDisplaySuspendBlocker=true\n")
    return 0


async def activity(call: Call, args: list[str]) -> int:
    """ActivityManagerService: ``exit-info`` of a package."""
    if args[:1] != ["exit-info"]:
        raise Trouble("only exit-info is supported by the virtual device")
    await call.say("ACTIVITY MANAGER PROCESS EXIT INFO (dumpsys activity exit-info)\n")
    wanted = args[1:2]
    for package_name, reason, pid in call.system.exits:
        if not wanted or package_name in wanted:
            await call.say(f"  package: {package_name}\n    ApplicationExitInfo #0:\n      pid={pid} reason={reason}\n")
    return 0


SERVICES: Final[dict[str, Dump]] = {
    "battery": battery, "thermalservice": thermal, "meminfo": meminfo, "batterystats": batterystats,
    "powerstats": powerstats, "package": package, "deviceidle": deviceidle, "power": power, "activity": activity,
}  # fmt: skip
COMMANDS: Final[dict[str, Command]] = {"dumpsys": dumpsys}
