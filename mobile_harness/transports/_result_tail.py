"""A growing result file as the frames that its runner would have said, where the file is all that can be followed."""

from __future__ import annotations

import json
from typing import Any, Final

from mobile_harness.wire import frames

LINE_MAX: Final = 8192
RECORD_MAX: Final = 1 << 20


class ResultTail:
    """Follows the result file of one run; it is given what was appended."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._rest = b""
        self._last: dict[str, Any] = {}
        self.size = 0
        """Bytes that were given so far."""

    def feed(self, data: bytes) -> list[str]:
        """Take what was appended and return the frames of the records that are whole now."""
        self.size += len(data)
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:RECORD_MAX]
        return [line for raw in whole for line in self._framed(raw.decode("utf-8", "replace"))]

    @property
    def has_ended(self) -> bool:
        """Whether the last word was said."""
        return self._last.get("t") == "bye"

    def words(self) -> str:
        """Say how the run ended, as far as the file tells."""
        if self.has_ended:
            return "exit code 0" if self._last.get("exit") == "ok" else "exit code 1"
        return "the app's process ended without a last word"

    def _framed(self, text: str) -> tuple[str, ...]:
        """Return a record's frames; what is no record goes on as it is, cut, and is counted as damage above."""
        try:
            record = json.loads(text)
            lines = frames.encode(self._run, int(record["s"]), text)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return (text[:LINE_MAX],)
        self._last = record
        return lines
