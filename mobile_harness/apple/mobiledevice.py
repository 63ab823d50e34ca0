"""``pymobiledevice3``, an external program of another licence: called where it is installed, never imported.

It reaches iPhones without a Mac. Its words are those of version 11: ``usbmux list``, ``apps install|push|pull|rm``,
``developer dvt launch|kill|signal|process-id-for-bundle-id``, ``amfi developer-mode-status``, ``crash pull``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mobile_harness.apple import phones, plain
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.errors import ToolMissing
from toolkit.core.process import exit_words
from toolkit.core.tools import Tools

PROGRAM: Final = "pymobiledevice3"
_LAUNCHED: Final = re.compile(r"^Process launched with pid ([0-9]{1,9})\s*$", re.MULTILINE)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]{0,16}m")
_LOG: Final = re.compile(r"^\S+ \S+ \S+\[\d+\] (?:ERROR|WARNING|INFO|CRITICAL)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A device that usbmuxd knows; ``connection`` is ``USB`` or ``Network``."""

    udid: str
    kind: str
    product: str
    os_version: str
    os_build: str
    connection: str


def is_here(environment: Mapping[str, str]) -> bool:
    """Say whether the program is on the path."""
    return shutil.which(PROGRAM, path=environment.get("PATH", "")) is not None


def read_attached(text: str) -> tuple[Attached, ...] | Unreadable:
    """Return the devices of ``usbmux list``, one attached both ways by its cable."""
    found = plain.read(f'{{"devices": {text}}}', "pymobiledevice3 usbmux list")
    if isinstance(found, Unreadable):
        return found
    if not isinstance(found.get("devices"), list):
        return Unreadable(what="pymobiledevice3 usbmux list", reason="it is no list")
    rows = [
        Attached(
            udid=plain.word(row, "UniqueDeviceID") or plain.word(row, "Identifier"),
            kind=plain.word(row, "DeviceClass"),
            product=plain.word(row, "ProductType"),
            os_version=plain.word(row, "ProductVersion"),
            os_build=plain.word(row, "BuildVersion"),
            connection=plain.word(row, "ConnectionType"),
        )
        for row in plain.rows(found, "devices")
    ]
    by_cable = sorted(rows, key=lambda row: row.connection == "USB")
    return tuple({row.udid: row for row in by_cable if phones.is_identifier(row.udid)}.values())


def read_launched(text: str) -> int | None:
    """Return the process that ``developer dvt launch`` started, or None."""
    found = _LAUNCHED.search(text)
    return int(found.group(1)) if found else None


class MobileDevice:
    """The program, for one device or for none in particular."""

    def __init__(self, tools: Tools, udid: str = "") -> None:
        self._tools = tools
        self._udid = udid

    def __call__(self, words: Sequence[str], deadline_s: float) -> str:
        """Run a command and return what it prints.

        Raises:
            AppleFailed: by what it says.
            ToolMissing: it is not installed.
        """
        argv = [PROGRAM, *words, *(["--udid", self._udid] if self._udid else [])]
        try:
            finished = self._tools.run(argv, deadline_s=deadline_s, env={"NO_COLOR": "1"})
        except OSError as error:
            raise ToolMissing(f"{PROGRAM} does not run: {error.strerror or error}.") from error
        if finished.timed_out:
            raise AppleFailed(f"{finished.describe()}.", kind="timeout")
        if finished.code:
            lines = [_LOG.sub("", _COLOUR.sub("", line)) for line in reading.lines(finished.tail(4))]
            told = reading.shown(" ".join(lines)) or exit_words(finished.code)
            raise AppleFailed(f"`{PROGRAM} {' '.join(words[:3])}` failed: {told}", kind=phones.kind_of_words(told))
        return finished.stdout
