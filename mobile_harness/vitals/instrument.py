"""``am instrument -w -r``: its lines as events while they come, and how the run ended.

A status is a bundle of ``key=value`` that a code closes; a value goes on over lines until the next prefix. ``am``'s own
exit code is 0 whether the run finished, crashed or was lost, so the end is read from the text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mobile_harness.vitals import reading

EndKind = Literal["finished", "crashed", "failed", "aborted", "lost"]

FRAME_KEY: Final = "palmtop"
"""The key that palmtop's app sends its frames under."""
BUNDLE_MAX: Final = 1 << 20
"""Characters of a bundle that are kept: one binder call carries no more."""

_STATUS, _STATUS_CODE = "INSTRUMENTATION_STATUS: ", "INSTRUMENTATION_STATUS_CODE: "
_RESULT, _CODE = "INSTRUMENTATION_RESULT: ", "INSTRUMENTATION_CODE: "
_FAILED, _ABORTED, _ON_ERROR = "INSTRUMENTATION_FAILED:", "INSTRUMENTATION_ABORTED:", "onError:"
_OK: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A bundle. ``code`` 1 starts a test, 2 is news from one, 0 a pass, -1 to -4 an error, failure, skip or assumption.

    ``code`` is None for a bundle that was never closed, ``cut`` says that it was too large and lost its rest.
    """

    code: int | None
    values: Mapping[str, str]
    cut: bool = False

    def frames(self) -> tuple[str, ...]:
        """Return the lines that palmtop's app sent in this bundle."""
        return tuple(line for line in self.values.get(FRAME_KEY, "").split("\n") if line)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the run ended: ``lost`` when the device never said. ``results`` is the runner's final bundle."""

    kind: EndKind
    code: int | None
    message: str
    results: Mapping[str, str] = field(default_factory=dict)


class _Bundle:
    """Collects the values of a bundle; memory is bounded."""

    def __init__(self) -> None:
        self.parts: dict[str, list[str]] = {}
        self._key = ""
        self._size = 0
        self.cut = False

    def begin(self, words: str) -> None:
        self._key, equals, value = words.partition("=")
        if not equals:
            self._key = ""
        elif self._fits(self._key + value):
            self.parts[self._key] = [value]

    def go_on(self, line: str) -> None:
        if self._key in self.parts and self._fits(line):
            self.parts[self._key].append(line)

    def _fits(self, words: str) -> bool:
        self._size += len(words) + 1
        self.cut = self.cut or self._size > BUNDLE_MAX
        return not self.cut

    def values(self) -> dict[str, str]:
        return {key: "\n".join(parts) for key, parts in self.parts.items()}


class Reader:
    """Takes the lines of one run as they come. Feed every line, then ask for the end once."""

    def __init__(self) -> None:
        self._bundle = _Bundle()
        self._results = _Bundle()
        self._open: _Bundle | None = None
        self._code: int | None = None
        self._trouble: tuple[EndKind, str] | None = None

    def feed(self, line: str) -> Status | None:
        """Take a line, with or without its end, and return the bundle that it closed."""
        line = line.removeprefix("\ufeff").rstrip("\r\n")
        if line.startswith(_STATUS_CODE):
            return self._close(reading.integer(line[len(_STATUS_CODE) :]))
        if line.startswith(_CODE):
            self._open, self._code = None, reading.integer(line[len(_CODE) :])
        elif line.startswith((_FAILED, _ABORTED, _ON_ERROR)):
            kind: EndKind = "aborted" if line.startswith(_ABORTED) else "failed"
            self._open, self._trouble = None, self._trouble or (kind, reading.shown(line))
        elif line.startswith((_STATUS, _RESULT)):
            self._open = self._bundle if line.startswith(_STATUS) else self._results
            self._open.begin(line.partition(": ")[2])
        elif self._open is not None:
            self._open.go_on(line)
        return None

    def _close(self, code: int | None) -> Status:
        bundle, self._bundle, self._open = self._bundle, _Bundle(), None
        values = bundle.values()
        if "Error" in values and self._trouble is None:
            self._trouble = ("failed", reading.shown(values["Error"]))
        return Status(code=code, values=values, cut=bundle.cut)

    def end(self) -> tuple[Status | None, End]:
        """Return the bundle that nothing closed, if any, and how the run ended."""
        values = self._bundle.values()
        rest = Status(code=None, values=values, cut=self._bundle.cut) if values else None
        results = self._results.values()
        kind, message = self._ending(results)
        return rest, End(kind=kind, code=self._code, message=message, results=results)

    def _ending(self, results: Mapping[str, str]) -> tuple[EndKind, str]:
        if short := results.get("shortMsg", ""):
            return "crashed", reading.shown(results.get("longMsg") or short)
        if self._trouble is not None:
            return self._trouble
        if self._code is None:
            return "lost", "the run's end never came"
        if self._code != _OK:
            return "failed", f"the runner ended with code {self._code}"
        return "finished", ""


def read_run(text: str) -> tuple[tuple[Status, ...], End]:
    """Return all bundles of a whole output, and how the run ended."""
    reader = Reader()
    found = list(_fed(reader, text))
    rest, end = reader.end()
    return (*found, *(() if rest is None else (rest,))), end


def _fed(reader: Reader, text: str) -> Iterator[Status]:
    for line in text.split("\n"):
        if (status := reader.feed(line)) is not None:
            yield status
