"""``palmtop report`` finds a run and writes it in the format that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import compared_samples as compared
import pytest
import report_samples as samples

from mobile_harness.history import History
from toolkit.cli.main import execute
from toolkit.core import codec


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(codec.pretty(samples.demo_run()), encoding="utf-8")
    return path


def test_an_exported_run_is_shown_as_text(exported: Path, capsys: pytest.CaptureFixture[str]):
    assert execute(["report", str(exported)]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith("digits: run 20261122-1010-5f2a")
    assert "Ship static-int8" in shown


def test_the_latest_run_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "history.sqlite"))
    History(f"sqlite:///{tmp_path / 'history.sqlite'}").create(samples.demo_run())

    assert execute(["report", "latest", "-f", "csv"]) == 0

    assert capsys.readouterr().out.startswith("run,device,kind,build")


def test_json_is_the_document(exported: Path, capsys: pytest.CaptureFixture[str]):
    assert execute(["report", str(exported), "--json"]) == 0

    plain = json.loads(capsys.readouterr().out)
    assert (plain["schema"], plain["run_id"], len(plain["rows"])) == (1, "20261122-1010-5f2a", 6)


STARTS = {"html": "<!doctype html>", "md": "### digits", "json": "{", "xml": "<?xml", "csv": "run,", "txt": "digits: "}


@pytest.mark.parametrize(("ending", "start"), STARTS.items())
def test_the_ending_of_the_file_says_the_format(exported: Path, tmp_path: Path, ending: str, start: str):
    out = tmp_path / "new" / f"out.{ending}"

    assert execute(["report", str(exported), "-o", str(out)]) == 0

    assert out.read_text(encoding="utf-8").startswith(start)


def test_a_written_report_is_named_on_stdout(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "report"

    assert execute(["report", str(exported), "-f", "markdown", "-o", str(out)]) == 0

    assert capsys.readouterr().out == f"{out}\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["-f", "htm"], 3, "Did you mean 'html'?"),
        (["-o", "report.pdf"], 2, "No report format has files like report.pdf"),
        (["-o", "/proc/nowhere/report.txt"], 3, "Cannot write to"),
    ],
)
def test_wrong_words_say_what_would_be_right(
    exported: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
):
    assert execute(["report", str(exported), *words]) == code

    assert says in capsys.readouterr().err


def test_a_file_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "other.json"
    path.write_text('{"schema": 1}', encoding="utf-8")

    assert execute(["report", str(path)]) == 3
    assert "history export" in capsys.readouterr().err


def test_an_unknown_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "history.sqlite"))

    assert execute(["report", "2026"]) == 3
    assert "No runs are stored at" in capsys.readouterr().err


@pytest.mark.parametrize(("ending", "start"), [*STARTS.items()])
def test_a_comparison_and_a_trend_have_the_same_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, start: str
):
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "history.sqlite"))
    store = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    store.create(samples.demo_run())
    store.create(compared.head_of(samples.demo_run(), (1.0,)))
    out, trend = tmp_path / f"out.{ending}", tmp_path / f"trend.{ending}"

    assert execute(["compare", "latest~1", "latest", "-o", str(out)]) == 0
    assert execute(["history", "trend", "tflite-static-int8", "-o", str(trend)]) == 0

    words = {"md": "### Equivalent", "csv": "base,head,", "txt": "Equivalent: "}
    assert out.read_text(encoding="utf-8").startswith(words.get(ending, start))
    words = {"md": "### tflite-static-int8", "csv": "model,build,", "txt": "digits: tflite-static-int8 on host"}
    assert trend.read_text(encoding="utf-8").startswith(words.get(ending, start))
