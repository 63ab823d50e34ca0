"""iPhones and iPads that are attached to this Mac, through Xcode's ``devicectl`` (iOS 17 and later).

The bench app is a setting (:mod:`mobile_harness.transports._apple_app`); it must be signed for the phone. Simulators,
which newer Xcodes list here too, are the transport ``simctl``'s.
"""

from __future__ import annotations

import re
from typing import Final

from mobile_harness.apple import phones, xcode
from mobile_harness.apple.errors import HINTS, AppleFailed, Kind
from mobile_harness.apple.phones import Phone
from mobile_harness.apple.xcode import Xcode, Xcrun
from mobile_harness.records import DeviceInfo
from mobile_harness.transports.base import Found, Unusable
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.errors import ToolMissing
from toolkit.core.tools import Tools

NAME: Final = "devicectl"
LIST_S: Final = 8.0
LOCK_S: Final = 5.0
KINDS: Final = ("iPhone", "iPad", "iPod")


def discover(tools: Tools) -> Found:
    """Return the iPhones and iPads that can be used, and why others cannot; changes nothing on them."""
    try:
        found = xcode.locate(tools)
        listed = phones.read_phones(Xcrun(tools).devicectl(["list", "devices"], LIST_S))
    except (AppleFailed, ToolMissing) as error:
        return _nothing(error.message, error.hint, needs_install=isinstance(error, ToolMissing))
    if isinstance(listed, Unreadable):
        return _nothing(
            f"what devicectl lists cannot be read: {listed.reason}", "Is this Xcode newer than palmtop knows?"
        )
    return _sorted_out(listed, found, tools)


def _nothing(reason: str, hint: str, *, needs_install: bool = False) -> Found:
    item = Unusable(transport=NAME, serial="", reason=reason, hint=hint, needs_install=needs_install)
    return Found(devices=(), unusable=(item,))


def _sorted_out(listed: tuple[Phone, ...], found: Xcode, tools: Tools) -> Found:
    from mobile_harness.transports._devicectl_device import PhoneDevice

    devices, unusable = [], []
    for phone in listed:
        if phone.is_simulator:
            continue
        trouble = _trouble(phone) or _lock_trouble(phone, tools)
        if trouble is None:
            devices.append(PhoneDevice(describe(phone), phone, found, tools))
        else:
            reason, hint = trouble
            unusable.append(Unusable(transport=NAME, serial=_serial(phone), reason=reason, hint=hint))
    return Found(devices=tuple(devices), unusable=tuple(unusable))


def _trouble(phone: Phone) -> tuple[str, str] | None:
    """Return why a phone cannot be used and what helps, from the list alone."""
    kind: Kind
    if phone.pairing == "unsupported" or not phone.udid or not phones.is_identifier(phone.udid):
        return (
            "it tells nothing of itself: devicectl needs iOS 17 or later",
            "Update it, or reach it by pymobiledevice3.",
        )
    if phone.kind not in KINDS:
        return f"{phone.name}: it is no iPhone or iPad but {phone.kind or phone.platform or 'something else'}", ""
    if phone.pairing != "paired":
        kind, reason = "unpaired", f"{phone.name}: it is not paired with this Mac"
    elif phone.connection == "unavailable":
        kind, reason = "unreachable", f"{phone.name}: it is out of reach"
    elif phone.developer_mode == "disabled":
        kind, reason = "developer_mode", f"{phone.name}: Developer Mode is off"
    else:
        return None
    return reason, HINTS[kind]


def _lock_trouble(phone: Phone, tools: Tools) -> tuple[str, str] | None:
    """Ask one that is connected whether it is locked; one at rest is asked when a session starts."""
    if phone.connection != "connected":
        return None
    try:
        words = ["device", "info", "lockState", "--device", phone.udid]
        lock = phones.read_lock(Xcrun(tools).devicectl(words, LOCK_S))
    except AppleFailed as error:
        return error.message, error.hint
    if isinstance(lock, Unreadable) or not lock.passcode_required:
        return None
    return f"{phone.name}: it is locked", HINTS["locked"]


def describe(phone: Phone) -> DeviceInfo:
    """Return what a phone is; its name, which is often its owner's, stays out of records."""
    version = f"{phone.os_version or 'unknown'}{f' ({phone.os_build})' if phone.os_build else ''}"
    return DeviceInfo(
        transport=NAME,
        serial=_serial(phone),
        platform="ios",
        model=phone.model or phone.product or "unknown model",
        soc=phone.product or "unknown SoC",
        os_version=version,
        abis=(phone.cpu or "arm64",),
        ram_mb=0,
        kind="phone",
    )


def _serial(phone: Phone) -> str:
    """Return the identifier as it may stand in a selector and in a file's name."""
    word = phone.udid or phone.identifier
    return word if phones.is_identifier(word) else re.sub(r"[^A-Za-z0-9.-]+", "_", word).strip("_.-")[:64] or "unnamed"
