"""The only file that prints: progress and messages go to stderr, the result to stdout.

Names and texts from models, files and devices are untrusted: markup is off, so that a ``[bold]`` in a name is shown and
not obeyed, and what could steer a terminal (escape codes, direction overrides, half characters) is shown as ``�``.
Importing this module is cheap; rich is loaded when something has to be drawn.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TextIO, cast

from toolkit.core.events import Event

if TYPE_CHECKING:
    from types import TracebackType

    import rich.console
    from rich.console import RenderableType
    from rich.table import Table

    from toolkit.core.tools import Tools

Verbosity = Literal["quiet", "normal", "debug"]

PIPE_WIDTH = 160
"""Columns of a table where there is no terminal to measure."""

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Return the text with everything that could steer a terminal replaced.

    >>> clean(chr(27) + "[2Jmodel")
    '�[2Jmodel'
    """
    return _UNSAFE.sub("�", text)


def table(*columns: str, rows: Iterable[Iterable[object]], right: Iterable[str] = (), title: str = "") -> Table:
    """Return a table of plain texts; the columns named in ``right`` are numbers. Long cells fold, none is cut."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    numbers = set(right)
    made = Table(box=SIMPLE, title=Text(title, style="bold") if title else None, title_justify="left", pad_edge=False)
    made.show_header = any(columns)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(clean(str(cell))) for cell in row))
    return made


def size_words(count: int) -> str:
    """Say a number of bytes in words.

    >>> size_words(900), size_words(15_300), size_words(4_200_000)
    ('900 B', '15.3 kB', '4.2 MB')
    """
    size, units = float(count), ("B", "kB", "MB", "GB", "TB")
    for unit in units[:-1]:
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {units[-1]}"


ENDS = ("done", "failed", "skipped", "noted")
"""The phases that end a subject (:class:`toolkit.core.events.Event`)."""


class View(Protocol):
    """A picture of work in progress, for a terminal. Both verbs are called from several threads."""

    def take(self, event: Event, now_s: float) -> None:
        """Take note of a piece of news, of any level; the time is seconds since an arbitrary start."""

    def draw(self, now_s: float, height: int) -> RenderableType:
        """Return the picture as it is now, at most so many lines high."""


class _Progress(Protocol):
    def show(self, event: Event) -> None: ...

    def line(self, text: str) -> None: ...

    def close(self) -> None: ...


class Console:
    """Where a command's words go. A context manager: leaving it takes the progress rows down.

    ``out`` and ``err`` are stdout and stderr unless given. A reader that went away (``| head``) ends the writing, not
    the work: the command goes on to its own exit code.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        verbosity: Verbosity = "normal",
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.verbosity: Verbosity = verbosity
        self.answered = False
        self._out = out
        self._err = err
        self._lock = threading.RLock()
        self._progress: _Progress | None = None
        self._view: View | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def configure(self, *, as_json: bool, verbosity: Verbosity) -> None:
        """Set what the options of the command say."""
        self.as_json = as_json
        self.verbosity = verbosity

    def tools(self) -> Tools:
        """Return this machine's tools, whose news is shown here."""
        from toolkit.core.tools import system_tools

        return system_tools(self.emit)

    def emit(self, event: Event) -> None:
        """Show a piece of news; may be called from any thread."""
        if self.verbosity == "quiet":
            return
        if self._view is not None:
            self._view.take(event, time.monotonic())
        if event.level == "debug" and self.verbosity != "debug":
            return
        with self._lock:
            self._rows().show(event)

    def use(self, view: View) -> None:
        """Show progress as this picture from now on, where it goes to a terminal; elsewhere it stays lines."""
        with self._lock:
            self.close()
            self._view = view

    def note(self, text: str) -> None:
        """Tell the user something on stderr, unless ``-q``."""
        if self.verbosity == "quiet":
            return
        with self._lock:
            self._rows().line(clean(text))

    def result(self, document: Any, text: Callable[[], RenderableType]) -> None:
        """Print the command's one result: ``document`` as JSON with ``--json``, else what ``text`` returns.

        A ``str`` from ``text`` is printed as it is, never wrapped: a whole Markdown or CSV document stays intact.
        """
        with self._lock:
            self.close()
            if self.as_json:
                from toolkit.core import codec

                shown = codec.pretty(document)
            else:
                shown = self._drawn(text())
            self.answered = True
            _write(self._stdout, shown)

    def error(self, *, kind: str, message: str, hint: str, exit_code: int) -> None:
        """Tell why the command failed: a paragraph on stderr, or with ``--json`` the one document on stdout.

        When the result already stands on stdout the paragraph goes to stderr in both cases.
        """
        with self._lock:
            self.close()
            if self.as_json and not self.answered:
                import json

                fault = {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}
                self.answered = True
                _write(self._stdout, json.dumps({"error": fault}, indent=2) + "\n")
                return
            label = "\x1b[1;31mError:\x1b[0m" if _is_terminal(self._stderr) else "Error:"
            _write(self._stderr, f"{label} {clean(message)}\n" + (f"{clean(hint)}\n" if hint else ""))

    def close(self) -> None:
        """Take the progress rows down; they come back with the next event."""
        with self._lock:
            if self._progress is not None:
                self._progress.close()
                self._progress = None

    @property
    def _stdout(self) -> TextIO:
        return self._out or sys.stdout

    @property
    def _stderr(self) -> TextIO:
        return self._err or sys.stderr

    def _rows(self) -> _Progress:
        if self._progress is None:
            self._progress = self._new_progress()
        return self._progress

    def _new_progress(self) -> _Progress:
        if not _is_terminal(self._stderr):
            return _Lines(self._stderr)
        return _Live(self._stderr) if self._view is None else _Picture(self._stderr, self._view)

    def _drawn(self, renderable: RenderableType) -> str:
        if isinstance(renderable, str):
            return clean(renderable).rstrip("\n") + "\n"
        page = io.StringIO()
        _rich(page, terminal=_is_terminal(self._stdout), encoding=self._stdout.encoding or "utf-8").print(
            _safe(renderable)
        )
        return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


class _Lines:
    """Progress for a file or a pipe: one line a phase of each subject."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._phases: dict[str, str] = {}
        self._started: dict[str, float] = {}

    def show(self, event: Event) -> None:
        begun = self._started.setdefault(event.subject, time.monotonic())
        if event.level != "warning" and self._phases.get(event.subject) == event.phase:
            return
        self._phases[event.subject] = event.phase
        self.line(_sentence(event, time.monotonic() - begun))
        if event.phase in ENDS:
            self._started.pop(event.subject)
            self._phases.pop(event.subject)

    def line(self, text: str) -> None:
        _write(self._stream, text + "\n")

    def close(self) -> None:
        """There is nothing to take down."""


class _Live:
    """Progress for a terminal: a moving row for each subject at work; ended ones become lines above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

        self._rich = _rich(stream, terminal=True)
        self._rows: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[subject]}", markup=False, style="bold"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=self._rich,
            transient=True,
        )
        self._progress.start()

    def show(self, event: Event) -> None:
        begun = self._started.setdefault(event.subject, time.monotonic())
        if event.phase in ENDS or event.level != "info":
            self.line(_sentence(event, time.monotonic() - begun))
        if event.phase in ENDS:
            self._started.pop(event.subject)
            if event.subject in self._rows:
                self._progress.remove_task(self._rows.pop(event.subject))
            return
        if event.subject not in self._rows:
            self._rows[event.subject] = self._progress.add_task("", subject=clean(event.subject), total=None)
        words = clean(f"{event.phase} {event.message}".strip().replace("\n", " "))
        self._progress.update(
            self._rows[event.subject], description=words[:80], completed=event.done, total=event.total or None
        )

    def line(self, text: str) -> None:
        from rich.text import Text

        self._rich.print(Text(text))

    def close(self) -> None:
        self._progress.stop()


class _Picture:
    """Progress for a terminal where the command has a picture of its own; what ends or warns becomes a line above."""

    def __init__(self, stream: TextIO, view: View) -> None:
        from rich.live import Live

        self._view = view
        self._rich = _rich(stream, terminal=True)
        self._live = Live(
            get_renderable=self._draw,
            console=self._rich,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _draw(self) -> RenderableType:
        return _safe(self._view.draw(time.monotonic(), max(self._rich.height - 1, 4)))

    def show(self, event: Event) -> None:
        if event.phase in ENDS or event.level != "info":
            self.line(_sentence(event, 0))

    def line(self, text: str) -> None:
        from rich.text import Text

        self._rich.print(Text(text))

    def close(self) -> None:
        self._live.stop()


def _sentence(event: Event, seconds: float) -> str:
    took = f" in {seconds:.1f} s" if event.phase == "done" and seconds >= 0.05 else ""
    warned = "warning: " if event.level == "warning" else ""
    said = f": {event.message}" if event.message else ""
    subject = f"{event.subject}: " if event.subject else ""
    phase = "" if event.phase == "noted" else f"{event.phase}{took}"
    return clean(f"{warned}{subject}{phase}{said if phase else event.message}")


def _is_terminal(stream: TextIO) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and stream.isatty()


def _rich(stream: TextIO, *, terminal: bool, encoding: str = "") -> rich.console.Console:
    import rich.console

    class Page(rich.console.Console):
        @property
        def encoding(self) -> str:
            return encoding.lower() or super().encoding

    width = None if terminal else int(os.environ.get("COLUMNS") or PIPE_WIDTH)
    return Page(
        file=stream,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
    )


class _Safe:
    """Draws another renderable with every text of it cleaned, whoever built it."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        from rich.segment import Segment

        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)


def _safe(renderable: RenderableType) -> RenderableType:
    return cast("RenderableType", _Safe(renderable))


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # so that the interpreter's last flush has somewhere to go
        os.close(nowhere)
