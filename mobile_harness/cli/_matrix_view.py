"""The matrix on a terminal while it is measured: a row a device, and how long it will take. Fed by news only."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mobile_harness.matrix.news import DeviceNews
from toolkit.core.events import Event

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WORDS: Final = {
    "planned": "",
    "waiting": "waits for another palmtop",
    "cooling": "",
    "pushing": "push",
    "measuring": "",
    "resting": "tries again",
    "quarantined": "set aside",
    "ended": "",
}
_BAR: Final = 16
_FRAME: Final = 6
"""Lines that are no device's: the heading with its rule, blank ones around, the total, and one for the rest."""
_START_S: Final = 2.0
"""What a session takes besides its plan before any has been taken: a guess that the first one replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of a device: its newest news, since when its session runs, and its last trouble."""

    news: DeviceNews
    since_s: float
    trouble: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do on the device."""
        return self.news.tally.ended == self.news.tally.cells


class MatrixView:
    """See :class:`toolkit.cli.console.View`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._began_s: float | None = None

    def take(self, event: Event, now_s: float) -> None:
        if not isinstance(event, DeviceNews):
            return
        with self._lock:
            self._began_s = now_s if self._began_s is None else self._began_s
            self._rows[event.device] = _next(self._rows.get(event.device), event, now_s)

    def draw(self, now_s: float, height: int) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            rows, began_s = dict(self._rows), self._began_s
        if not rows or began_s is None:
            return Text("looking for devices")
        order = sorted(rows.values(), key=lambda row: row.is_over)  # stable: those at work first
        shown = order[: max(height - _FRAME, 1)]
        shown = [row for row in rows.values() if row in shown]
        rest = len(order) - len(shown)
        parts: list[RenderableType] = [_table(shown, now_s)]
        if rest:
            over = sum(row.is_over for row in order if row not in shown)
            parts.append(Text(f"… and {rest} devices more, {over} of them done", style="dim"))
        parts.append(Text(total_words(rows.values(), now_s, began_s), style="bold", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)


def _next(before: Row | None, news: DeviceNews, now_s: float) -> Row:
    if before is None:
        return Row(news=news, since_s=now_s, trouble=news.trouble)
    same = (before.news.build, before.news.session) == (news.build, news.session)
    if news.step in ("quarantined", "resting", "ended") and not news.session:
        news = dataclasses.replace(news, build=news.build or before.news.build)
    return Row(news=news, since_s=before.since_s if same else now_s, trouble=news.trouble or before.trouble)


def _table(rows: list[Row], now_s: float) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True, padding=(0, 1))
    for name, width in (("device", 24), ("build", 32), ("session", 8), ("doing", 20), ("progress", _BAR)):
        table.add_column(name, max_width=width, no_wrap=True, overflow="ellipsis", min_width=min(width, 12))
    for name in ("°C", "done", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last trouble", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        news, tally = row.news, row.news.tally
        failed = tally.failed + tally.skipped
        table.add_row(
            Text(news.device),
            Text(news.build),
            Text(f"{news.session} of {news.sessions}" if news.session else ""),
            Text(doing(row)),
            ProgressBar(total=1.0, completed=share(row, now_s), width=_BAR),
            Text("" if news.temp_c is None else f"{news.temp_c:.1f}"),
            Text(f"{tally.measured}/{tally.cells}"),
            Text(str(failed or ""), style="red" if failed else ""),
            Text(" ".join(row.trouble.split()), style="yellow"),
        )
    return table


def doing(row: Row) -> str:
    """Say what a device does now."""
    if row.is_over:
        return "done"
    return WORDS[row.news.step] or row.news.runner_phase


def share(row: Row, now_s: float) -> float:
    """Return which part of a device's sessions is behind it, the one at work by its time."""
    tally = row.news.tally
    if row.is_over or not tally.sessions:
        return 1.0
    return min(1.0, (tally.taken + tally.dropped + _running(row, now_s)) / tally.sessions)


def _running(row: Row, now_s: float) -> float:
    """Return which part of the session at work is behind it: never the whole, it may take longer than the others."""
    if not row.news.session:
        return 0.0
    return min(0.95, (now_s - row.since_s) / max(_session_s(row), 0.1))


def _session_s(row: Row) -> float:
    mean_s = row.news.tally.session_s
    return row.news.planned_s + _START_S if mean_s is None else mean_s


def left_s(row: Row, now_s: float) -> float | None:
    """Return how long a device will still need, None while nothing is known of it."""
    if row.is_over:
        return 0.0
    if row.news.tally.session_s is None and not row.news.session:
        return None
    return max(0.0, row.news.tally.left - _running(row, now_s)) * _session_s(row)


def total_words(rows: Iterable[Row], now_s: float, began_s: float) -> str:
    """Say how far the whole matrix is. The devices work at the same time: the slowest decides when it ends."""
    every = list(rows)
    cells = sum(row.news.tally.cells for row in every)
    measured = sum(row.news.tally.measured for row in every)
    failed = sum(row.news.tally.failed + row.news.tally.skipped for row in every)
    known = [left for row in every if (left := left_s(row, now_s)) is not None]
    parts = [f"{measured} of {cells} cells measured", f"{failed} without figures" if failed else ""]
    ahead = f"about {clock_words(max(known))} left" if known else "how long it takes is not known yet"
    return ", ".join(filter(None, [*parts, f"{clock_words(now_s - began_s)} gone", ahead]))


def clock_words(seconds: float) -> str:
    """Say a time in words.

    >>> clock_words(8.2), clock_words(95), clock_words(7300)
    ('8 s', '1 min 35 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
