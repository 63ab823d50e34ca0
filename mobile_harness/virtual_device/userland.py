"""Android's own userland for what runs natively in a device: mksh, its shell, and toybox, its commands, with busybox.

Debian packages all three; what of them this host has is put into the devices. The device's own shell does without them:
it interprets commands itself. A pushed program that starts a shell or a command of its own needs them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.core import process
from toolkit.core.errors import ToolMissing

PROGRAMS: Final = ("mksh", "toybox", "busybox")
_LIST: Final = {"toybox": (), "busybox": ("--list",)}
_BIN: Final = "system/bin"
_LIST_S: Final = 10.0
_NAME_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Userland:
    """The programs that were found, and which of them answers to which command."""

    programs: tuple[Path, ...]
    commands: dict[str, str]

    @property
    def missing(self) -> tuple[str, ...]:
        """The programs that this host does not have."""
        there = {path.name for path in self.programs}
        return tuple(name for name in PROGRAMS if name not in there)

    def furnish(self, root: Path) -> None:
        """Put the programs into a device's folder and link their commands; what is there stays."""
        folder = root / _BIN
        for program in self.programs:
            if not (folder / program.name).exists():
                shutil.copy(program, folder / program.name)
                (folder / program.name).chmod(0o755)
        for command, program_name in self.commands.items():
            link = folder / command
            if not link.exists() and not link.is_symlink():
                link.symlink_to(program_name)


def find() -> Userland:
    """Return what this host has; busybox answers only to what toybox does not know, as Android's would not."""
    found = {name: Path(path) for name in PROGRAMS if (path := shutil.which(name)) is not None}
    commands = {"sh": "mksh"} if "mksh" in found else {}
    for name, words in _LIST.items():
        for command in _commands(found[name], words) if name in found else ():
            commands.setdefault(command, name)
    return Userland(programs=tuple(found.values()), commands=commands)


def _commands(program: Path, words: tuple[str, ...]) -> list[str]:
    try:
        said = process.run([str(program), *words], deadline_s=_LIST_S)
    except (ToolMissing, OSError):
        return []  # another processor's program, or one that went away meanwhile, has no commands here
    names = said.stdout.split() if said.code == 0 else []
    return [name for name in names if len(name) <= _NAME_MAX and "/" not in name and name not in (".", "..", *PROGRAMS)]
