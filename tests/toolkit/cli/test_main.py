"""The console script: every way to end has its exit code and its words, in text and as JSON."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.cli.main import execute
from toolkit.core import errors, process

PALMTOP = (sys.executable, "-c", "from toolkit.cli.main import run; run()")

HOUSE = [
    (name, kind.exit_code)
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.PalmtopError) and name != "ChildFailed"
]


@pytest.mark.parametrize(("name", "code"), [*HOUSE])
def test_an_error_of_the_house_ends_with_its_code_and_its_hint(
    acme: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    assert execute(["acme-end", name]) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Error: What failed.\nWhat to do.\n")


@pytest.mark.parametrize(("name", "code"), [*HOUSE])
def test_with_json_an_error_is_one_document_too(
    acme: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    assert execute(["acme-end", name, "--json"]) == code
    shown = capsys.readouterr()
    fault = {"kind": name, "message": "What failed.", "hint": "What to do.", "exit_code": code}
    assert json.loads(shown.out) == {"error": fault}
    assert shown.err == ""


@pytest.mark.parametrize(
    ("how", "code", "kind"),
    [
        ("interrupt", 130, "Interrupted"),
        ("full", 3, "OutputError"),
        ("forbidden", 3, "OutputError"),
        ("read-only", 3, "OutputError"),
        ("library", 6, "ToolMissing"),
        ("own-module", 1, "Bug"),
        ("bug", 1, "Bug"),
        ("child", 3, "ChildFailed"),
    ],
)
def test_other_ends(acme: Path, capsys: pytest.CaptureFixture[str], how: str, code: int, kind: str) -> None:
    assert execute(["acme-end", how, "--json"]) == code
    told = json.loads(capsys.readouterr().out)["error"]
    assert (told["kind"], told["exit_code"]) == (kind, code)


def test_a_place_that_is_not_ours_is_named(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for how, why in (("forbidden", "Permission denied"), ("read-only", "Read-only file system")):
        assert execute(["acme-end", how]) == 3
        told = capsys.readouterr().err
        assert f"Cannot use /somewhere/else: {why}." in told
        assert "bug" not in told


def test_an_interrupt_says_how_to_go_on(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["acme-end", "interrupt"]) == 130
    assert "interrupted; run the same command again to resume" in capsys.readouterr().err


def test_a_bug_says_so_and_leaves_a_log_to_report(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["acme-end", "bug"]) == 1
    told = capsys.readouterr().err
    assert "This is a bug in palmtop, not in what you gave it: ZeroDivisionError: surprise" in told
    assert "\x1b" not in told
    log = re.search(r"(/\S+palmtop-bug-\S+\.log)", told)
    assert log is not None
    text = Path(log.group()).read_text()
    assert "command: palmtop acme-end bug" in text
    assert "Traceback" in text
    assert "palmtop 0." in text


def test_a_result_is_never_followed_by_a_second_document(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["acme-end", "late", "--json"]) == 4
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"builds": 1}
    assert shown.err == "work: begin\nError: Too low.\nTry more.\n"


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ([], "the answer\n", "work: begin\na note\n"),
        (["-q"], "the answer\n", ""),
        (["-v"], "the answer\n", "work: begin\nwork: detail\na note\n"),
        (["--json", "-q"], '{\n  "answer": "inf"\n}\n', ""),
    ],
)
def test_the_common_options(
    acme: Path, capsys: pytest.CaptureFixture[str], words: list[str], out: str, err: str
) -> None:
    assert execute(["acme-end", "fine", *words]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (out, err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quantise"], "Did you mean 'quantize'?"),
        (["quantize", "m.onnx", "--recpie", "x"], "'--recipe'"),
        (["quantize", "m.onnx", "--samples", "0"], "--samples"),
        (["quantize", "m.onnx", "--scale", "1/0"], "is not a number such as"),
        (["quantize", "m.onnx", "--scale", "nan"], "is not a number such as"),
        (["quantize", "m.onnx", "--resize", "224"], "is not a height and a width"),
        (["quantize", "m.onnx", "--resize", "0,4"], "is not a height and a width"),
        (["quantize", "m.onnx", "--shape", "image"], "is not a name and a shape"),
        (["quantize", "m.onnx", "--shape", "image=1,-2"], "is not a name and a shape"),
        (["quantize", "m.onnx", "--mean", "a,b"], "is not a number such as"),
        (["quantize"], "MODEL"),
        (["verify"], "FOLDER"),
        (["verify", "builds", "--confidence", "1"], "--confidence"),
        (["predict", "m.onnx"], "--input"),
        (["doctor", "-q", "-v"], "contradict"),
        (["zzz"], "No such command 'zzz'."),
        (["--zzz"], "No such option"),
    ],
)
def test_words_that_cannot_be_taken_end_with_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "--help` says more" in shown.err
    assert execute([*words, "--json"]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_third_partys_broken_command_harms_no_other(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["acme-lost"]) == 3
    assert "cannot be loaded from no_such_module:command" in capsys.readouterr().err
    assert execute(["--help"]) == 0
    listed = capsys.readouterr().out
    assert "acme-end" in listed
    assert "cannot be loaded from no_such_module:command" in " ".join(listed.split())
    assert "Say what is installed" in listed, "our doctor stays ours"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([]) == 0
    alone = capsys.readouterr().out
    assert execute(["-h"]) == 0
    assert capsys.readouterr().out == alone
    assert "  palmtop quantize MODEL -d DATA -o builds    then with yours\n" in alone


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert re.fullmatch(r"palmtop \d+\.\d+\.\S+\n", capsys.readouterr().out)


def test_a_reader_that_goes_away_does_not_change_the_end(acme: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(acme)!r}); from toolkit.cli.main import run; run()"
    line = '"$0" -c "$1" acme-end late --json | true; echo "${PIPESTATUS[0]}"'
    finished = process.run(["bash", "-c", line, sys.executable, code], deadline_s=60)
    assert finished.stdout == "4\n"
    assert "Traceback" not in finished.stderr
    assert "Broken pipe" not in finished.stderr


def test_a_name_the_terminals_encoding_lacks_is_no_crash(tmp_path: Path) -> None:
    odd = tmp_path / "\N{HIRAGANA LETTER A}.onnx"
    finished = process.run(
        [*PALMTOP, "quantize", str(odd), "--shape", "\N{HIRAGANA LETTER A}"],
        deadline_s=60,
        env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert finished.code == 2
    assert "\\u3042" in finished.stderr


def test_a_real_interrupt_ends_with_130_and_no_trace(acme: Path) -> None:
    (acme / "acme_commands.py").write_text(
        "import os, click\n"
        "from toolkit.cli.options import common_options\n"
        "from toolkit.core.clock import SystemClock\n"
        "@click.command()\n@common_options\n"
        "def end(console):\n    console.note(f'pid {os.getpid()}')\n"
        "    print(os.getpid(), flush=True)\n    SystemClock().sleep(60)\n"
    )
    code = f"import sys; sys.path.insert(0, {str(acme)!r}); from toolkit.cli.main import run; run()"

    def interrupt(line: str) -> None:
        if line.isdigit():
            threading.Timer(0.3, os.kill, (int(line), signal.SIGINT)).start()

    finished = process.run([sys.executable, "-c", code, "acme-end"], deadline_s=60, on_line=interrupt)
    assert finished.code == 130
    assert "interrupted; run the same command again" in finished.stderr
    assert "Traceback" not in finished.stderr


CONVERTING = """
import core_jobs, click
from pathlib import Path
from toolkit.cli.options import common_options
from toolkit.core.isolation import isolate
from toolkit.core.store import staged_folder

@click.command()
@click.argument("place", type=Path)
@common_options
def end(console, place):
    with staged_folder(place / "builds"):
        isolate(console.tools(), 600, core_jobs.hang, place / "pids")
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_ended_takes_its_converters_and_half_made_folders_along(
    acme: Path, tmp_path: Path, by: signal.Signals
) -> None:
    (acme / "acme_commands.py").write_text(CONVERTING)
    place = tmp_path / "place"
    place.mkdir()
    code = f"import sys; sys.path.insert(0, {str(acme)!r}); from toolkit.cli.main import run; run()"
    with tempfile.TemporaryFile() as errors_file:
        argv = [sys.executable, "-c", code, "acme-end", str(place)]
        with process.start(argv, stderr_fd=errors_file.fileno()) as child:
            note = place / "pids"
            assert comes_true(lambda: note.is_file() and " " in note.read_text())
            pids = [int(pid) for pid in note.read_text().split()]
            assert [path.name for path in place.glob(".builds.partial-*")]
            os.kill(child.pid, by)
            assert child.wait(30) == 128 + by
        errors_file.seek(0)
        told = errors_file.read().decode()
    assert comes_true(lambda: not any(alive(pid) for pid in pids))
    assert [path.name for path in place.iterdir()] == ["pids"]
    assert "run the same command again to resume" in told
    assert "Traceback" not in told


def test_a_hangup_that_is_ignored_stays_ignored(acme: Path) -> None:
    (acme / "acme_commands.py").write_text(
        "import os, signal, click\n@click.command()\ndef end():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n    click.echo('went on')\n"
    )
    code = f"import sys; sys.path.insert(0, {str(acme)!r}); from toolkit.cli.main import run; run()"
    finished = process.run(["nohup", sys.executable, "-c", code, "acme-end"], deadline_s=60)
    assert (finished.code, finished.stdout) == (0, "went on\n")


def comes_true(check: Callable[[], bool], within_s: float = 30) -> bool:
    until = time.monotonic() + within_s
    while not check() and time.monotonic() < until:
        threading.Event().wait(0.05)
    return check()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
