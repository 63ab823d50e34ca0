"""What the tests know of the generated apps: their names, which are hostile, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = """Digits' "Äpp" ]]> $x %s 😀"""
LABELS = ("zero", "one & only", "two", "'three'", "four")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A generated project and the build that it was made of."""

    root: Path
    package: str
    target: str
    builds: Path

    @property
    def assets(self) -> Path:
        return self.root / "app/src/main/assets"

    @property
    def model(self) -> Path:
        return self.builds / f"{self.target}-float32.{self.target}"

    @property
    def golden(self) -> Path:
        return self.builds / "golden" / "net.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apps:
    """Both flavours."""

    lite: App
    ort: App

    def __iter__(self) -> Iterator[App]:
        return iter((self.lite, self.ort))


HOSTILE = tuple(
    text
    for word in (
        "",
        "a",
        "$x",
        "${x}",
        '"',
        "\\",
        "]]>",
        "é",
        "😀",
        "\u202e",
        "\x00",
        "\x7f",
        "\n",
        "\t",
        "'",
        "%1$s",
        "`",
        "/*",
        "//",
        "@",
    )
    for text in (word, f"{word}{word}", f" {word} ")
)
