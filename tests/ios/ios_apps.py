"""A generated iOS project, and the hostile name that the tests give theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = 'Digits\' "Äpp" ]]> $(x) \\(y) %@ ${z} */ 😀'


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A generated project."""

    root: Path
    engine: str

    @property
    def product(self) -> str:
        return next(self.root.glob("*.xcodeproj")).stem

    def swift_files(self) -> list[Path]:
        return sorted(self.root.rglob("*.swift"))
