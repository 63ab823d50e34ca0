"""Matrices over virtual devices that fail as phones do: what is repeated, who is set aside, and who must not suffer."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_builds import make_folder

from mobile_harness import bench, plans
from mobile_harness.matrix import DeviceNews, retry
from mobile_harness.records import RunRecord
from mobile_harness.transports import _adb_device, _adb_trouble
from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.farm import Farm
from toolkit.core.events import Event
from toolkit.core.tools import Tools

FIVE = ("float32", "float16", "static-int8", "dynamic-int8", "weight-int8")
Start = Callable[..., Farm]

pytestmark = pytest.mark.usefixtures("brief")


@pytest.fixture
def five(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    return make_folder(tools, onnx_model, tmp_path / "five", FIVE)


@pytest.fixture
def three(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    return make_folder(tools, onnx_model, tmp_path / "three", FIVE[:3])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for devices that are gone as often, but not as long as in a lab with phones."""
    monkeypatch.setattr(_adb_trouble, "BACK_S", 0.5)
    monkeypatch.setattr(_adb_device, "STOP_BACK_S", 0.3)
    monkeypatch.setattr(retry, "BACK_PAUSES_S", (0.2, 0.2))
    monkeypatch.setattr(retry, "SECOND_PAUSES_S", (0.2, 0.2))


def measured(
    folder: Path, tools: Tools, tmp_path: Path, hear: Callable[[Event], None] = lambda event: None
) -> RunRecord:
    request = bench.BenchRequest(folder=folder, devices=("virtual",), store=str(tmp_path / "h.sqlite"))
    listening = Tools(run=tools.run, emit=hear, clock=tools.clock, store=tools.store)
    return bench.bench(request, listening)


def ends(record: RunRecord, serial: str) -> list[tuple[str, str]]:
    cells = [cell for cell in record.cells if cell.device.serial == serial]
    return [(cell.outcome, cell.failure.kind if cell.failure else "") for cell in cells]


@pytest.mark.usefixtures("hasty")
def test_a_phone_that_goes_away_costs_its_own_cells_and_no_time(
    start: Start, three: Path, tools: Tools, tmp_path: Path
) -> None:
    farm = start(2)
    gone_s: list[float] = []
    told: list[Event] = []

    def hear(event: Event) -> None:
        told.append(event)
        if isinstance(event, DeviceNews) and event.device == "adb:virtual-0" and event.tally.taken == 1 and not gone_s:
            gone_s.append(time.monotonic())
            farm.call(farm[0].stop())

    record = measured(three, tools, tmp_path, hear)
    ended_s = time.monotonic()
    assert ends(record, "virtual-1") == [("measured", "")] * 3
    lost = Counter(ends(record, "virtual-0"))
    assert lost == {("failed", "lost"): 1, ("skipped", "quarantined"): 2}
    words = next(cell.failure for cell in record.cells if cell.failure and cell.failure.kind == "quarantined")
    assert words.message.startswith("adb:virtual-0 was set aside: it failed")
    assert "resume the run" in words.hint
    assert sum(len(cell.sessions) for cell in record.cells if cell.device.serial == "virtual-0") == 1
    assert any("looked for again" in event.message for event in told)
    assert ended_s - gone_s[0] < 150


@pytest.mark.usefixtures("hasty")
def test_a_device_that_is_full_is_set_aside_after_a_second_chance(
    start: Start, five: Path, tools: Tools, tmp_path: Path
) -> None:
    start(1, {0: [faults.StorageFull(free_bytes=0)]})
    record = measured(five, tools, tmp_path)
    assert ends(record, "virtual-0") == [("failed", "storage")] * 4 + [("skipped", "quarantined")]
    last = record.cells[-1].failure
    assert last is not None
    assert "Last: " in last.message


def test_a_cable_that_comes_out_for_a_moment_costs_a_repetition(
    start: Start, folder: Path, tools: Tools, tmp_path: Path
) -> None:
    farm = start(1, {0: [faults.Drop(on="am instrument", after_s=0.2), faults.DropMidPush(after_bytes=500)]})
    told: list[Event] = []
    record = measured(folder, tools, tmp_path, told.append)
    assert ends(record, "virtual-0") == [("measured", "")] * 2
    assert {item.fault for item in farm.log.events()} == {"drop", "drop_mid_push"}


def test_a_bug_met_on_one_device_is_that_device_s_alone(
    start: Start, folder: Path, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(2)
    whole = _adb_device.AdbDevice.launch

    def launch(device: _adb_device.AdbDevice, job: object) -> None:
        if device.info.serial == "virtual-0":
            raise ZeroDivisionError("nobody foresaw this")
        whole(device, job)  # type: ignore[arg-type]

    monkeypatch.setattr(_adb_device.AdbDevice, "launch", launch)
    told: list[Event] = []
    record = measured(folder, tools, tmp_path, told.append)
    assert ends(record, "virtual-0") == [("failed", "internal")] * 2
    assert ends(record, "virtual-1") == [("measured", "")] * 2
    failure = record.cells[0].failure
    assert failure is not None
    assert "ZeroDivisionError: nobody foresaw this" in failure.message
    assert any("Traceback" in event.message for event in told if event.level == "debug")


def random_faults(rate: float) -> dict[int | None, list[faults.Fault]]:
    return {None: list(faults.mixture(rate))}


def check_matrix(record: RunRecord, cells: int) -> Counter[str]:
    """Every cell ended: with all the sessions of its plan and figures, or with a reason and what to do about it."""
    assert len(record.cells) == cells
    for cell in record.cells:
        if cell.outcome == "measured":
            assert [session.index for session in cell.sessions] == list(range(cell.plan.sessions))
            assert cell.failure is None
        else:
            assert cell.failure is not None
            assert cell.failure.kind != "interrupted"
            assert cell.failure.message
        assert cell.ended_utc
    return Counter(cell.failure.kind if cell.failure else "measured" for cell in record.cells)


@pytest.mark.slow
def test_a_matrix_with_random_faults_ends_with_every_cell_measured_or_explained(
    start: Start, tools: Tools, onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plans.PLANS, "quick", dataclasses.replace(plans.load("quick"), sessions=1))
    folder = make_folder(tools, onnx_model, tmp_path / "six", (*FIVE, "mixed-int8"))
    farm = start(4, random_faults(0.2), seed=5)
    counts = check_matrix(measured(folder, tools, tmp_path), 24)
    assert farm.log.events(), "nothing struck: the seed proves nothing"
    assert counts["measured"] >= 18


@pytest.mark.slow
def test_two_hundred_cells_with_random_faults(start: Start, tools: Tools, onnx_model: Path, tmp_path: Path) -> None:
    names = tuple(f"recipe-{number}" for number in range(25))
    folder = make_folder(tools, onnx_model, tmp_path / "many", names)
    farm = start(8, random_faults(0.2), seed=3)
    began_s = time.monotonic()
    counts = check_matrix(measured(folder, tools, tmp_path), 200)
    struck = Counter(event.fault for event in farm.log.events())
    words = f"200 cells in {time.monotonic() - began_s:.0f} s: {dict(counts)}; struck: {dict(struck)}"
    (tmp_path / "counts.txt").write_text(words)
    assert sum(struck.values()) >= 40
    assert counts["measured"] >= 150
