"""Time as a value handed down, so that tests own it. The only module that may call ``time.sleep``."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Where code gets its time from."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary start; never goes back."""

    def utc(self) -> dt.datetime:
        """Return the wall clock in UTC, time zone aware."""

    def sleep(self, seconds: float) -> None:
        """Block for that long."""


class SystemClock:
    """The machine's own clock."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def utc(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
