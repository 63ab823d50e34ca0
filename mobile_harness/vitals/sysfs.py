"""Files of the kernel, read many at once as ``grep -H . FILES`` prints them: ``path:line`` for every line.

One command for all files costs one round trip, names every line's file, and skips what may not be read.
"""

from __future__ import annotations

from collections.abc import Mapping

from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

FILES_MAX = 4096
_LINES_MAX = 256


def read_files(text: str) -> Mapping[str, tuple[str, ...]] | Unreadable:
    """Return the lines of each absolute path; complaints and other writers' lines are skipped."""
    found: dict[str, list[str]] = {}
    for line in reading.lines(text):
        path, colon, value = line.partition(":")
        if not colon or not path.startswith("/") or (path not in found and len(found) >= FILES_MAX):
            continue
        kept = found.setdefault(path, [])
        if len(kept) < _LINES_MAX:
            kept.append(value.strip())
    if not found:
        return reading.unreadable("grep -H", text, "line of a file")
    return {path: tuple(kept) for path, kept in found.items()}
