"""Three texts into one with ``git merge-file``: as palmtop wrote it, as the user left it, as palmtop writes it now."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.core.errors import PalmtopError, ToolMissing
from toolkit.core.tools import Tools

_DEADLINE_S: Final = 60.0
_CONFLICTS_MAX: Final = 127
_QUIET: Final = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The result; with ``conflicts`` over 0 it holds that many marked places."""

    content: bytes
    conflicts: int


def three_way(tools: Tools, base: bytes, mine: bytes, theirs: bytes) -> Merged | None:
    """Merge two changes of one text; None where git is not installed.

    Raises:
        PalmtopError: git ended in another way than by merging.
    """
    with tempfile.TemporaryDirectory(prefix="palmtop-merge-") as folder:
        places = {name: Path(folder) / name for name in ("yours", "base", "palmtop")}
        for name, content in zip(places, (mine, base, theirs), strict=True):
            places[name].write_bytes(content)
        labels = [word for name in ("yours", "before", "palmtop") for word in ("-L", name)]
        argv = ["git", "merge-file", *labels, *(str(place) for place in places.values())]
        try:
            done = tools.run(argv, deadline_s=_DEADLINE_S, cwd=Path(folder), env=_QUIET)
        except ToolMissing:
            return None
        if not 0 <= done.code <= _CONFLICTS_MAX:
            raise PalmtopError(f"git could not merge: {done.describe()}.", hint=done.tail())
        return Merged(content=places["yours"].read_bytes(), conflicts=done.code)
