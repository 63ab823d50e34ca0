"""A search as a picture for a terminal: what runs now, and of what was tried the candidates that nothing beats."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.cli.console import ENDS, size_words, table
from toolkit.core.events import Event

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.search.trail import Trail, Trial

_COLOURS = {"within": "green", "likely": "green", "unlikely": "yellow", "beyond": "red"}
_BAR = 20
_MOST_RUNNING = 4


@dataclass(slots=True)
class _Running:
    phase: str
    done: int
    total: int


class SearchView:
    """Takes news and the trail as it grows, from several threads; draws both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._trail: Trail | None = None
        self._began_s: float | None = None

    def see(self, trail: Trail) -> None:
        """Take note of how the search stands."""
        with self._lock:
            self._trail = trail

    def take(self, event: Event, now_s: float) -> None:
        with self._lock:
            self._began_s = now_s if self._began_s is None else self._began_s
            self._running.pop(event.subject, None)  # what there is news of goes to the end
            if event.phase not in ENDS and not 0 < event.total <= event.done:
                self._running[event.subject] = _Running(event.phase, event.done, event.total)

    def draw(self, now_s: float, height: int) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            running, trail = dict(self._running), self._trail
            seconds = 0.0 if self._began_s is None else now_s - self._began_s
        lines = [Text(self._headline(trail, seconds), style="bold")]
        lines += [Text(_running_line(subject, one)) for subject, one in [*running.items()][-_MOST_RUNNING:]]
        room = height - len(lines) - 4
        if trail is None or room < 1:
            return Group(*lines)
        return Group(*lines, _front_table(trail, room))

    @staticmethod
    def _headline(trail: Trail | None, seconds: float) -> str:
        if trail is None:
            return f"{seconds:.0f} s, reading model and data"
        samples = sum(one.n for one in trail.trials)
        tried = "1 candidate" if len(trail.trials) == 1 else f"{len(trail.trials)} candidates"
        return (
            f"{seconds:.0f} s, {tried} on {samples} samples; budget {trail.max_drop:g} of "
            f"{trail.metric} at {trail.confidence:.0%}"
        )


def cost_column(trail: Trail) -> tuple[str, ...]:
    """Return the heading of what candidates weigh, where that is not their size."""
    return () if trail.objective == "size" else (f"{trail.objective}, estimated",)


def cost_words(trail: Trail, cost: float) -> str:
    """Return what a candidate weighs where that is not its size: nanoseconds or microjoules, in words."""
    return f"{cost / 1e6:.3g} ms" if trail.objective == "latency" else f"{cost / 1e3:.3g} mJ"


def front(trail: Trail, target: str) -> list[Trial]:
    """Return the trials of a target that no other beats in weight and in what may be lost, the lightest first."""
    found: list[Trial] = []
    ran = [one for one in trail.trials if one.target == target and one.verdict != "failed"]
    for one in sorted(ran, key=lambda trial: (trial.cost, trial.expected_high)):
        if not found or one.expected_high < found[-1].expected_high:
            found.append(one)
    return found


def _front_table(trail: Trail, room: int) -> RenderableType:
    from rich.text import Text

    targets = list(dict.fromkeys(one.target for one in trail.trials))
    shown = [one for target in targets[-max(1, room // 3) :] for one in front(trail, target)]
    weighed = cost_column(trail)
    rows = [
        (
            one.target,
            one.words,
            *((cost_words(trail, one.cost),) if weighed else ()),
            size_words(one.size_bytes),
            f"{one.sqnr_db:.1f}",
            f"{one.drop:+.4f}",
            f"{one.expected_high:.4f}",
            one.n,
            Text(one.verdict, style=_COLOURS.get(one.verdict, "")),
        )
        for one in shown[-room:]
    ]
    figures = (*weighed, "size", "dB", "drop", "expected at most", "samples")
    return table("target", "nothing beats", *figures, "verdict", rows=rows, right=figures)


def _running_line(subject: str, one: _Running) -> str:
    if not one.total:
        return f"{subject}: {one.phase}"
    full = round(_BAR * one.done / one.total)
    return f"{subject}: {one.phase} {'█' * full}{'░' * (_BAR - full)} {one.done}/{one.total}"
