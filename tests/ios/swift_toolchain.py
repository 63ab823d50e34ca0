"""Runs Swift: the toolchain of `make swift-toolchain`, or the one that is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolkit.core import process
from toolkit.core.process import Finished

DEADLINE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """``runner`` comes before every command; None runs it as it is."""

    runner: Path | None

    def seen(self, folder: Path, name: str) -> str:
        """Return the absolute path by which a command that runs in a folder sees a file in it."""
        return str(folder / name) if self.runner is None else f"/src/{name}"

    def run(self, folder: Path, argv: Sequence[str], *, deadline_s: float = DEADLINE_S) -> Finished:
        """Run a command of the toolchain in a folder. Its paths have to be relative, or :meth:`seen`."""
        if self.runner is None:
            return process.run(list(argv), deadline_s=deadline_s, cwd=folder)
        return process.run([str(self.runner), str(folder), *argv], deadline_s=deadline_s)


def found() -> Toolchain:
    """Return the toolchain of ``$PALMTOP_SWIFT`` or ``~/.cache/palmtop/swift``, else an installed one, else skip."""
    place = Path(os.environ.get("PALMTOP_SWIFT") or Path.home() / ".cache" / "palmtop" / "swift")
    if (place / "ready").is_file() and (place / "run").is_file():
        return Toolchain(runner=place / "run")
    if shutil.which("swift") is not None:
        return Toolchain(runner=None)
    pytest.skip(f"no Swift in {place} and none on the path: `make swift-toolchain` sets one up")
