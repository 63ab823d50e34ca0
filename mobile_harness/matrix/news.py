"""What a matrix tells while it is measured: the state of one device at a time, whole in every piece of news.

A view needs no more than the last piece of each device: :mod:`mobile_harness.cli._matrix_view` draws a row from it. Who
knows nothing of devices shows it as any other :class:`toolkit.core.events.Event`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolkit.core.events import Event

Step = Literal["planned", "waiting", "cooling", "pushing", "measuring", "resting", "quarantined", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a device is. ``sessions`` are those of this run's cells that were still to take when it began.

    ``measured``, ``failed`` and ``skipped`` count cells of ``cells``; ``dropped`` are sessions that will not be taken,
    because their cell failed or was skipped. ``session_s`` is the mean of the sessions taken so far, None before any.
    """

    cells: int
    measured: int = 0
    failed: int = 0
    skipped: int = 0
    sessions: int = 0
    taken: int = 0
    dropped: int = 0
    session_s: float | None = None

    @property
    def left(self) -> int:
        """Sessions that are still to take."""
        return self.sessions - self.taken - self.dropped

    @property
    def ended(self) -> int:
        """Cells that have ended, however."""
        return self.measured + self.failed + self.skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNews(Event):
    """A device's state. ``device`` is its selector; ``session`` counts from 1 and is 0 between sessions.

    ``runner_phase`` is the runner's own word, ``planned_s`` how long its plan makes a session at least.
    ``temp_c`` is None where the device does not tell. ``trouble`` is the failure that the news is of, if any.
    """

    device: str
    step: Step
    tally: Tally
    build: str = ""
    runner_phase: str = ""
    session: int = 0
    sessions: int = 0
    planned_s: float = 0.0
    temp_c: float | None = None
    trouble: str = ""
