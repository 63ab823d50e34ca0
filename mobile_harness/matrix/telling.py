"""Telling how one device gets on: counts cells and sessions, and makes each piece of news whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from mobile_harness import lab
from mobile_harness.matrix.cells import median_words, sessions_left
from mobile_harness.matrix.news import DeviceNews, Step, Tally
from mobile_harness.records import Cell, Failure, RunPlan
from mobile_harness.records.state import Unavailable, Vitals
from mobile_harness.transports.base import Device
from toolkit.core.events import Level
from toolkit.core.tools import Tools

PROGRESS_S: Final = 0.25
"""Progress within a phase is told so often at most: a fast runner says hundreds of lines a second."""


class Teller:
    """The voice of one device; all its news have the same subject for as long as a cell is at work."""

    def __init__(self, device: Device, cells: Iterable[Cell], tools: Tools) -> None:
        cells = tuple(cells)
        self._device = device
        self._tools = tools
        self._tally = Tally(cells=len(cells), sessions=sum(map(sessions_left, cells)))
        self._seconds = 0.0
        self._temp_c: float | None = None
        self._told = ("", 0.0)

    @property
    def place(self) -> str:
        """The device in words."""
        info = self._device.info
        return "host" if info.kind == "host" else f"{info.kind} {lab.selector(self._device)}"

    def device(self, step: Step, message: str, *, level: Level = "info", trouble: str = "") -> None:
        """Tell something of the device as a whole."""
        news = self._news(self.place, "noted", step, message=message, level=level)
        self._tools.emit(dataclasses.replace(news, trouble=trouble))

    def cell(self, cell: Cell, step: Step, message: str, *, index: int, runner_phase: str = "") -> None:
        """Tell what is being done for a session of a cell; ``index`` counts from 0."""
        self._tools.emit(self._at_work(cell, step, message, index, runner_phase))

    def again(self, cell: Cell, index: int, failure: Failure) -> None:
        """Tell that a session failed and is taken once more."""
        news = self._at_work(cell, "resting", f"{failure.message} Taken once more.", index, "")
        self._tools.emit(dataclasses.replace(news, level="warning", trouble=failure.message))

    def _at_work(self, cell: Cell, step: Step, message: str, index: int, runner_phase: str) -> DeviceNews:
        words = f"session {index + 1} of {cell.plan.sessions}: {message}"
        return dataclasses.replace(
            self._news(self._subject(cell), "bench", step, message=words, level="info"),
            done=index,
            total=cell.plan.sessions,
            build=cell.build_id,
            runner_phase=runner_phase,
            session=index + 1,
            sessions=cell.plan.sessions,
            planned_s=least_s(cell.plan),
        )

    def progress(self, cell: Cell, index: int, runner_phase: str) -> None:
        """Tell how a runner gets on, not more often than anyone can read."""
        if self._is_new(f"{cell.id} {index} {runner_phase}"):
            self.cell(cell, "measuring", runner_phase, index=index, runner_phase=runner_phase)

    def cooling(self, cell: Cell, index: int, phase: str) -> None:
        """Tell how the wait before a session goes."""
        if self._is_new(f"{cell.id} {index} {phase}"):
            self.cell(cell, "cooling", phase, index=index, runner_phase=phase)

    def _is_new(self, key: str) -> bool:
        now_s = self._tools.clock.monotonic_ns() / 1e9
        if self._told[0] == key and now_s - self._told[1] < PROGRESS_S:
            return False
        self._told = (key, now_s)
        return True

    def seen(self, vitals: Vitals) -> None:
        """Take note of the device's temperature, of its skin or else its battery; it is in all news from now on."""
        thermal, battery = vitals.thermal, vitals.battery
        skin_c = None if isinstance(thermal, Unavailable) else thermal.celsius("skin") or thermal.celsius("battery")
        battery_c = None if isinstance(battery, Unavailable) else battery.temperature_c
        self._temp_c = battery_c if skin_c is None else skin_c

    def taken(self, seconds: float) -> None:
        """Count a session, and what it took with all that belongs to it."""
        self._seconds += seconds
        count = self._tally.taken + 1
        self._tally = dataclasses.replace(self._tally, taken=count, session_s=self._seconds / count)

    def ended(self, cell: Cell) -> None:
        """Count a cell that has ended, and tell how."""
        tally = self._tally
        count = {cell.outcome: getattr(tally, cell.outcome) + 1}
        self._tally = dataclasses.replace(tally, **count, dropped=tally.dropped + sessions_left(cell))
        failure = cell.failure
        words = median_words(cell) if failure is None else failure.message
        phase = {"measured": "done", "failed": "failed", "skipped": "skipped"}[cell.outcome]
        level: Level = "info" if failure is None else "warning"
        news = self._news(self._subject(cell), phase, "ended", message=words, level=level)
        trouble = "" if failure is None else failure.message
        self._tools.emit(dataclasses.replace(news, build=cell.build_id, trouble=trouble))

    def _subject(self, cell: Cell) -> str:
        return f"{cell.build_id} on {self.place}"

    def _news(self, subject: str, phase: str, step: Step, *, message: str, level: Level) -> DeviceNews:
        return DeviceNews(
            subject=subject,
            phase=phase,
            message=message,
            level=level,
            device=lab.selector(self._device),
            step=step,
            tally=self._tally,
            temp_c=self._temp_c,
        )


def least_s(plan: RunPlan) -> float:
    """Return how long a session of a plan measures at least, in seconds."""
    return plan.warmup_min_s + plan.min_seconds
