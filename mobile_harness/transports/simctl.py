"""iOS simulators of this Mac through Xcode's ``simctl``. They run on the Mac's processor: no phone's figures.

What is listed stands for what can be measured on: simulators that are booted, and when none is, the newest iPhone of
the newest iOS. A bench never touches them: it makes a throw-away simulator of the same type and system, and deletes it.
The bench app is a setting (:mod:`mobile_harness.transports._apple_app`).
"""

from __future__ import annotations

import platform

from mobile_harness.apple import xcode
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.simulators import Inventory, Runtime, Simulator
from mobile_harness.apple.xcode import Xcode, Xcrun
from mobile_harness.records import DeviceInfo
from mobile_harness.transports import host
from mobile_harness.transports._simctl_own import LIST_S, PREFIX, Likeness
from mobile_harness.transports.base import Found, Unusable
from toolkit.core.errors import ToolMissing
from toolkit.core.tools import Tools

NAME = "simctl"


def discover(tools: Tools) -> Found:
    """Return the simulators to measure on, and why others are not; changes nothing."""
    try:
        found = xcode.locate(tools)
        inventory = Xcrun(tools).inventory(LIST_S)
    except (AppleFailed, ToolMissing) as error:
        missing = isinstance(error, ToolMissing)
        reason = Unusable(transport=NAME, serial="", reason=error.message, hint=error.hint, needs_install=missing)
        return Found(devices=(), unusable=(reason,))
    return _sorted_out(inventory, found, tools)


def _sorted_out(inventory: Inventory, found: Xcode, tools: Tools) -> Found:
    from mobile_harness.transports._simctl_device import SimulatorDevice

    phones = [item for item in inventory.simulators if not item.name.startswith(PREFIX)]
    usable = [(item, runtime) for item in phones if (runtime := _runtime_for(inventory, item)) is not None]
    offered = [pair for pair in usable if pair[0].state == "Booted"] or _newest(inventory, usable)
    devices = tuple(
        SimulatorDevice(
            _describe(inventory, item, runtime), Likeness(device_type=item.device_type, runtime=runtime.identifier),
            found, tools,
        )
        for item, runtime in offered
    )  # fmt: skip
    names = {item.udid for item, _ in offered}
    rest = tuple(_unusable(inventory, item) for item in phones if item.udid not in names)
    if not usable:
        rest += (_none(found),)
    return Found(devices=devices, unusable=rest)


def _runtime_for(inventory: Inventory, item: Simulator) -> Runtime | None:
    """Return an iPhone or iPad simulator's system, or None when it cannot be used."""
    runtime = inventory.runtime_of(item)
    fits = runtime is not None and runtime.is_available and runtime.platform == "iOS"
    return runtime if fits and item.is_available and item.device_type else None


def _newest(inventory: Inventory, usable: list[tuple[Simulator, Runtime]]) -> list[tuple[Simulator, Runtime]]:
    """Return the simulator of the newest system and, among those, of the device type that Xcode lists last."""
    types = [item.identifier for item in inventory.device_types]

    def rank(pair: tuple[Simulator, Runtime]) -> tuple[tuple[int, ...], bool, int]:
        item, runtime = pair
        is_phone = "iPhone" in item.device_type
        return runtime.order, is_phone, types.index(item.device_type) if item.device_type in types else -1

    return [max(usable, key=rank)] if usable else []


def _describe(inventory: Inventory, item: Simulator, runtime: Runtime) -> DeviceInfo:
    here = host.describe()
    kind = inventory.type_of(item)
    return DeviceInfo(
        transport=NAME,
        serial=item.udid,
        platform="ios",
        model=f"{kind.name if kind else item.name} (simulated)",
        soc=here.model,
        os_version=f"{runtime.version} ({runtime.build}) on {here.os_version}",
        abis=(platform.machine(),),
        ram_mb=here.ram_mb,
        kind="simulator",
    )


def _unusable(inventory: Inventory, item: Simulator) -> Unusable:
    runtime = inventory.runtime_of(item)
    name = f"{item.name}, {runtime.name}" if runtime is not None else item.name
    if not item.is_available or runtime is None or not runtime.is_available:
        why = item.why_not or "its system is not installed"
        reason, hint = f"{name}: {why}", "Install its system: `xcodebuild -downloadPlatform iOS`, or delete it."
    elif runtime.platform != "iOS":
        reason, hint = f"{name}: it is no iPhone or iPad", ""
    elif not item.device_type:
        reason, hint = f"{name}: it does not say what it simulates", "Make it anew in Xcode."
    else:
        reason, hint = f"{name}: {item.state.lower()}", f"`palmtop devices boot {item.udid}`"
    return Unusable(transport=NAME, serial=item.udid, reason=reason, hint=hint)


def _none(found: Xcode) -> Unusable:
    hint = "Install a system and its simulators: `xcodebuild -downloadPlatform iOS`."
    reason = f"this Xcode has no usable iOS simulator: {found.words}"
    return Unusable(transport=NAME, serial="", reason=reason, hint=hint)
