from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "comparer"))

from comparison_records import HOST, STEADY, cell, run, times

from mobile_harness.history import History
from mobile_harness.records import Cell, RunRecord
from toolkit.cli.main import execute
from toolkit.core import codec


def of(run_id: str, *cells: Cell) -> RunRecord:
    from dataclasses import replace

    minute = run_id[11:13]
    mine = [replace(one, run_id=run_id) for one in cells]
    return run(mine, id=run_id, created_utc=f"2026-11-23T00:{minute}:00Z")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "h.sqlite"))
    kept = History(f"sqlite:///{tmp_path / 'h.sqlite'}")
    kept.create(of("20261123-0040-aaaa", cell(STEADY)))
    kept.create(of("20261123-0041-aaaa", cell(times(STEADY, 1.2))))
    kept.create(of("20261123-0042-aaaa", cell(times(STEADY, 1.2)), cell(STEADY, device=HOST)))
    return tmp_path


def test_a_regression_fails_the_gate_and_nothing_else_does(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["compare", "latest~2", "latest~1"]) == 0
    assert "▲ regressed" in capsys.readouterr().out
    assert execute(["compare", "latest~2", "latest~1", "--gate"]) == 4
    printed = capsys.readouterr()
    assert "Gate fails: onnx-static-int8@adb:R5CT (latency)." in printed.out
    assert "1 of 1 changes regressed" in printed.err
    assert execute(["compare", "latest~1", "latest", "--gate"]) == 0
    assert execute(["compare", "latest~1", "latest~2", "--gate"]) == 0
    assert "▼ improved" in capsys.readouterr().out


def test_json_is_the_comparison_and_the_gate_still_fails(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["compare", "latest~2", "latest~1", "--gate", "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert (shown["schema"], shown["verdict"], shown["gate"]["failed"]) == (1, "regressed", True)
    assert execute(["compare", "latest~2", "latest~1", "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"][0]["changes"][0]["metric"] == "latency"


def test_files_are_compared_and_written(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "base.json").write_text(codec.pretty(of("20261123-0030-aaaa", cell(STEADY))))
    assert execute(["compare", "base.json", "20261123-0041", "-o", "c.md"]) == 0
    assert "| 🔺 regressed |" in (store / "c.md").read_text(encoding="utf-8")
    assert "c.md" in capsys.readouterr().out
    assert execute(["compare", "base.json", "latest", "-o", "c.json"]) == 0
    assert json.loads((store / "c.json").read_text())["head"]["id"] == "20261123-0042-aaaa"
    assert execute(["compare", "base.json", "latest", "-o", "c.docx"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["latest", "nosuch"], 3, "Unknown run 'nosuch'"),
        (["latest", "latest~9"], 3, "There is no run latest~9"),
        (["latest", "none.json"], 3, "none.json"),
        (["latest", "latest", "--margin", "0"], 3, "margin of 0"),
        (["latest", "latest", "--gate-kind", "fone"], 3, "Did you mean 'phone'"),
        (["latest", "latest", "--allow", "thread"], 3, "Did you mean 'threads'"),
        (["latest"], 2, "HEAD"),
    ],
)
def test_what_cannot_be_compared_is_explained(
    words: list[str], code: int, said: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["compare", *words]) == code
    assert said in capsys.readouterr().err


def test_a_build_is_followed_over_the_runs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["history", "trend", "onnx-static-int8", "--device", "adb:R5CT"]) == 0
    shown = capsys.readouterr().out
    assert [line[9:13] for line in shown.splitlines() if line.startswith("2026")] == ["0040", "0041", "0042"]
    assert execute(["history", "trend", "onnx-static-int8", "--json"]) == 0
    assert [len(one["points"]) for one in json.loads(capsys.readouterr().out)["trends"]] == [3, 1]
    assert execute(["history", "trend", "onnx-static-in"]) == 3
    assert "Did you mean 'onnx-static-int8'" in capsys.readouterr().err


def test_a_sound_history_is_said_to_be_one(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["history", "check"]) == 0
    assert capsys.readouterr().out == "3 runs read.\n"
