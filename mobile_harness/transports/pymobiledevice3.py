"""iPhones without a Mac, through the external program ``pymobiledevice3`` where it is installed.

It is another project under another licence (GPL-3.0): palmtop calls it as a program and never imports it. Where there
is an Xcode, ``devicectl`` serves and this transport lists nothing.
"""

from __future__ import annotations

import os
from typing import Final

from mobile_harness.apple import mobiledevice, xcode
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.mobiledevice import Attached, MobileDevice
from mobile_harness.records import DeviceInfo
from mobile_harness.transports.base import Found, Unusable
from mobile_harness.transports.devicectl import KINDS
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.errors import ToolMissing
from toolkit.core.tools import Tools

NAME: Final = "pymobiledevice3"
LIST_S: Final = 15.0


def discover(tools: Tools) -> Found:
    """Return the iPhones and iPads that usbmuxd knows; nothing where the program is not installed."""
    if xcode.is_here(os.environ) or not mobiledevice.is_here(os.environ):
        return Found(devices=())
    ask = MobileDevice(tools)
    try:
        listed = mobiledevice.read_attached(ask(["usbmux", "list"], LIST_S))
        version = reading.shown(ask(["version"], LIST_S)) if not isinstance(listed, Unreadable) and listed else ""
    except (AppleFailed, ToolMissing) as error:
        return _nothing(error.message, error.hint)
    if isinstance(listed, Unreadable):
        return _nothing(f"what it lists cannot be read: {listed.reason}", "Is it version 11?")
    from mobile_harness.transports._pymobiledevice3_device import MobileDevicePhone

    usable = [item for item in listed if item.kind in KINDS]
    return Found(
        devices=tuple(MobileDevicePhone(_describe(item), item, version, tools) for item in usable),
        unusable=tuple(
            Unusable(transport=NAME, serial=item.udid, reason=f"it is no iPhone or iPad but {item.kind or 'nameless'}")
            for item in listed
            if item.kind not in KINDS
        ),
    )


def _nothing(reason: str, hint: str) -> Found:
    return Found(devices=(), unusable=(Unusable(transport=NAME, serial="", reason=reason, hint=hint),))


def _describe(item: Attached) -> DeviceInfo:
    return DeviceInfo(
        transport=NAME,
        serial=item.udid,
        platform="ios",
        model=item.product or "unknown model",
        soc=item.product or "unknown SoC",
        os_version=f"{item.os_version or 'unknown'}{f' ({item.os_build})' if item.os_build else ''}",
        abis=("arm64",),
        ram_mb=0,
        kind="phone",
    )
