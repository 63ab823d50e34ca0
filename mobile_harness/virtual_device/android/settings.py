"""Properties, settings and switches: ``getprop``, ``settings``, ``svc``, ``wm``, ``input`` and ``cmd``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mobile_harness.virtual_device.android import dumpsys, words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble
from mobile_harness.virtual_device.faults import Reboot

_SPACES: Final = ("system", "secure", "global")
_UNKNOWN: Final = 255


async def getprop(call: Call) -> int:
    """Print one property, or all."""
    known = call.system.properties
    if call.args:
        await call.say(known.get(call.args[0], call.args[1] if len(call.args) > 1 else "") + "\n")
    else:
        await call.say("".join(f"[{key}]: [{value}]\n" for key, value in sorted(known.items())))
    return 0


async def setprop(call: Call) -> int:
    """Set a property the shell may set."""
    if len(call.args) != 2:
        raise Trouble("usage: setprop NAME VALUE")
    name, value = call.args
    if not name.startswith(("debug.", "log.", "persist.log.", "sys.usb.")):
        await call.stderr.write(
            f"Failed to set property '{name}' to '{value}'.\nSee dmesg for error reason.\n".encode()
        )
        return 1
    call.system.properties[name] = value
    return 0


async def settings(call: Call) -> int:
    """Read and write the settings of Android's three spaces."""
    args = [word for number, word in enumerate(call.args) if "--user" not in call.args[max(0, number - 1) : number + 1]]
    if len(args) < 2 or args[1] not in _SPACES:
        raise Trouble("usage: settings get|put|delete|list system|secure|global [KEY] [VALUE]", _UNKNOWN)
    verb, space, *rest = args
    store = call.system.settings
    if verb == "list":
        await call.say("".join(f"{key}={value}\n" for (at, key), value in sorted(store.items()) if at == space))
    elif verb == "get" and len(rest) == 1:
        await call.say(store.get((space, rest[0]), "null") + "\n")
    elif verb == "put" and len(rest) >= 2:
        store[space, rest[0]] = rest[1]
    elif verb == "delete" and len(rest) == 1:
        await call.say(f"Deleted {int(store.pop((space, rest[0]), None) is not None)} rows\n")
    else:
        raise Trouble(f"Unknown command: {verb}", _UNKNOWN)
    return 0


async def accept(call: Call) -> int:
    """Take a command that changes nothing a harness could see, and write it to the log."""
    call.system.logs.add("D", call.name, " ".join(call.args), pid=call.pid)
    return 0


async def wm(call: Call) -> int:
    """Print the screen's size and density."""
    known = {"size": "Physical size: 1080x2400\n", "density": "Physical density: 420\n"}
    if not call.args or call.args[0] not in known:
        raise Trouble(f"Unknown command: {' '.join(call.args)}", _UNKNOWN)
    await call.say(known[call.args[0]])
    return 0


async def reboot(call: Call) -> int:
    """Restart the device."""
    call.system.reboot(Reboot())
    return 0


async def thermalservice(call: Call) -> int:
    """``cmd thermalservice``: change what the framework says."""
    if call.args[:1] == ["override-status"] and len(call.args) == 2:
        call.system.thermal_said = words.number(call.args[1], "status")
    elif call.args[:1] == ["reset"]:
        call.system.thermal_said = None
    else:
        raise Trouble(f"Unknown command: {' '.join(call.args)}", _UNKNOWN)
    return 0


async def power(call: Call) -> int:
    """``cmd power``: a virtual device has no Power HAL to fix its clocks."""
    if call.args[:1] == ["set-fixed-performance-mode-enabled"]:
        await call.say("Failed to set FIXED_PERFORMANCE mode. This is likely because the Power HAL AIDL is not "
                       "implemented on this device\n")  # fmt: skip
        return 1
    return await accept(call)


def _dump(service: dumpsys.Dump) -> Command:
    async def run(call: Call) -> int:
        return await service(call, call.args)

    return run


_OWN_SERVICES: Final[dict[str, Command]] = {
    "settings": settings, "thermalservice": thermalservice, "power": power, "battery": _dump(dumpsys.battery),
    "deviceidle": _dump(dumpsys.deviceidle), "wifi": accept, "statusbar": accept, "device_config": accept,
    "notification": accept, "window": accept, "uimode": accept,
}  # fmt: skip


def make_cmd(others: Mapping[str, Command]) -> Command:
    """Return ``cmd``, which speaks to services; ``others`` are those with commands of their own."""
    services = {**_OWN_SERVICES, **others}

    async def cmd(call: Call) -> int:
        if call.args[:1] == ["-l"]:
            await call.say("Currently running services:\n" + "".join(f"  {name}\n" for name in sorted(services)))
            return 0
        if not call.args:
            await call.stderr.write(b"cmd: No service specified; use -l to list all services\n")
            return dumpsys.NO_SERVICE
        name = call.args[0]
        service = services.get(name)
        if service is None or not call.system.has_booted():
            await call.stderr.write(f"cmd: Can't find service: {name}\n".encode("utf-8", "surrogateescape"))
            return dumpsys.NO_SERVICE
        call.name, call.args = name, call.args[1:]
        return await service(call)

    return cmd


async def unsupported(call: Call) -> int:
    """Say that a command of real devices is none of this one."""
    raise Trouble("not supported by the virtual device", _UNKNOWN)


COMMANDS: Final[dict[str, Command]] = {
    "getprop": getprop, "setprop": setprop, "settings": settings, "wm": wm, "svc": accept, "input": accept,
    "device_config": accept, "reboot": reboot, "screencap": unsupported, "uiautomator": unsupported,
    "monkey": unsupported, "su": unsupported, "simpleperf": unsupported, "perfetto": unsupported,
    "atrace": unsupported, "service": unsupported, "content": unsupported,
}  # fmt: skip
