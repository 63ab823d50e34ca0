"""``palmtop demo``: its errors at once, and the whole way from a demo to its reports with real builds and sessions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from bench_builds import make_folder, scripted

from mobile_harness import plans
from mobile_harness.cli import _demo_run, _journey, demo
from mobile_harness.cli._demo_run import DemoOutcome, DemoRequest, failures, run_demo
from mobile_harness.history import NOT_YET, History, locate
from mobile_harness.records import Failure, RunRecord
from mobile_harness.transports.base import Found
from toolkit.cli.main import execute
from toolkit.core import codec, manifest
from toolkit.core.tools import Tools
from toolkit.demos._folder import lay_out

TWINS = """
from pathlib import Path
from toolkit.core.artifacts import Blob, Preprocess
from toolkit.core.events import Emit
from toolkit.core.store import blob_of, copy_blob
from toolkit.demos._project import DemoModel, DemoProject

SUMMARY = "One network under two names."
PACKAGES = ("keras",)

def prepare(out: Path, emit: Emit) -> DemoProject:
    def model(name: str) -> DemoModel:
        def copied(source: str) -> Blob:
            return copy_blob(blob_of(Path(source)), out / name / Path(source).name)

        return DemoModel(
            name=name, model=copied({model!r}), calibration=copied({data!r}), labelled=copied({data!r}),
            output=None, metric="top1", preprocess=Preprocess(colour="gray"), notes=("Both are equal.",),
        )

    return DemoProject(name="twins", summary=SUMMARY, models=(model("castor"), model("pollux")))
"""


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras_model: Path, shapes_npz: Path) -> None:
    """A demo of a third party as pip would leave it: a module on the path, and an entry point that names it."""
    site = tmp_path / "site"
    info = site / "twins_demo-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "twins_demo.py").write_text(TWINS.format(model=str(keras_model), data=str(shapes_npz)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: twins-demo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[palmtop.demos]\ntwins = twins_demo\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "history.sqlite"))


def test_help_names_the_demos_and_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["demo", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "palmtop demo faces -o try-faces" in shown
    assert "digits" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digit"], "Did you mean 'digits'"),
        (["digits", "--plan", "quik"], "Did you mean 'quick'"),
        (["_project"], "Unknown demo '_project'"),
    ],
)
def test_a_wrong_word_is_told_before_anything_is_written(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["demo", *words]) == 3
    assert said in capsys.readouterr().err
    assert not list(Path("palmtop-demo").rglob("*"))


def test_a_folder_with_something_else_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert execute(["demo", "-o", str(tmp_path), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "OutputError"
    assert "not empty" in error["message"]


def _host(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr("mobile_harness.transports.host.discover", lambda tools: Found(devices=(scripted(mode),)))


def _interrupted(store: History, whole: RunRecord) -> RunRecord:
    """Put a run beside a whole one that is like it, but stopped after the first session of each build."""
    name = "20990101-0000-00ff"
    cells = tuple(
        dataclasses.replace(
            cell, run_id=name, outcome="skipped", failure=NOT_YET, doubts=(), sessions=cell.sessions[:1]
        )
        for cell in whole.cells
    )
    record = dataclasses.replace(whole, id=name, created_utc="2099-01-01T00:00:00Z", cells=cells)
    store.create(record)
    return record


def test_the_same_command_again_goes_on_with_an_interrupted_measurement(
    tools: Tools, onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "history.sqlite")
    monkeypatch.setenv("PALMTOP_STORE", path)
    monkeypatch.setitem(
        plans.PLANS, "quick", dataclasses.replace(plans.load("quick"), min_runs=40, session_deadline_s=60)
    )
    _host(monkeypatch, "ok")
    builds = make_folder(tools, onnx_model, tmp_path / "builds")
    request = DemoRequest(name="twins", out=tmp_path, devices=("host",))
    whole = _journey.measure(builds, request, tools)
    assert _journey.unfinished(builds, request, tools) is None  # nothing is left to do, so the next run is a new one
    half = _interrupted(History(locate(path)), whole)

    assert _journey.unfinished(builds, dataclasses.replace(request, plan="standard"), tools) is None
    other = manifest.read(builds)
    manifest.write(builds, dataclasses.replace(other, inputs_key="other"))
    assert _journey.unfinished(builds, request, tools) is None
    manifest.write(builds, other)

    done = _journey.measure(builds, request, tools)
    assert done.id == half.id
    assert {cell.outcome for cell in done.cells} == {"measured"}
    assert [cell.sessions[0] for cell in done.cells] == [cell.sessions[0] for cell in half.cells]
    assert [len(cell.sessions) for cell in done.cells] == [3, 3]


@pytest.mark.slow
@pytest.mark.usefixtures("twins")
def test_the_main_job_from_model_to_reports(tools: Tools, tmp_path: Path) -> None:
    out = tmp_path / "out"
    request = DemoRequest(name="twins", out=out, devices=("host",), targets=("onnx",), recipes=("weight-int8",))
    made = _interrupted_after_the_first_build(request, tools)
    outcome = run_demo(request, tools)
    assert (out / "castor" / "builds" / "onnx-weight-int8.onnx").stat().st_mtime_ns == made
    _check_files(outcome)
    _check_figures(outcome)
    _check_pages(outcome)
    _check_that_stale_builds_are_set_aside(request, tools)


def _check_that_stale_builds_are_set_aside(request: DemoRequest, tools: Tools) -> None:
    folder = request.out / "castor"
    stale = folder / "builds" / "build.json"
    text = stale.read_text(encoding="utf-8")
    key = json.loads(text)["inputs_key"]
    stale.write_text(text.replace(key, "of-another-palmtop"), encoding="utf-8")
    model = lay_out(request.name, request.out, tools).models[0]
    _demo_run.quantize(model, folder, request, tools)
    assert json.loads(stale.read_text(encoding="utf-8"))["inputs_key"] == key
    (aside,) = folder.glob("builds-*")
    assert "of-another-palmtop" in (aside / "build.json").read_text(encoding="utf-8")


def _interrupted_after_the_first_build(request: DemoRequest, tools: Tools) -> int:
    """Leave the folder as a run that was stopped there; return when the build was written."""
    project = lay_out(request.name, request.out, tools)
    _demo_run.quantize(project.models[0], request.out / "castor", request, tools)
    return (request.out / "castor" / "builds" / "onnx-weight-int8.onnx").stat().st_mtime_ns


def _check_files(outcome: DemoOutcome) -> None:
    assert [model.folder.name for model in outcome.models] == ["castor", "pollux"]
    for model in outcome.models:
        assert {kind: path.name for kind, path in model.reports.items()} == {
            "html": "report.html",
            "markdown": "report.md",
            "json": "report.json",
        }
        assert "<html" in model.reports["html"].read_text(encoding="utf-8")
        assert json.loads(model.reports["json"].read_text(encoding="utf-8"))["run_id"] == model.document.run_id


def _check_figures(outcome: DemoOutcome) -> None:
    for model in outcome.models:
        (row,) = model.document.rows
        assert (row.build_id, row.outcome) == ("onnx-weight-int8", "measured")
        assert row.device is not None
        assert row.device.kind == "host"
        assert row.performance is not None
        assert row.performance.median_ns > 0
        assert row.accuracy is not None
        assert row.accuracy.samples == 96
    assert failures(outcome) is None


def _check_pages(outcome: DemoOutcome) -> None:
    assert outcome.summary == outcome.last_path == outcome.folder / "summary.md"
    summary = outcome.last_path.read_text(encoding="utf-8")
    assert "(castor/report.html)" in summary
    assert "(pollux/report.html)" in summary
    page = demo._page(outcome)
    assert page.splitlines()[-1] == str(outcome.last_path)
    assert "Both are equal." in page
    assert json.loads(codec.pretty(outcome))["models"][0]["document"]["run_id"] == outcome.models[0].document.run_id
    single = dataclasses.replace(outcome, models=outcome.models[:1], summary=None)
    assert demo._page(single).splitlines()[-1] == str(outcome.folder / "castor" / "report.html")
    model = outcome.models[0]
    broken = dataclasses.replace(
        model.document.rows[0], outcome="failed", failure=Failure(kind="app_crash", message="it fell over")
    )
    document = dataclasses.replace(model.document, rows=(broken,))
    fault = failures(dataclasses.replace(outcome, models=(dataclasses.replace(model, document=document),)))
    assert fault is not None
    assert fault.exit_code == 5
    assert "castor: onnx-weight-int8" in fault.message
    assert "it fell over" in fault.message


def test_the_usual_request_is_for_every_runtime_and_the_usual_folder() -> None:
    made = demo._request(name="faces", out=None, devices=(), plan="quick")
    assert made.out == Path("palmtop-demo") / "faces"
    assert made.targets == _demo_run.TARGETS == ("tflite", "onnx", "coreml")
    assert made.recipes == ("float32", "static-int8", "weight-int8")
