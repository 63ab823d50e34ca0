"""The commands as a user types them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from bench_builds import SHORT, make_folder, scripted

from mobile_harness import bench as benching
from mobile_harness import plans
from mobile_harness.transports.base import Found
from toolkit.cli.main import execute
from toolkit.core.tools import Tools


@pytest.fixture
def folder(tools: Tools, onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick = dataclasses.replace(plans.load("quick"), warmup_min_s=0.05, warmup_max_s=0.2, min_seconds=0.1, min_runs=40)
    monkeypatch.setitem(plans.PLANS, "quick", quick)
    monkeypatch.setattr(benching, "Limits", lambda: SHORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")  # temporary paths are long, and tables wrap
    (tmp_path / ".palmtop").mkdir()  # a project of its own, whatever lies further up
    return make_folder(tools, onnx_model, tmp_path / "builds", ("float32",))


def runners(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    found = Found(devices=(scripted(mode),))
    monkeypatch.setattr("mobile_harness.transports.host.discover", lambda tools: found)


def test_bench_prints_the_table_and_how_to_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["bench", "builds", "-q"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "[host]" in said.out
    run = next((folder.parent / ".palmtop").glob("history.sqlite"))
    assert run.is_file()
    last = said.out.strip().splitlines()[-1]
    assert last.startswith("The whole report: palmtop report 2")
    assert execute(last.split(": palmtop ")[1].split()) == 0
    assert (folder.parent / "report.html").is_file()


def test_a_run_travels_by_export_and_import(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runners(monkeypatch, "ok")
    assert execute(["bench", "builds", "--json", "-q"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["cells"][0]["outcome"]) == (1, "measured")
    assert execute(["history", "export", "latest", "-o", "run.json"]) == 0
    assert execute(["history", "export", "latest", "-o", "run.json"]) == 3
    assert json.loads(Path("run.json").read_text()) == record
    capsys.readouterr()
    assert execute(["history", "export", record["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == record
    monkeypatch.setenv("PALMTOP_STORE", str(folder.parent / "other.sqlite"))
    assert execute(["history"]) == 0
    assert "No runs are stored yet" in capsys.readouterr().out

    assert execute(["history", "import", "run.json"]) == 0
    assert execute(["history", "import", "run.json"]) == 3
    capsys.readouterr()
    assert execute(["history", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["id"], run["measured"], run["cells"], run["complete"]) == (record["id"], 1, 1, True)
    assert execute(["history"]) == 0
    assert "1 of 1 measured" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["history", "export", "latest"], ["report", "latest"], ["compare", "a", "b"]])
def test_who_only_reads_makes_no_history(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "other" / "history.sqlite"))
    assert execute(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 0
    assert execute(words) == 3
    assert "No runs are stored at" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_cells_that_fail_end_with_code_five_and_how_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runners(monkeypatch, "error")
    assert execute(["bench", "builds", "-q"]) == 5
    said = capsys.readouterr()
    assert "Frobnicate" in said.err
    assert "--resume 2" in said.err
    assert "[host]" in said.out or "onnx-float32" in said.out
    assert execute(["bench", "builds", "--json", "-q"]) == 5
    said = capsys.readouterr()
    assert json.loads(said.out)["cells"][0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["bench", "none"], 3, "holds no build.json"),
        (["bench", "builds", "--plan", "quik"], 3, "Did you mean 'quick'"),
        (["bench", "builds", "--device", "hots"], 3, "Did you mean 'host'"),
        (["bench", "builds", "--resume", "x", "--plan", "quick"], 2, "leave out --plan"),
        (["bench", "builds", "--resume", "x", "--device", "host"], 2, "leave out --device"),
        (["bench"], 2, "DIR"),
        (["history", "export", "nothing"], 3, "No runs are stored at"),
        (["history", "import", "none.json"], 3, "Cannot read"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_words_that_cannot_be_taken_say_so(
    words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words) == code
    assert says in capsys.readouterr().err


def test_devices_lists_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices"]) == 0
    assert "host:" in capsys.readouterr().out
    assert execute(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["devices"][0]["kind"]) == (1, "host")


@pytest.mark.parametrize("name", ["bench", "devices", "history"])
def test_each_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([name, "--help"]) == 0
    assert f"palmtop {name}" in capsys.readouterr().out.split("Example:")[1]
