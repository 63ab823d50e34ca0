"""The one error of this room, and what usually helps against each kind of it."""

from __future__ import annotations

from typing import Final, Literal

from toolkit.core.errors import PalmtopError

Kind = Literal[
    "not_found", "locked", "unpaired", "developer_mode", "storage", "unreachable", "state", "app_missing",
    "wrong_build", "timeout", "garbage", "refused",
]  # fmt: skip


class AppleFailed(PalmtopError):
    """A tool of Xcode did not do what it was asked to.

    ``not_found``: no such device. ``locked``, ``unpaired``, ``developer_mode``: someone must act on the phone.
    ``storage``: it is full. ``unreachable``: the way to it is gone. ``state``: a simulator is in another state than
    the verb needs. ``app_missing``, ``wrong_build``: the app is not there, or not one for this device. ``timeout``: a
    deadline passed. ``garbage``: what came is not what the tool prints. ``refused``: anything else it said no to.
    """

    exit_code = 5

    def __init__(self, message: str, *, kind: Kind, hint: str = "") -> None:
        super().__init__(message, hint=hint or HINTS.get(kind, ""))
        self.kind: Kind = kind


HINTS: Final[dict[Kind, str]] = {
    "not_found": "`palmtop devices` lists what is there; a phone must be attached, or on the same network.",
    "locked": "Unlock the iPhone, and set Auto-Lock to Never while it measures.",
    "unpaired": "Attach the iPhone, unlock it and accept `Trust This Computer`.",
    "developer_mode": "Turn on Settings > Privacy & Security > Developer Mode; the iPhone restarts.",
    "storage": "Free storage on the device.",
    "unreachable": "Check the cable or the network, and keep the iPhone awake.",
    "app_missing": "Install the app, or name its .app folder in PALMTOP_IOS_APP.",
    "wrong_build": "Build the app for this device: iphonesimulator for simulators, iphoneos and signed for iPhones.",
    "timeout": "The device or CoreSimulator may hang: `xcrun simctl shutdown all`, or restart the iPhone.",
}
