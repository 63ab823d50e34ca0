"""Our folder on a device: whose it is, what is in it, what we changed on the device, and how it all goes away again.

Every device object owns one folder under :data:`ROOT`, named after this computer, this process and a random word. What
a process left that was killed is swept by the next one on the same computer; what another computer left, after a day.
Settings that we change are written down on the device before they are changed, so that whoever comes next can restore
them; they are restored when the last owner has gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mobile_harness.adb.errors import AdbFailed, kind_of_failed_file
from mobile_harness.adb.session import Session
from mobile_harness.transports import _ownership

ROOT: Final = "/data/local/tmp/palmtop"
COMMAND_S: Final = 20.0
REMOVE_S: Final = 30.0
"""Thousands of files are gone in a second; a device that takes longer hangs."""
CHANGES: Final = {
    "stay_on_while_plugged_in": "7",
    "window_animation_scale": "0",
    "transition_animation_scale": "0",
    "animator_duration_scale": "0",
}
"""Settings of Android's space ``global`` that we change: the screen stays awake on power, nothing is animated."""
_NOW: Final = re.compile(r"\d{1,12}", re.ASCII)
_ROW: Final = re.compile(r"(\d{1,12}) ([0-9a-f-]{1,60})/alive", re.ASCII)

_LIST: Final = """cd "$1" 2>/dev/null || exit 0
date +%s
stat -c '%Y %n' */alive 2>/dev/null
exit 0"""
_NOTE: Final = f"""mkdir -p "$1/$2" && date +%s > "$1/$2/alive" || exit 1
[ -e "$1/undo" ] && exit 0
for key in {" ".join(CHANGES)}; do echo "$key=$(settings get global $key)"; done > "$1/$2/undo" || exit 1
mv "$1/$2/undo" "$1/undo"
"""
_RESTORE: Final = """[ "$(settings get global "$1")" = "$2" ] && exit 0
if [ "$2" = null ]; then settings delete global "$1"; else settings put global "$1" "$2"; fi"""
_PUT: Final = " && ".join(f'settings put global "${2 * at + 1}" "${2 * at + 2}"' for at in range(len(CHANGES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """The folders under :data:`ROOT`: which are of the living, which of the dead."""

    living: tuple[str, ...]
    dead: tuple[str, ...]


class Place:
    """Our folder on one device; made when it is first needed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._name = _ownership.new_name()
        self._made = False
        self.refusal = ""
        """Why the device's settings could not be changed; empty when they could."""

    @property
    def path(self) -> str:
        """The folder."""
        return f"{ROOT}/{self._name}"

    def make(self) -> None:
        """Sweep what the dead left, make our folder, note the device's settings and change them. Once.

        Raises:
            AdbFailed: the device cannot be reached, or has no room.
        """
        if self._made:
            return
        self.sweep()
        made = self._session.script(_NOTE, [ROOT, self._name], COMMAND_S)
        if made.code:
            raise AdbFailed(
                f"Our folder on {self._session.name} cannot be made: {made.said()}",
                kind=kind_of_failed_file(made.said()),
            )
        self._made = True
        changed = self._session.script(_PUT, [word for pair in CHANGES.items() for word in pair], COMMAND_S)
        self.refusal = changed.said() or "no reason is given" if changed.code else ""

    def sweep(self) -> str:
        """Remove the folders of the dead, and restore the settings when no one else is left.

        Returns why a setting could not be restored; it stays noted, and whoever comes next tries again.
        """
        owned = self._owned()
        if owned.dead:
            self._remove([f"{ROOT}/{name}" for name in owned.dead])
        return "" if owned.living else self._restore()

    def clear(self) -> None:
        """Remove our folder and what the dead left; the last one restores the settings. Safe to call twice."""
        self._remove([self.path])
        self._made = False
        refusal = self.sweep()
        if refusal:
            raise AdbFailed(f"The settings of {self._session.name} are not restored: {refusal}", kind="refused")

    def _remove(self, paths: list[str]) -> None:
        gone = self._session.run(["rm", "-rf", *paths], REMOVE_S)
        if gone.code:
            raise AdbFailed(f"What we put on {self._session.name} cannot be removed: {gone.said()}", kind="refused")

    def _owned(self) -> Owned:
        found = read_owned(self._session.script(_LIST, [ROOT], COMMAND_S).text)
        return Owned(
            living=tuple(name for name in found.living if name != self._name),
            dead=tuple(name for name in found.dead if name != self._name),
        )

    def _restore(self) -> str:
        noted = self._session.run(["cat", f"{ROOT}/undo"], COMMAND_S)
        if noted.code:
            return ""  # nothing was changed
        before = dict(line.split("=", 1) for line in noted.text.splitlines() if "=" in line)
        for key in CHANGES.keys() & before.keys():
            done = self._session.script(_RESTORE, [key, before[key].strip() or "null"], COMMAND_S)
            if done.code:
                return f"{key}: {done.said() or 'no reason is given'}"
        self._session.run(["rm", "-f", f"{ROOT}/undo"], COMMAND_S)
        self._session.run(["rmdir", ROOT], COMMAND_S)
        return ""


def read_owned(text: str) -> Owned:
    """Return whose folders lie there: the device's time in seconds, then a row for each that tells its last sign."""
    first, _, rest = text.partition("\n")
    now = int(first) if _NOW.fullmatch(first.strip()) else 0
    living: list[str] = []
    dead: list[str] = []
    for line in rest.splitlines():
        row = _ROW.fullmatch(line.strip())
        if row is None or not _ownership.is_name(row.group(2)):
            continue
        name, age_s = row.group(2), now - int(row.group(1))
        (living if _ownership.lives(name, age_s) else dead).append(name)
    return Owned(living=tuple(living), dead=tuple(dead))
