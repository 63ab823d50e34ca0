"""Real processes: deadlines reach the whole group, output of any size and kind is taken, and nothing is left behind."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from pathlib import Path

import pytest

from toolkit.core import process
from toolkit.core.errors import ToolMissing


def python(code: str, **options: object) -> process.Finished:
    return process.run([sys.executable, "-c", code], **{"deadline_s": 60, **options})  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")


def gone(pid: int) -> bool:
    """Whether the process ends within a while: a kill is obeyed at the next turn of the scheduler, not at once."""
    until = time.monotonic() + 10
    while alive(pid) and time.monotonic() < until:
        threading.Event().wait(0.02)
    return not alive(pid)


def test_output_error_and_code_are_told_apart() -> None:
    finished = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (finished.stdout, finished.stderr, finished.code, finished.timed_out) == ("out\n", "err\n", 3, False)
    assert "ended with exit code 3" in finished.describe()


def test_a_missing_program_is_an_ordinary_error() -> None:
    with pytest.raises(ToolMissing, match="'no-such-program-here' is not installed") as caught:
        process.run(["no-such-program-here"], deadline_s=5)
    assert "palmtop doctor" in caught.value.hint


def test_a_missing_working_folder_is_not_called_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        python("", cwd=tmp_path / "gone")


def test_the_deadline_kills_the_grandchildren_too(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    finished = python(code, deadline_s=3)
    assert finished.timed_out
    assert finished.stdout == "ready\n"
    assert finished.seconds < 30
    assert "ran past its deadline" in finished.describe()
    assert all(gone(int(pid)) for pid in note.read_text().split())


def test_what_a_process_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
    )
    assert python(code).code == 0
    assert gone(int(note.read_text()))


def test_lines_come_as_they_are_printed() -> None:
    seen: list[tuple[str, float]] = []
    python(
        "import time\nfor n in range(3): print(n, flush=True); time.sleep(0.2)",
        on_line=lambda line: seen.append((line, time.monotonic())),
    )
    assert [line for line, _ in seen] == ["0", "1", "2"]
    assert seen[-1][1] - seen[0][1] > 0.2


def test_an_error_in_the_listener_ends_the_process(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, time, pathlib\n"
        f"pathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "print('go', flush=True)\n"
        "time.sleep(600)"
    )

    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="go"):
        python(code, on_line=refuse)
    assert gone(int(note.read_text()))


def test_input_reaches_it_and_is_not_needed() -> None:
    assert python("import sys; print(len(sys.stdin.read()))", stdin="ä" * 300_000).stdout == "300000\n"
    assert python("import sys; sys.stdin.close(); print('done')", stdin="x" * 3_000_000).stdout == "done\n"


def test_bytes_that_are_no_text_do_not_stop_the_reading() -> None:
    finished = python("import sys; sys.stdout.buffer.write(b'\\xff\\xfe ok\\n'); sys.stderr.buffer.write(b'\\x80')")
    assert finished.stdout.endswith(" ok\n")
    assert finished.stderr == "\N{REPLACEMENT CHARACTER}"


def test_a_large_error_output_does_not_block_or_fill_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finished = python("import sys\nfor _ in range(40): sys.stderr.write('e' * 1_000_000)\nprint('through')")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert finished.stdout == "through\n"
    assert after - before < 200_000, "kilobytes for 40 MB of output"
    assert finished.stderr.startswith(f"[{40_000_000 - process.KEPT} bytes dropped]\ne")
    assert len(finished.stderr) < process.KEPT + 100


def test_endless_output_ends_at_the_deadline_within_bounded_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finished = python("while True: print('y' * 10_000)", deadline_s=3)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert finished.timed_out
    assert after - before < 200_000, "kilobytes: a runaway must not fill the memory of palmtop"
    assert "characters dropped]\nyyy" in finished.stdout[:60]
    assert len(finished.stdout) < process.KEPT + 100


def test_a_line_without_end_ends_at_the_deadline_within_bounded_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finished = python("import sys\nwhile True: sys.stdout.write('z' * 1_000_000)", deadline_s=4)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert finished.timed_out
    assert after - before < 700_000, "kilobytes"


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (-11, "signal SIGSEGV"), (-200, "signal 200")])
def test_exit_codes_are_said_in_words(code: int, words: str) -> None:
    assert process.exit_words(code) == words


def test_the_environment_is_added_to_ours() -> None:
    shown = python("import os; print(os.environ['PATH'] != '', os.environ['EXTRA'])", env={"EXTRA": "1"}).stdout
    assert shown == "True 1\n"
    assert "EXTRA" not in os.environ


def test_the_tail_is_the_end_of_what_went_wrong() -> None:
    finished = python("import sys\nfor n in range(50): print(n, file=sys.stderr)")
    assert finished.tail(2) == "48\n49"
    assert python("print('only out')").tail() == "only out"


def test_an_ending_lasts_until_the_last_of_overlapping_ones_is_over() -> None:
    with process.ending():
        with process.ending():
            assert process.is_ending()
        assert process.is_ending()
    assert not process.is_ending()
