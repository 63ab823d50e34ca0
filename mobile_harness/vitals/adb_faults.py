"""What an error text of adb means: of the client, of either server version, or of a device's file service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.vitals import reading

Severity = Literal["transient", "timeout", "fatal"]
Kind = Literal[
    "offline", "closed", "authorizing", "no_server", "timeout", "unauthorized", "not_found", "no_device",
    "several_devices", "no_permissions", "not_supported", "version", "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error of the transport. ``transient``: try again; ``timeout``: the device may hang; ``fatal``: do not."""

    severity: Severity
    kind: Kind
    message: str
    hint: str = ""


_NOT_FOUND = re.compile(r"device '[^']{0,200}' not found|no device with transport id|unknown device|device not found")
_RULES: Final[tuple[tuple[Kind, Severity, tuple[str, ...], str], ...]] = (
    ("authorizing", "transient", ("still authorizing", "device authorizing"), ""),
    ("unauthorized", "fatal", ("unauthorized", "failed to authenticate"),
     "Unlock the phone and accept 'Allow USB debugging'."),
    ("no_permissions", "fatal", ("no permissions", "insufficient permissions for device"),
     "This user may not open the USB device: add udev rules for it."),
    ("several_devices", "fatal", ("more than one device", "more than one emulator"), "Name the device by its serial."),
    ("no_device", "fatal", ("no devices/emulators found", "no devices found"), "Run `adb devices -l`."),
    ("version", "fatal", ("doesn't match this client",), "Another adb owns the server: use one adb binary."),
    ("offline", "transient", ("device offline", "device is offline", "still connecting"), ""),
    ("timeout", "timeout", ("timed out", "timeout", "deadline"), "The device may hang; look at it."),
    ("no_server", "transient", ("connection refused", "cannot connect to daemon", "failed to check server version",
     "adb server didn't ack", "failed to start daemon"), "Start the server once: `adb start-server`."),
    ("not_supported", "fatal", ("unknown host service", "unknown command", "not supported by the device"),
     "The server or the device is too old for this: compare `adb version` with the server's."),
    ("closed", "transient", ("closed", "connection reset", "broken pipe", "eoferror", "protocol fault",
     "no route to host", "end of file", "unexpected eof", "couldn't read from device",
     "host is down", "network is unreachable"), ""),
)  # fmt: skip


def classify(text: str) -> Fault:
    """Return what an error text means, whatever its prefix; an unknown or empty one is worth another try.

    The empty text is adbutils' word for a connection that dropped while pushing.

    >>> classify("adb: device 'foo' not found").severity, classify("error: closed").severity
    ('fatal', 'transient')
    """
    message = next((line.strip() for line in reading.lines(text) if line.strip() and not line.startswith("*")), "")
    told = "\n".join(line for line in text[: 1 << 16].splitlines() if not line.startswith("*")).lower()
    if _NOT_FOUND.search(told):
        gone = "The device left, or its serial changed: run `adb devices -l`."
        return Fault(severity="fatal", kind="not_found", message=reading.shown(message), hint=gone)
    for kind, severity, words, hint in _RULES:
        if any(word in told for word in words):
            return Fault(severity=severity, kind=kind, message=reading.shown(message), hint=hint)
    return Fault(severity="transient", kind="unknown" if message else "closed", message=reading.shown(message))


PushClass = Literal["pushed", "space", "permission", "read_only", "no_folder", "transport", "unknown"]

_PUSHED = re.compile(r"[0-9]{1,9} files? pushed")
_ERRNO: Final[tuple[tuple[str, PushClass], ...]] = (
    ("no space left on device", "space"), ("quota exceeded", "space"), ("file too large", "space"),
    ("read-only file system", "read_only"), ("permission denied", "permission"),
    ("operation not permitted", "permission"), ("no such file or directory", "no_folder"),
    ("not a directory", "no_folder"), ("is a directory", "no_folder"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """How a push ended; ``fault`` is set where the transport failed rather than the file."""

    kind: PushClass
    message: str
    fault: Fault | None = None


def read_push(text: str) -> Push:
    """Return the outcome of ``adb push`` (its errors go to either stream), or of a FAIL of the file service.

    That something was pushed is not yet that all of it arrived: compare size and checksum on the device.
    """
    told = [line.strip() for line in reading.lines(text) if line.strip() and not line.startswith("*")]
    lowered = [line.lower() for line in told]
    for word, kind in _ERRNO:
        for line, low in zip(told, lowered, strict=True):
            if word in low:
                return Push(kind=kind, message=reading.shown(line))
    complaint = next((line for line in told if line.startswith(("adb: ", "error:", "cannot ", "failed "))), "")
    if not complaint and any(_PUSHED.search(line) for line in told):
        return Push(kind="pushed", message="")
    fault = classify(text)
    return Push(kind="unknown" if fault.kind == "unknown" else "transport", message=fault.message, fault=fault)
