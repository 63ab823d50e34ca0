"""What reaches the screen: progress for people and logs, results for people and scripts, nothing hostile."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator

import pytest
from rich.table import Table

from toolkit.cli.console import Console, clean, size_words, table
from toolkit.core.events import Event

HOSTILE = "\x1b[2J\x9b31mname\r\x07\u202egnp.\u2028[bold red]x[/] \ud800"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def work(console: Console) -> None:
    for step in range(4):
        console.emit(Event(subject="tflite-static-int8", phase="calibrate", done=step, total=4))
    console.emit(Event(subject="tflite-static-int8", phase="quantize", message="per channel"))
    console.emit(Event(subject="tflite-static-int8", phase="quantize", message="slow", level="warning"))
    console.emit(Event(subject="tflite-static-int8", phase="done"))
    console.emit(Event(subject="onnx-float32", phase="failed", message="it crashed"))


def test_a_log_gets_one_line_a_phase(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    with Console(out=out, err=err) as console:
        work(console)
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == [
        "tflite-static-int8: calibrate",
        "tflite-static-int8: quantize: per channel",
        "warning: tflite-static-int8: quantize: slow",
        "tflite-static-int8: done",
        "onnx-float32: failed: it crashed",
    ]


def test_quiet_is_silent(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    with Console(out=out, err=err, verbosity="quiet") as console:
        work(console)
        console.note("a note")
    assert err.getvalue() == ""


def test_a_terminal_gets_moving_rows_that_are_taken_down(terminal: Terminal) -> None:
    with Console(out=io.StringIO(), err=terminal) as console:
        console.emit(Event(subject="build", phase="calibrate", done=1, total=4))
        console.note("between the rows")
        work(console)
    shown = terminal.getvalue()
    assert "\x1b[?25l" in shown, "the cursor is hidden while rows move"
    assert shown.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in shown
    assert "between the rows\n" in shown
    assert "tflite-static-int8: done" in shown
    assert "onnx-float32: failed: it crashed" in shown


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_plain_text_gets_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with Console(out=terminal, err=terminal) as console:
        work(console)
        console.result(None, lambda: table("a", rows=[["1"]]))
    assert "\x1b" not in terminal.getvalue()


def test_a_name_cannot_steer_the_terminal_or_style_itself(
    terminal: Terminal, streams: tuple[io.StringIO, io.StringIO]
) -> None:
    out, err = streams
    with Console(out=out, err=err) as console:
        console.emit(Event(subject=HOSTILE, phase=HOSTILE, message=HOSTILE))
        console.note(HOSTILE)
        theirs = Table(HOSTILE)
        theirs.add_row(HOSTILE)
        console.result(None, lambda: theirs)
        console.result(None, lambda: table(HOSTILE, rows=[[HOSTILE]], title=HOSTILE))
        console.result(None, lambda: HOSTILE)
        console.error(kind="x", message=HOSTILE, hint=HOSTILE, exit_code=3)
    for stream in streams:
        shown = stream.getvalue()
        assert "[bold red]x[/]" in shown, "markup is shown, not obeyed"
        assert not [letter for letter in shown if letter != "\n" and not letter.isprintable()]
    with Console(out=terminal, err=terminal) as console:
        console.emit(Event(subject=HOSTILE, phase="work", message=HOSTILE))
        console.result(None, lambda: theirs)
    assert "\x1b[2J" not in terminal.getvalue()
    assert not set("\x9b\x07\u202e\u2028\ud800") & set(terminal.getvalue())


def test_json_is_one_document_whatever_else_happens(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    with Console(as_json=True, out=out, err=err) as console:
        work(console)
        console.result({"low": float("-inf"), "name": "\x1b[2Jä"}, lambda: "never")
        console.error(kind="GateFailed", message="too low", hint="", exit_code=4)
    assert json.loads(out.getvalue()) == {"low": "-inf", "name": "\x1b[2Jä"}
    assert "\x1b" not in out.getvalue()
    assert "Error: too low\n" in err.getvalue()


def test_a_document_of_text_stays_as_it_is(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    text = "| a | b |\n" + "x" * 500 + "\n\ttab"
    Console(out=out, err=err).result(None, lambda: text)
    assert out.getvalue() == text + "\n"


def test_no_cell_of_a_table_is_cut_in_a_pipe(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    Console(out=out, err=err).result(None, lambda: table("a", "b", rows=[["x" * 300, "y"]]))
    assert out.getvalue().count("x") == 300
    assert all(len(line) <= 160 for line in out.getvalue().splitlines())


def test_news_from_many_threads_is_never_mixed(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    console = Console(out=out, err=err)

    def tell(subject: str) -> None:
        for phase in range(200):
            console.emit(Event(subject=subject, phase=f"phase-{phase}"))

    threads = [threading.Thread(target=tell, args=(f"worker-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = err.getvalue().splitlines()
    assert sorted(lines) == sorted(f"worker-{n}: phase-{p}" for n in range(8) for p in range(200))


def test_the_tools_tell_their_news_here(streams: tuple[io.StringIO, io.StringIO]) -> None:
    out, err = streams
    Console(out=out, err=err).tools().emit(Event(subject="s", phase="p"))
    assert err.getvalue() == "s: p\n"


@pytest.mark.parametrize("text", ["", "plain", "ä 漢字 \N{GRINNING FACE}", "a\tb\nc"])
def test_harmless_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3.2e12, "3.2 TB")])
def test_sizes_in_words(count: int, words: str) -> None:
    assert size_words(count) == words
