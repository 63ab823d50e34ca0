"""What became of an install, an uninstall or a start: parsed from the words, since exit codes lie both ways."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.vitals import adb_faults, reading
from mobile_harness.vitals.reading import Unreadable

InstallClass = Literal[
    "installed", "reinstall", "user_action", "space", "wrong_build", "transient", "unreachable", "unknown"
]  # fmt: skip

_REASON = re.compile(r"INSTALL_[A-Z][A-Z_]{0,80}")
_BRACKET = re.compile(r"(?:Failure|Error):? \[([^\]\n]{1,300})")
_COMPLAINT = re.compile(r"(?:adb: |cmd: |pm: )?(?:Failure|Error|error|Exception|java\.|Can't find service|failed to)")
_PUSHED = re.compile(r": [0-9]{1,9} files? pushed")
_NOISE = ("Performing ", "* daemon", "All files should be loaded", "Serving...")

_REASONS: Final[dict[InstallClass, tuple[str, ...]]] = {
    "reinstall": (
        "UPDATE_INCOMPATIBLE", "INCONSISTENT_CERTIFICATES", "VERSION_DOWNGRADE", "SHARED_USER_INCOMPATIBLE",
        "UID_CHANGED", "ALREADY_EXISTS",
    ),
    "user_action": (
        "USER_RESTRICTED", "CANCELED_BY_USER", "CANCELLED_BY_USER", "VERIFICATION_FAILURE", "ABORTED",
        "CONFLICTING_PROVIDER", "DUPLICATE_PERMISSION",
    ),
    "space": ("INSUFFICIENT_STORAGE",),
    "wrong_build": (
        "NO_MATCHING_ABIS", "CPU_ABI_INCOMPATIBLE", "OLDER_SDK", "NEWER_SDK", "DEPRECATED_SDK_VERSION", "TEST_ONLY",
        "MISSING_FEATURE", "MISSING_SHARED_LIBRARY", "MISSING_SPLIT", "INVALID_APK", "DEXOPT",
    ),
    "transient": ("INTERNAL_ERROR", "MEDIA_UNAVAILABLE", "VERIFICATION_TIMEOUT"),
}  # fmt: skip
_CLASS_OF: Final[dict[str, InstallClass]] = {word: kind for kind, words in _REASONS.items() for word in words}

ACTIONS: Final[dict[InstallClass, str]] = {
    "installed": "",
    "reinstall": "Uninstall the app that is there and install once more; its data goes with it.",
    "user_action": "Someone must allow it on the phone (Developer options: Install via USB, and the app verification).",
    "space": "Free storage on the device: palmtop's own files first.",
    "wrong_build": "This app cannot run on this device: build it for the device's ABI, system and features.",
    "transient": "Try again after a pause, twice at most.",
    "unreachable": "adb cannot reach the device: run `adb devices -l`.",
    "unknown": "Read the device's words; palmtop does not know them.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """How an install ended. ``reason`` is the ``INSTALL_…`` word where there is one; ``message`` the device's line."""

    kind: InstallClass
    reason: str
    message: str

    @property
    def action(self) -> str:
        """What to do now."""
        return ACTIONS[self.kind]


def read_install(stdout: str, stderr: str = "") -> Install:
    """Return the outcome of an install, streamed, split or from a pushed file.

    It succeeded when the output says ``Success`` on a line of its own and nobody complains.
    """
    both = [line.strip() for text in (stdout, stderr) for line in reading.lines(text)]
    told = [line for line in both if line and not line.startswith(_NOISE) and not _PUSHED.search(line)]
    reason = next((match.group() for line in told if (match := _REASON.search(line))), "")
    complaint = next((line for line in told if "Failure [" in line or _COMPLAINT.match(line)), "")
    if not reason and not complaint and any(line == "Success" for line in told):
        return Install(kind="installed", reason="", message="")
    message = next((line for line in told if reason and reason in line), complaint or next(iter(told), ""))
    if not reason and (match := _BRACKET.search(message)):
        reason = match[1].partition(":")[0].strip()
    return Install(kind=_install_class(reason, message), reason=reading.shown(reason), message=reading.shown(message))


def _install_class(reason: str, message: str) -> InstallClass:
    word = reason.removeprefix("INSTALL_").removeprefix("PARSE_").removeprefix("FAILED_")
    if kind := _CLASS_OF.get(word):
        return kind
    if reason.startswith("INSTALL_PARSE_FAILED"):
        return "wrong_build"
    lowered = message.lower()
    if "not enough space" in lowered or "no space left" in lowered:
        return "space"
    if "can't find service" in lowered or (not message and not reason):
        return "transient"
    return _of_transport(message)


def _of_transport(message: str) -> Literal["transient", "unreachable", "unknown"]:
    fault = adb_faults.classify(message)
    if fault.kind == "unknown":
        return "unknown"
    return "unreachable" if fault.severity == "fatal" else "transient"


UninstallClass = Literal["removed", "absent", "for_user", "user_action", "transient", "unreachable", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uninstall:
    """How an uninstall ended. ``for_user``: ``pm uninstall -k --user 0`` may still do; ``absent`` is as good."""

    kind: UninstallClass
    reason: str


def read_uninstall(stdout: str, stderr: str = "") -> Uninstall:
    """Return the outcome of ``pm uninstall`` or ``adb uninstall``."""
    told = [line.strip() for text in (stdout, stderr) for line in reading.lines(text) if line.strip()]
    complaint = next((line for line in told if "Failure" in line or _COMPLAINT.match(line)), "")
    if not complaint and "Success" in told:
        return Uninstall(kind="removed", reason="")
    match = _BRACKET.search(complaint)
    reason = reading.shown(match[1] if match else complaint or next(iter(told), ""))
    return Uninstall(kind=_uninstall_class(reason), reason=reason)


def _uninstall_class(reason: str) -> UninstallClass:
    if reason.startswith("not installed") or "Unknown package" in reason:
        return "absent"
    if reason.startswith("DELETE_FAILED_INTERNAL_ERROR"):
        return "for_user"
    if reason.startswith("DELETE_FAILED_"):
        return "user_action"
    return _of_transport(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What ``am start -W`` says. ``activity`` is what came to the front, and that may be another app's.

    Times are milliseconds; ``launch_state`` is empty before API 29.
    """

    status: str
    launch_state: str
    activity: str
    this_ms: int | None
    total_ms: int | None
    wait_ms: int | None
    complete: bool
    error: str

    def failure(self, package: str) -> str:
        """Return why the app did not come to the front, or nothing."""
        if self.error:
            return self.error
        if self.status != "ok" or not self.complete:
            return f"the start ended with {self.status or 'no'} status{'' if self.complete else ' and is not complete'}"
        if self.activity.partition("/")[0] != package:
            return f"{self.activity or 'nothing'} came to the front instead of {package}"
        return ""


def read_start(text: str) -> Start | Unreadable:
    """Return what ``am start -W`` printed, its errors included."""
    found: dict[str, str] = {}
    errors: list[str] = []
    complete = False
    for line in reading.lines(text):
        key, colon, value = line.strip().partition(":")
        if line.startswith(("Error", "Exception", "java.", "Security exception")):
            errors.append(line)
        elif colon:
            found.setdefault(key, value.strip())
        complete = complete or line.strip() == "Complete"
    if not errors and not complete and not ({"Starting", "Status"} & set(found)):
        return reading.unreadable("am start -W", text, "'Starting' or 'Status'")
    return Start(
        status=reading.shown(found.get("Status", "")),
        launch_state=reading.shown(found.get("LaunchState", "")),
        activity=reading.shown(found.get("Activity", "")),
        this_ms=reading.integer(found.get("ThisTime", "")),
        total_ms=reading.integer(found.get("TotalTime", "")),
        wait_ms=reading.integer(found.get("WaitTime", "")),
        complete=complete,
        error=reading.shown(max(errors, key=len, default="")),
    )
