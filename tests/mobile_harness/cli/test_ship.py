"""``palmtop ship``: the whole way on a real small model, and again from where it stopped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mobile_harness.cli import _ship_run
from mobile_harness.cli._ship_run import ShipOutcome
from toolkit.cli.main import execute
from toolkit.core import manifest
from toolkit.core.errors import GateFailed, SomeFailed
from toolkit.core.manifest import FailedBuild, Manifest


@pytest.fixture(scope="module")
def shipped(onnx_model: Path, noise_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose palmtop.toml says everything, taken through once."""
    folder = tmp_path_factory.mktemp("ship")
    (folder / "palmtop.toml").write_text(
        f"""
[model]
path = {json.dumps(str(onnx_model))}
[data]
calibration = {json.dumps(str(noise_npz))}
[preprocess]
layout = "nchw"
[quantize]
targets = ["onnx"]
recipes = ["float32", "static-int8"]
out = "built"
[bench]
device = ["host"]
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PALMTOP_CACHE", str(folder / "cache"))
        patch.setenv("PALMTOP_ADB_SERVERS", "none")
        assert execute(["ship", "-q"]) == 0
    return folder


def test_it_leaves_builds_with_verdicts_and_reports(shipped: Path) -> None:
    made = manifest.read(shipped / "built")
    assert [build.id for build in made.builds] == ["onnx-float32", "onnx-static-int8"]
    assert all(build.tensor_errors for build in made.builds)
    assert {path.name for path in (shipped / "built-report").iterdir()} >= {"report.html", "report.md", "report.json"}
    cells = json.loads((shipped / "built-report" / "report.json").read_text())["rows"]
    assert {row["outcome"] for row in cells} == {"measured"}


def test_a_runtime_left_without_a_build_to_ship_exits_with_4(shipped: Path) -> None:
    made = manifest.read(shipped / "built")
    outcome = _outcome(shipped)
    assert _ship_run.fault_of(outcome, made, ("static-int8",)) is None
    failing = dataclasses.replace(
        made, builds=tuple(dataclasses.replace(build, verdict="fail") for build in made.builds)
    )
    assert isinstance(_ship_run.fault_of(outcome, failing, ("float32", "static-int8")), GateFailed)
    assert _ship_run.fault_of(outcome, failing, ("float32",)) is None  # nothing quantized was asked for


def test_a_build_that_could_not_be_made_exits_with_5(shipped: Path) -> None:
    made: Manifest = dataclasses.replace(
        manifest.read(shipped / "built"), failed=(FailedBuild(target="tflite", recipe="static-int8", error="no PRELU"),)
    )
    fault = _ship_run.fault_of(_outcome(shipped), made, ("static-int8",))
    assert isinstance(fault, SomeFailed)
    assert "no PRELU" in fault.message


def test_a_wrong_plan_is_told_before_anything_is_built(
    onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["ship", str(onnx_model), "--plan", "quik", "-o", "built"]) == 3
    assert "Did you mean 'quick'" in capsys.readouterr().err
    assert not (tmp_path / "built").exists()


def _outcome(folder: Path) -> ShipOutcome:
    from mobile_harness import history
    from mobile_harness.reports._document import document_of

    store = history.History(f"sqlite:///{folder / '.palmtop' / 'history.sqlite'}")
    return ShipOutcome(builds=folder / "built", reports={}, document=document_of(store.read(store.runs()[0].id)))
