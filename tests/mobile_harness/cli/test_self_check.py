from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import bench_builds
import pytest

from mobile_harness import plans
from mobile_harness.history import History
from toolkit.cli.main import execute
from toolkit.core.tools import Tools


def test_twice_the_sessions_are_taken_by_turns_and_kept_as_one_run(
    tools: Tools, onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = plans.PLANS["quick"]
    short = dataclasses.replace(quick, sessions=2, warmup_min_s=0.0, warmup_min_runs=2, warmup_max_s=0.1, min_runs=10)
    short = dataclasses.replace(short, min_seconds=0.0, max_seconds=2.0, cooldown_max_s=0.0)
    monkeypatch.setitem(plans.PLANS, "quick", short)
    monkeypatch.chdir(tmp_path)
    folder = bench_builds.make_folder(tools, onnx_model, tmp_path / "builds", ("float32",))
    place = str(tmp_path / "h.sqlite")
    words = ["bench", str(folder), "--device", "host", "--store", place]
    assert execute([*words, "--self-check", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    (floor,) = shown["floors"]
    assert (floor["build_id"], floor["device"]["kind"]) == ("onnx-float32", "host")
    assert (floor["sessions_before"], floor["sessions_after"]) == (2, 2)
    assert floor["detectable"] > 0
    store = History(f"sqlite:///{place}")
    assert [shown["base"]["id"]] == [shown["head"]["id"]] == [run.id for run in store.runs()]
    (cell,) = store.read("latest").cells
    assert [session.index for session in cell.sessions] == [0, 1, 2, 3]
    assert execute([*words[:2], "--resume", "x", "--self-check"]) == 2
