"""The live picture of a matrix: rows from news alone, what fits the screen, and when it will be over."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console as Rich

from mobile_harness.cli._matrix_view import MatrixView, clock_words
from mobile_harness.matrix.news import DeviceNews, Step, Tally
from toolkit.cli.console import Console
from toolkit.core.events import Event, Level

PLAIN = Tally(cells=3, sessions=9)


def news(
    number: int = 0, step: Step = "measuring", *, tally: Tally = PLAIN, message: str = "", level: Level = "info",
    session: int = 0, build: str = "", runner_phase: str = "", temp_c: float | None = None, phase: str = "bench",
    trouble: str = "",
) -> DeviceNews:  # fmt: skip
    return DeviceNews(
        subject=f"{build} on adb:virtual-{number}", phase=phase, message=message, level=level, step=step, tally=tally,
        device=f"adb:virtual-{number}", build=build, runner_phase=runner_phase, session=session, sessions=3,
        planned_s=4.0, temp_c=temp_c, trouble=trouble,
    )  # fmt: skip


def drawn(view: MatrixView, now_s: float, *, height: int = 40, width: int = 150) -> list[str]:
    page = Rich(file=io.StringIO(), width=width, color_system=None)
    page.print(view.draw(now_s, height))
    return [line.rstrip() for line in page.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def row(lines: list[str], number: int = 0) -> str:
    (found,) = [line for line in lines if f"virtual-{number} " in line]
    return " ".join(found.replace("━", "").replace("╸", "").replace("╺", "").split())


def test_a_row_says_what_a_device_does_and_keeps_its_last_trouble() -> None:
    view = MatrixView()
    view.take(news(step="planned", level="debug"), 0)
    view.take(news(step="resting", build="onnx-a", session=1, trouble="It crashed.\nOnce more."), 1)
    view.take(news(build="onnx-a", session=2, runner_phase="warmup", temp_c=31.24), 2)
    assert row(drawn(view, 3)) == "adb:virtual-0 onnx-a 2 of 3 warmup 31.2 0/3 It crashed. Once more."


def test_cells_are_counted_and_a_device_that_has_ended_says_so() -> None:
    view = MatrixView()
    some = Tally(cells=3, measured=1, failed=1, sessions=9, taken=4, dropped=2, session_s=5.0)
    view.take(news(tally=some, build="onnx-b", session=2, runner_phase="measure"), 0)
    assert row(drawn(view, 0)).endswith("measure 1/3 1")
    over = dataclasses.replace(some, measured=1, failed=1, skipped=1, dropped=5)
    view.take(news(1, step="ended", tally=over, phase="skipped"), 0)
    assert "done 1/3 2" in row(drawn(view, 0), 1)


def test_the_end_is_told_by_the_slowest_device() -> None:
    view = MatrixView()
    view.take(news(step="planned", level="debug"), 10)
    assert drawn(view, 10)[-1] == "0 of 3 cells measured, 0 s gone, how long it takes is not known yet"
    fast = Tally(cells=3, measured=2, sessions=9, taken=8, session_s=5.0)
    slow = Tally(cells=3, failed=1, sessions=9, taken=1, dropped=3, session_s=20.0)
    view.take(news(0, tally=fast, session=3, build="a"), 20)
    view.take(news(1, tally=slow, session=2, build="b"), 20)
    assert drawn(view, 30)[-1] == "2 of 6 cells measured, 1 without figures, 20 s gone, about 1 min 30 s left"
    later = drawn(view, 3000)[-1]
    assert later.endswith("about 1 min 21 s left"), "a session that takes longer never eats the others' time"


def test_only_what_fits_is_drawn_and_devices_at_work_come_before_those_that_ended() -> None:
    view = MatrixView()
    for number in range(12):
        over = Tally(cells=1, measured=1, sessions=1, taken=1, session_s=1.0)
        view.take(news(number, step="ended", tally=over) if number < 8 else news(number, session=1, build="a"), 0)
    lines = drawn(view, 0, height=10)
    assert len(lines) <= 10
    assert all(f"adb:virtual-{number} " in "\n".join(lines) for number in range(8, 12))
    assert "… and 8 devices more, 8 of them done" in lines


def test_what_is_not_of_a_device_is_none_of_its_business() -> None:
    view = MatrixView()
    view.take(Event(subject="run x", phase="noted", message="8 cells"), 0)
    assert drawn(view, 0) == ["looking for devices"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_hostile_name_neither_steers_the_terminal_nor_breaks_the_rows(width: int, terminal: io.StringIO) -> None:
    console = Console(out=io.StringIO(), err=terminal)
    with console:
        console.use(MatrixView())
        console.emit(news(build="\x1b[2J[bold]x\u202e\n", session=1, trouble="\x9b31m"))
        console.emit(news(build="b" * 300, session=1))
    shown = terminal.getvalue()
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "\x9b" not in shown


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Terminal:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(request.node.callspec.params.get("width", 120)))
    return Terminal()


def test_in_a_log_the_same_news_are_lines_and_a_device_s_own_are_not_repeated() -> None:
    err = io.StringIO()
    with Console(out=io.StringIO(), err=err) as console:
        console.use(MatrixView())
        console.emit(news(step="planned", level="debug", phase="noted", message="hidden"))
        for phase in ("load_cold", "measure", "measure"):
            console.emit(news(build="onnx-a", session=1, runner_phase=phase, message=f"session 1 of 3: {phase}"))
        console.emit(news(build="onnx-a", phase="skipped", level="warning", step="ended", message="set aside"))
    assert err.getvalue().splitlines() == [
        "onnx-a on adb:virtual-0: bench: session 1 of 3: load_cold",
        "warning: onnx-a on adb:virtual-0: skipped: set aside",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599.7, "1 h 0 min")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert clock_words(seconds) == words
