"""Virtual devices behind a private adb server, for matrices measured in this process or in one of their own."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from adb_lab import PrivateServer, private_server, use, write_app
from bench_builds import make_folder

from mobile_harness import plans
from mobile_harness.records import RunPlan
from mobile_harness.virtual_device.farm import Farm, start_farm
from mobile_harness.virtual_device.faults import Fault
from toolkit.core.tools import Tools

BRIEF: RunPlan = dataclasses.replace(
    plans.load("quick"), warmup_min_s=0.02, warmup_max_s=0.1, min_seconds=0.05, max_seconds=1.0, min_runs=30, sessions=2
)
Start = Callable[..., Farm]


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    with private_server(tmp_path_factory.mktemp("adb-home")) as server:
        yield server


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("app"))


@pytest.fixture
def start(adb_server: PrivateServer, app: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start connected devices with faults planned, and point this process and its children at them."""
    use(monkeypatch, adb_server, app)
    running: list[Farm] = []

    def begin(count: int, faults: Mapping[int | None, Iterable[Fault]] | None = None, *, seed: int = 0) -> Farm:
        farm = start_farm(count, faults=faults, seed=seed)
        running.append(farm)
        adb_server.take(farm)
        return farm

    yield begin
    problems = [problem for farm in running for problem in farm.problems()]
    for farm in running:
        for device in farm.devices:
            adb_server.adb("disconnect", device.address)
        farm.stop()
    assert problems == []


@pytest.fixture
def folder(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    """Two builds of a tiny net."""
    return make_folder(tools, onnx_model, tmp_path / "builds")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    """A plan that takes no time, under the name of the quick one."""
    monkeypatch.setitem(plans.PLANS, "quick", BRIEF)
    return BRIEF


PALMTOP = """
import dataclasses, sys
from mobile_harness import plans
changes = {changes!r}
plans.PLANS["quick"] = dataclasses.replace(plans.load("quick"), **changes)
from toolkit.cli.main import run
run()
"""


@pytest.fixture
def palmtop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return the words that start a real ``palmtop`` with a shorter quick plan; its history is the test's own."""
    monkeypatch.setenv("PALMTOP_STORE", str(tmp_path / "history.sqlite"))
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    os.environ.pop("PALMTOP_PLAN", None)

    def words(*arguments: object, **changes: object) -> list[str]:
        names = ("warmup_min_s", "warmup_max_s", "min_seconds", "max_seconds", "min_runs", "sessions")
        plan = {name: getattr(BRIEF, name) for name in names} | changes
        return [sys.executable, "-c", PALMTOP.format(changes=plan), *map(str, arguments)]

    return words
