"""The one error of this room, and how the words of both server generations become its kinds."""

from __future__ import annotations

from typing import Literal

from mobile_harness.vitals import adb_faults
from toolkit.core.errors import PalmtopError

Kind = Literal[
    "no_server", "not_found", "offline", "unauthorized", "closed", "timeout", "refused", "garbage", "storage"
]


class AdbFailed(PalmtopError):
    """Something between us and a device failed.

    ``no_server``: nobody listens, or not an adb server. ``not_found``, ``offline``, ``unauthorized``: the device's
    state. ``closed``: a connection ended in the middle. ``timeout``: a deadline passed. ``refused``: the device said
    no. ``garbage``: what came is not the protocol. ``storage``: the device is full.
    """

    exit_code = 5

    def __init__(self, message: str, *, kind: Kind, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind: Kind = kind


_KINDS: dict[adb_faults.Kind, Kind] = {
    "offline": "offline",
    "closed": "closed",
    "authorizing": "unauthorized",
    "unauthorized": "unauthorized",
    "no_permissions": "unauthorized",
    "not_found": "not_found",
    "no_device": "not_found",
    "timeout": "timeout",
}
_HINTS: dict[Kind, str] = {
    "not_found": "Check the cable or the network; `palmtop devices` lists what is attached.",
    "offline": "Reconnect the cable, or wait until the device has booted.",
    "unauthorized": "Unlock the device and allow USB debugging for this computer.",
    "closed": "Check the cable or the network.",
    "timeout": "The device may be busy or hung; reconnect or reboot it.",
    "storage": "Free space on the device.",
}


def hint_of(kind: Kind) -> str:
    """Return what usually helps."""
    return _HINTS.get(kind, "")


def kind_of_refusal(text: str) -> Kind:
    """Return the kind of what a server or a device's daemon says when it refuses.

    >>> kind_of_refusal("device 'R58M' not found"), kind_of_refusal("device offline"), kind_of_refusal("closed")
    ('not_found', 'offline', 'closed')
    """
    return _KINDS.get(adb_faults.classify(text).kind, "refused")


def kind_of_failed_file(text: str) -> Kind:
    """Return the kind of what a device's file service says when it refuses: ``storage`` or ``refused``.

    >>> kind_of_failed_file("couldn't write: No space left on device")
    'storage'
    """
    return "storage" if adb_faults.read_push(text).kind == "space" else "refused"
