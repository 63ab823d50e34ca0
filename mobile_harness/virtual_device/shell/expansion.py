"""Words to arguments: variables, substitutions, splitting into fields, patterns of file names."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Awaitable, Callable
from typing import Final

from mobile_harness.virtual_device.filesystem import View
from mobile_harness.virtual_device.shell.syntax import Script, Substitution, Text, Variable, Word

Lookup = Callable[[str], str | None]
Capture = Callable[[Script], Awaitable[str]]
_MATCHES_MAX: Final = 10_000
_PATTERN: Final = re.compile(r"[*?\[]")


class Expander:
    """Expands words with a shell's variables and files."""

    def __init__(self, lookup: Lookup, parameters: list[str], capture: Capture, view: View) -> None:
        self._lookup = lookup
        self._parameters = parameters
        self._capture = capture
        self._view = view

    async def arguments(self, words: tuple[Word, ...]) -> list[str]:
        """Return the fields of some words, names of files put in for patterns."""
        found: list[str] = []
        for word in words:
            for field in await self._fields(word):
                found.extend(self._names(field))
        return found

    async def single(self, word: Word) -> str:
        """Return a word as one field, as in an assignment or a redirection."""
        pieces = [part.value if isinstance(part, Text) else await self._value(part) for part in word.parts]
        return "".join(pieces)

    async def _fields(self, word: Word) -> list[list[tuple[str, bool]]]:
        fields: list[list[tuple[str, bool]]] = [[]]
        for part in word.parts:
            if isinstance(part, Text):
                fields[-1].append((part.value, part.quoted))
            elif isinstance(part, Variable) and part.name == "@" and part.quoted:
                for number, parameter in enumerate(self._parameters):
                    if number:
                        fields.append([])
                    fields[-1].append((parameter, True))
            else:
                value = await self._value(part)
                if part.quoted:
                    fields[-1].append((value, True))
                else:
                    _split(value, fields)
        return [field for field in fields if field]

    async def _value(self, part: Variable | Substitution) -> str:
        if isinstance(part, Substitution):
            return (await self._capture(part.script)).rstrip("\n")
        value = self._lookup(part.name)
        if part.default is not None and (value is None or (part.or_empty and not value)):
            return await self.single(part.default)
        return value or ""

    def _names(self, field: list[tuple[str, bool]]) -> list[str]:
        plain = "".join(text for text, _ in field)
        if not any(_PATTERN.search(text) for text, quoted in field if not quoted):
            return [plain]
        pattern = "".join(_escape(text) if quoted else text for text, quoted in field)
        return self._glob(pattern) or [plain]

    def _glob(self, pattern: str) -> list[str]:
        parts = pattern.split("/")
        found = ["/" if pattern.startswith("/") else ""]
        for number, part in enumerate(parts):
            if not part:
                continue
            last = number == len(parts) - 1
            found = [name for base in found for name in self._step(base, part, last=last)][:_MATCHES_MAX]
        return sorted(found)

    def _step(self, base: str, part: str, *, last: bool) -> list[str]:
        if not _PATTERN.search(part):
            there = self._view.exists(base + part) if last else self._view.is_folder(base + part)
            return [] if not there else [base + part if last else f"{base}{part}/"]
        try:
            names = self._view.names(base or ".")
        except OSError:
            return []  # a folder that cannot be read matches nothing, as in any shell
        fits = [
            base + name
            for name in names
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
        ]
        return fits if last else [f"{name}/" for name in fits if self._view.is_folder(name)]


def _escape(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _split(value: str, fields: list[list[tuple[str, bool]]]) -> None:
    """Add the parts of an unquoted value to the fields, a new field at each run of blanks."""
    pieces = re.split(r"[ \t\n]+", value)
    for number, piece in enumerate(pieces):
        if number and fields[-1]:
            fields.append([])
        if piece:
            fields[-1].append((piece, False))
