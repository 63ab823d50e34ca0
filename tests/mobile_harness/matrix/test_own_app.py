"""``palmtop bench --app``: the app of a generated project is installed on the device and does the measuring."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_lab import write_app
from bench_builds import make_folder

from mobile_harness.virtual_device.farm import Farm
from toolkit.apps import placed, project, tree
from toolkit.apps.contract import Request
from toolkit.apps.project import Wish
from toolkit.cli.main import execute
from toolkit.core.tools import Tools

pytestmark = pytest.mark.usefixtures("brief")


def test_the_built_app_is_installed_and_measures(
    start: Callable[..., Farm],
    tools: Tools,
    onnx_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    farm = start(1)
    builds = make_folder(tools, onnx_model, tmp_path / "builds", ("static-int8",))
    wish = Wish(
        platform="android", build=Request(folder=builds, target="onnx"), name="Strokes", id="com.example.strokes"
    )
    app = tmp_path / "app"
    project.create(project.design(tree.shipped("android"), wish), app, tools)
    words = ["bench", str(builds), "--device", "virtual", "--app", str(app), "--store", str(tmp_path / "h.sqlite")]
    monkeypatch.setenv("PALMTOP_APP_ONNX", "")

    assert execute(words) == 3
    assert "--variant bench" in capsys.readouterr().err

    apk = app / "app/build/outputs/apk/bench/app-bench.apk"
    apk.parent.mkdir(parents=True)
    package, runner = "com.example.strokes.bench", "com.example.strokes.BenchInstrumentation"
    (tmp_path / "made").mkdir()
    write_app(tmp_path / "made", package=package, runner=runner, targets=("onnx",)).rename(apk)
    assert placed.bench_app(app).artefacts == (apk,)
    assert execute([*words, "--json"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert (cell["outcome"], cell["runner"], len(cell["sessions"])) == ("measured", "app", cell["plan"]["sessions"])
    assert farm[0].system.packages[package].parts == ("0.apk",)
