"""Crash reports (``.ips``): a line of JSON about the report, then the report as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mobile_harness.apple import plain
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

FRAMES_MAX: Final = 12
REPORT_BYTES_MAX: Final = 8 << 20
_NAME: Final = re.compile(r"(?P<app>[\w .-]{1,100}?)-(?P<when>\d{4}-\d\d-\d\d-\d{6})(?:\.\d{1,6})?\.ips", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A crash. ``frames`` are those of the thread that caused it, the innermost first; ``notes`` the system's words."""

    app: str
    pid: int | None
    exception: str
    termination: str
    frames: tuple[str, ...]
    notes: tuple[str, ...]

    def words(self) -> str:
        """Say it in a few lines."""
        head = f"{self.app} (process {self.pid or 'unknown'}): {self.exception or self.termination or 'it crashed'}"
        end = [self.termination] if self.exception and self.termination else []
        stack = ["Stack (most recent call first):", *(f"  {frame}" for frame in self.frames)] if self.frames else []
        return "\n".join([head, *end, *self.notes, *stack])


def name_of(file: str) -> tuple[str, str] | None:
    """Return the app and the time that a report's file name tells, or None.

    >>> name_of("Bench-2026-03-08-143542.ips")
    ('Bench', '2026-03-08-143542')
    """
    found = _NAME.fullmatch(file)
    return (found["app"], found["when"]) if found else None


def read_file(path: Path) -> Crash | Unreadable:
    """Return what a report's file tells, of a long one its first :data:`REPORT_BYTES_MAX` bytes; links are refused."""
    try:
        if path.is_symlink() or not path.is_file():
            return Unreadable(what="crash report", reason="it is no file")
        with path.open("rb") as file:
            return read_crash(file.read(REPORT_BYTES_MAX).decode("utf-8", "replace"))
    except OSError as error:  # it was moved away just now
        return Unreadable(what="crash report", reason=error.strerror or str(error))


def read_crash(text: str) -> Crash | Unreadable:
    """Return what a report tells."""
    _, _, body = text.removeprefix("\ufeff").partition("\n")
    found = plain.read(body, "crash report")
    if isinstance(found, Unreadable):
        return found
    app = plain.word(found, "procName")
    if not app:
        return Unreadable(what="crash report", reason="it names no process")
    kind, signal = plain.word(found, "exception", "type"), plain.word(found, "exception", "signal")
    notes = [line for lines in plain.table(found, "asi").values() if isinstance(lines, list) for line in lines]
    return Crash(
        app=app,
        pid=plain.whole(found, "pid"),
        exception=f"{kind} ({signal})" if kind and signal else kind or signal,
        termination=plain.word(found, "termination", "indicator"),
        frames=tuple(_frames(found)),
        notes=tuple(reading.shown(line) for line in notes[:40] if isinstance(line, str)),
    )


def _frames(found: object) -> list[str]:
    threads = plain.rows(found, "threads")
    culprit = next((thread for thread in threads if plain.flag(thread, "triggered")), threads[0] if threads else {})
    images = plain.rows(found, "usedImages")
    told = []
    for frame in plain.rows(culprit, "frames")[:FRAMES_MAX]:
        index = plain.whole(frame, "imageIndex")
        image = plain.word(images[index], "name") if index is not None and 0 <= index < len(images) else ""
        told.append(f"{image or '?'} {plain.word(frame, 'symbol') or '?'}")
    return told
