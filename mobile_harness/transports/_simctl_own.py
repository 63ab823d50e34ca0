"""A throw-away simulator: made for one run like the one it stands for, and deleted with all that was put on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.simulators import read_udid
from mobile_harness.apple.xcode import Xcrun
from mobile_harness.transports import _ownership

PREFIX: Final = "palmtop-"
LIST_S: Final = 30.0
MAKE_S: Final = 120.0
BOOT_S: Final = 300.0
END_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What a simulator is to be: the identifiers of a device type and a runtime."""

    device_type: str
    runtime: str


class OwnSimulator:
    """A simulator of this process; made when it is first needed."""

    def __init__(self, xcrun: Xcrun, likeness: Likeness) -> None:
        self._xcrun = xcrun
        self._likeness = likeness
        self._data = Path()
        self._booted = False
        self.udid = ""
        """Its identifier; empty until it is made."""

    def make(self) -> Path:
        """Return the folder of its files on this computer, making the simulator first, and sweeping those of the dead.

        Raises:
            AppleFailed: it cannot be made.
            ToolMissing: Xcode is gone.
        """
        if self.udid:
            return self._data
        sweep(self._xcrun)
        words = ["create", f"{PREFIX}{_ownership.new_name()}", self._likeness.device_type, self._likeness.runtime]
        said = self._xcrun.simctl(words, MAKE_S).stdout
        udid = read_udid(said)
        if not udid:
            raise AppleFailed("`simctl create` does not name what it made.", kind="garbage")
        self.udid = udid
        made = next((item for item in self._xcrun.inventory(LIST_S).simulators if item.udid == udid), None)
        if made is None or not made.data_path:
            raise AppleFailed(f"The simulator {udid} that was just made is not listed.", kind="not_found")
        self._data = Path(made.data_path)
        return self._data

    def boot(self) -> None:
        """Boot it, once, and wait until it is up: what ``boot`` says is not what counts.

        Raises:
            AppleFailed: ``state``, it did not come up; others.
        """
        if self._booted:
            return
        self.make()
        self._xcrun.simctl(["boot", self.udid], MAKE_S, ok=("state",))
        self._xcrun.simctl(["bootstatus", self.udid, "-b"], BOOT_S, ok=("state",))
        state = next((item.state for item in self._xcrun.inventory(LIST_S).simulators if item.udid == self.udid), "")
        if state != "Booted":
            raise AppleFailed(f"The simulator {self.udid} is {state or 'gone'} after booting.", kind="state")
        self._booted = True

    def delete(self) -> None:
        """Shut it down and delete it; nothing happens when there is none.

        Raises:
            AppleFailed: it stays.
        """
        if self.udid:
            _delete(self._xcrun, self.udid)
        self.udid, self._data, self._booted = "", Path(), False


def sweep(xcrun: Xcrun) -> None:
    """Delete the simulators of processes of ours that have ended without deleting them."""
    for item in xcrun.inventory(LIST_S).simulators:
        name = item.name.removeprefix(PREFIX)
        if item.name.startswith(PREFIX) and _ownership.is_name(name) and not _ownership.lives(name, 0):
            _delete(xcrun, item.udid)


def _delete(xcrun: Xcrun, udid: str) -> None:
    xcrun.simctl(["shutdown", udid], END_S, ok=("state", "not_found"))
    xcrun.simctl(["delete", udid], END_S, ok=("not_found",))
