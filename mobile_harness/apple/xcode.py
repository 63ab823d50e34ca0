"""Xcode itself: which one is in use, what is missing, and running its tools with a deadline and a parsed outcome."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mobile_harness.apple import phones, plain, simulators
from mobile_harness.apple.errors import AppleFailed, Kind
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.errors import ToolMissing
from toolkit.core.process import Finished, exit_words
from toolkit.core.tools import Tools

WHO_S: Final = 15.0
DEVICECTL_SLACK_S: Final = 10.0
_DEVICECTL_LEAST_S: Final = 5
_VERSION: Final = re.compile(r"Xcode (\d[\d.]{0,20}).*?Build version (\w{1,20})", re.DOTALL)
INSTALL: Final = "Install Xcode from the App Store, start it once, then: sudo xcode-select -s /Applications/Xcode.app"
LICENSE: Final = "Accept it: sudo xcodebuild -license accept"
NEEDS_MAC: Final = (
    "Simulators and iPhones are reached from a Mac with Xcode; iPhones also by pymobiledevice3: see docs/ios.md."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Xcode:
    """The Xcode in use. ``chosen_by`` is ``DEVELOPER_DIR`` or ``xcode-select``."""

    folder: str
    version: str
    build: str
    chosen_by: str

    @property
    def words(self) -> str:
        """Say which it is and why, for those who have two."""
        return f"{self.version} ({self.build}) at {self.folder}, chosen by {self.chosen_by}"


def is_here(environment: Mapping[str, str]) -> bool:
    """Say whether there is an ``xcrun`` at all; says nothing of what it can do."""
    return shutil.which("xcrun", path=environment.get("PATH", "")) is not None


def locate(tools: Tools) -> Xcode:
    """Return the Xcode in use.

    Raises:
        ToolMissing: there is none, it is the Command Line Tools alone, or its licence was not accepted.
        AppleFailed: ``timeout`` or ``garbage``.
    """
    if not is_here(os.environ):
        raise ToolMissing("Xcode is not installed here: there is no `xcrun`.", hint=NEEDS_MAC)
    own = os.environ.get("DEVELOPER_DIR", "")
    folder = own or _run(tools, ["xcode-select", "-p"], WHO_S).stdout.strip()
    said = _run(tools, ["xcrun", "xcodebuild", "-version"], WHO_S)
    found = _VERSION.search(said.stdout)
    if said.code or found is None:
        message = f"Xcode does not say its version: {said.describe()}: {reading.shown(said.tail(2))}"
        raise AppleFailed(message, kind="garbage", hint=f"Is {folder or 'it'} a whole Xcode? {INSTALL}")
    return Xcode(
        folder=reading.shown(folder),
        version=found.group(1),
        build=found.group(2),
        chosen_by="DEVELOPER_DIR" if own else "xcode-select",
    )


def _run(tools: Tools, argv: Sequence[str], deadline_s: float, env: Mapping[str, str] | None = None) -> Finished:
    """Run a tool; what it says when Xcode itself is not as it should be is an error of its own.

    Raises:
        ToolMissing: no Xcode, not all of it, or its licence was not accepted.
        AppleFailed: ``timeout``.
    """
    finished = tools.run(argv, deadline_s=deadline_s, env=env)
    if finished.timed_out:
        raise AppleFailed(f"{finished.describe()}.", kind="timeout")
    if finished.code:
        _check_xcode(finished)
    return finished


def _check_xcode(finished: Finished) -> None:
    said = finished.stderr
    if "agreed to the Xcode license" in said or "Xcode license agreements" in said:
        raise ToolMissing("The licence of Xcode was not accepted.", hint=LICENSE)
    missing = (
        "unable to find utility", "unable to get active developer directory", "no developer tools were found",
        "requires Xcode, but active developer directory", "invalid active developer path", "missing DEVELOPER_DIR path",
    )  # fmt: skip
    if any(words in said for words in missing):
        raise ToolMissing(f"Xcode cannot be used: {reading.shown(finished.tail(1))}", hint=INSTALL)


class Xcrun:
    """The tools of one Xcode."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def simctl(
        self, words: Sequence[str], deadline_s: float, env: Mapping[str, str] | None = None, *, ok: Sequence[Kind] = ()
    ) -> Finished:
        """Run ``simctl``; failures of the kinds in ``ok`` are as good as success.

        Raises:
            AppleFailed: by what it says.
            ToolMissing: see :func:`locate`.
        """
        finished = _run(self._tools, ["xcrun", "simctl", *words], deadline_s, env)
        if finished.code:
            kind, said = simulators.read_failure(finished.stderr)
            if kind not in ok:
                told = said or exit_words(finished.code)
                raise AppleFailed(f"`simctl {words[0]}` failed: {told}", kind=kind)
        return finished

    def inventory(self, deadline_s: float) -> simulators.Inventory:
        """Return all runtimes, device types and simulators.

        Raises:
            AppleFailed: ``garbage`` and others.
            ToolMissing: see :func:`locate`.
        """
        found = simulators.read_list(self.simctl(["list", "-j"], deadline_s).stdout)
        if isinstance(found, Unreadable):
            raise AppleFailed(f"What simctl lists cannot be read: {found.reason}.", kind="garbage")
        return found

    def devicectl(self, words: Sequence[str], deadline_s: float) -> str:
        """Run ``devicectl`` and return its JSON, which alone is a contract; what it prints is not.

        Raises:
            AppleFailed: by the error in the JSON, or by what it prints where there is none.
            ToolMissing: see :func:`locate`.
        """
        with tempfile.TemporaryDirectory(prefix="palmtop-devicectl-") as folder:
            out = Path(folder) / "out.json"
            limit = str(max(_DEVICECTL_LEAST_S, round(deadline_s)))
            argv = ["xcrun", "devicectl", *words, "--timeout", limit, "--json-output", str(out)]
            finished = _run(self._tools, argv, deadline_s + DEVICECTL_SLACK_S)
            text = _bounded(out)
        failure = phones.read_failure(text)
        if failure is not None:
            raise AppleFailed(f"`devicectl {' '.join(words[:3])}` failed: {failure.message}", kind=failure.kind)
        if finished.code:
            raise AppleFailed(
                f"`devicectl {' '.join(words[:3])}` ended with {exit_words(finished.code)}: "
                f"{reading.shown(finished.tail(2)) or 'it says nothing'}",
                kind="refused",
            )
        return text


def _bounded(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(plain.TEXT_MAX + 1).decode("utf-8", "replace")
