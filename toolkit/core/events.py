"""What long work tells whoever listens. The library emits events; only a console prints them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One piece of news from a piece of work.

    ``subject`` names the work (``tflite/static-int8``), ``phase`` what it is doing now (``calibrate``). ``total`` is 0
    where the amount of work is unknown. The phases ``done``, ``failed`` and ``skipped`` end a subject;
    ``noted`` is news without work.
    """

    subject: str
    phase: str
    message: str = ""
    done: int = 0
    total: int = 0
    level: Level = "info"


Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """Drop the event: for callers that want no news."""
