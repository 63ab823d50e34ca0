"""Whole runs: real builds on the real host runner, and matrices whose runners crash, hang or lie."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_builds import SHORT, make_folder, scripted

from mobile_harness import bench as benching
from mobile_harness import history, lab, matrix, plans
from mobile_harness.bench import BenchRequest, bench
from mobile_harness.history import NOT_YET, History
from mobile_harness.matrix import Setting, Slot
from mobile_harness.measurer.loop import Cancelled
from mobile_harness.records import Cell, RunRecord, Session
from mobile_harness.transports.base import Device, Found
from mobile_harness.transports.host import HostDevice
from toolkit.core import manifest
from toolkit.core.errors import BadInput, ModelError, SettingsError
from toolkit.core.events import Event
from toolkit.core.manifest import Manifest
from toolkit.core.tools import Tools

FAST = dataclasses.replace(
    plans.load("quick"), warmup_min_s=0.05, warmup_max_s=0.3, min_seconds=0.1, max_seconds=1.0, min_runs=40
)


@pytest.fixture
def folder(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    return make_folder(tools, onnx_model, tmp_path / "builds")


@pytest.fixture
def store(tmp_path: Path) -> History:
    return History(history.locate(str(tmp_path / "history.sqlite")))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quicker `quick`, and less patience with runners that misbehave."""
    monkeypatch.setitem(plans.PLANS, "quick", FAST)
    monkeypatch.setattr(benching, "Limits", lambda: SHORT)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the transport `host` find other devices: ours, with runners that misbehave."""

    def put(*devices: HostDevice) -> None:
        monkeypatch.setattr("mobile_harness.transports.host.discover", lambda tools: Found(devices=devices))

    return put


def listening(tools: Tools, heard: list[Event]) -> Tools:
    return dataclasses.replace(tools, emit=heard.append)


@pytest.mark.usefixtures("quick")
def test_a_run_on_this_host_is_measured_labelled_and_stored(folder: Path, tools: Tools, tmp_path: Path) -> None:
    heard: list[Event] = []
    path = str(tmp_path / "h.sqlite")
    record = bench(BenchRequest(folder=folder, store=path), listening(tools, heard))
    assert [cell.build_id for cell in record.cells] == ["onnx-float32", "onnx-static-int8"]
    for cell in record.cells:
        assert (cell.outcome, cell.failure, len(cell.sessions)) == ("measured", None, 3)
        assert cell.device.kind == "host"
        assert cell.doubts[0].kind == "on_host"
        assert "host" in cell.doubts[0].message
        assert "onnxruntime" in cell.runtime
        assert all(session.parity.ok and session.parity.samples == 3 for session in cell.sessions)
        assert all(session.peak_rss_kb > session.rss_before_load_kb > 0 for session in cell.sessions)
        assert cell.started_utc <= cell.ended_utc
    assert any("stands in" in event.message for event in heard)
    assert [event.subject for event in heard if event.phase == "done"] == [
        "onnx-float32 on host",
        "onnx-static-int8 on host",
    ]
    assert History(history.locate(path)).read(record.id) == record
    again = bench(BenchRequest(folder=folder, store=path, resume=record.id), tools)
    assert again == record


@pytest.mark.usefixtures("quick")
def test_sessions_of_builds_alternate_in_direction(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    on(scripted("ok"))
    heard: list[Event] = []
    bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), listening(tools, heard))
    order = dict.fromkeys((event.subject.split()[0], event.message[:9]) for event in heard if event.phase == "bench")
    names = [(name.removeprefix("onnx-"), words) for name, words in order]
    assert names == [
        ("float32", "session 1"), ("static-int8", "session 1"), ("static-int8", "session 2"), ("float32", "session 2"),
        ("float32", "session 3"), ("static-int8", "session 3"),
    ]  # fmt: skip


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("mode", "kind", "starts"),
    [
        ("crash", "app_crash", 4),
        pytest.param("hang", "hung", 4, marks=pytest.mark.slow),
        pytest.param("garbage", "app_crash", 4, marks=pytest.mark.slow),
        ("unequal", "parity", 2),
        ("model", "refused", 2),
    ],
)
def test_a_runner_that_fails_explains_its_cells_after_as_many_tries_as_may_help(
    mode: str, kind: str, starts: int, folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    memo = tmp_path / "memo"
    on(scripted(mode, memo))
    record = bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), tools)
    assert [(cell.outcome, cell.failure.kind if cell.failure else "") for cell in record.cells] == [
        ("failed", kind)
    ] * 2
    assert all(cell.failure and cell.failure.message and cell.failure.hint for cell in record.cells)
    assert memo.read_text() == str(starts)


@pytest.mark.usefixtures("quick")
def test_a_crash_that_passes_is_taken_once_more(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    heard: list[Event] = []
    on(scripted("flaky", tmp_path / "memo"))
    record = bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), listening(tools, heard))
    assert [cell.outcome for cell in record.cells] == ["measured", "measured"]
    (warning,) = [event for event in heard if event.level == "warning"]
    assert "SIGSEGV" in warning.message
    assert "Taken once more" in warning.message


@pytest.mark.usefixtures("quick")
def test_a_build_that_changed_on_disk_fails_only_its_own_cell(folder: Path, tools: Tools, tmp_path: Path) -> None:
    (folder / "onnx-float32.onnx").write_bytes(b"another model")
    record = bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), tools)
    assert [cell.outcome for cell in record.cells] == ["failed", "measured"]
    failure = record.cells[0].failure
    assert failure is not None
    assert (failure.kind, "palmtop quantize" in failure.hint) == ("build_changed", True)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("damage", ["gone", "cut", "text"])
def test_golden_samples_that_cannot_be_read_fail_the_cell(
    damage: str, folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    golden = folder / "golden" / "net.npz"
    if damage == "gone":
        golden.unlink()
    else:
        golden.write_bytes(golden.read_bytes()[:100] if damage == "cut" else b"text")
    if damage == "text":
        whole = manifest.read(folder)
        builds = tuple(dataclasses.replace(build, golden_sha256=None) for build in whole.builds)
        manifest.write(folder, dataclasses.replace(whole, builds=builds))
    on(scripted("ok"))
    record = bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), tools)
    assert {cell.failure.kind for cell in record.cells if cell.failure} == {"build_changed"}


@pytest.mark.usefixtures("quick")
def test_a_build_without_golden_samples_is_measured_with_a_doubt(folder: Path, tools: Tools, tmp_path: Path) -> None:
    whole = manifest.read(folder)
    build = dataclasses.replace(whole.builds[0], golden=None, golden_sha256=None)
    manifest.write(folder, dataclasses.replace(whole, builds=(build,)))
    record = bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), tools)
    (cell,) = record.cells
    assert cell.outcome == "measured"
    assert any("not checked" in doubt.message for doubt in cell.doubts)
    assert any("random inputs" in doubt.message for doubt in cell.doubts)


@pytest.mark.usefixtures("quick")
def test_a_runtime_that_changes_between_sessions_ends_the_cell(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    on(scripted("newer_runtime", tmp_path / "memo"))
    record = bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite"), builds=("onnx-float32",)), tools)
    (cell,) = record.cells
    assert cell.failure is not None
    assert "This session ran on none 1, the others of its cell on none 0" in cell.failure.message
    assert len(cell.sessions) == 1


class Stopping:
    """A sink that keeps what it gets and stops the run, as Ctrl-C does, once it has so many sessions."""

    def __init__(self, store: History, sessions: int) -> None:
        self.store = store
        self.left = sessions

    def add_session(self, run_id: str, cell_id: str, session: Session) -> None:
        self.store.add_session(run_id, cell_id, session)
        self.left -= 1
        if not self.left:
            raise Cancelled

    def save_cell(self, cell: Cell) -> None:
        self.store.save_cell(cell)


def planned(folder: Path, device: Device, run_id: str = "20261123-0041-7f3a") -> tuple[RunRecord, tuple[Slot, ...]]:
    whole: Manifest = manifest.read(folder)
    cells = tuple(matrix.plan_cell(run_id, device, build, FAST, NOT_YET) for build in whole.builds)
    record = RunRecord(
        id=run_id, palmtop="0", created_utc="2026-11-23T00:41:00Z", build_dir=str(folder), manifest=whole, plan=FAST,
        cells=cells,
    )  # fmt: skip
    return record, tuple(
        Slot(cell=cell, device=device, build=build) for cell, build in zip(cells, whole.builds, strict=True)
    )


@pytest.mark.usefixtures("quick")
def test_a_stopped_run_goes_on_and_repeats_nothing(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    memo = tmp_path / "memo"
    device = scripted("ok", memo)
    on(device)
    path = str(tmp_path / "h.sqlite")
    store = History(history.locate(path))
    record, slots = planned(folder, device)
    store.create(record)
    with pytest.raises(Cancelled):
        matrix.measure(slots, Setting(folder=folder, sink=Stopping(store, 4), limits=SHORT), tools)
    half = store.read(record.id)
    assert [len(cell.sessions) for cell in half.cells] == [2, 2]
    assert [cell.outcome for cell in half.cells] == ["skipped", "skipped"]
    assert all(cell.failure == NOT_YET for cell in half.cells)
    done = bench(BenchRequest(folder=folder, store=path, resume=record.id[:13]), tools)
    assert [(cell.outcome, len(cell.sessions)) for cell in done.cells] == [("measured", 3)] * 2
    assert memo.read_text() == "6"
    for before, after in zip(half.cells, done.cells, strict=True):
        assert after.sessions[:2] == before.sessions


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"started_utc": "2026-11-20T00:00:00Z"}, "by 1 version of palmtop"),
        ({"palmtop": "0.0.1"}, "by 2 versions of palmtop"),
        ({"started_utc": "some day"}, None),
    ],
)
def test_sessions_that_lie_apart_or_are_of_two_versions_are_doubted(
    changes: dict[str, str], said: str | None, folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    on(scripted("ok"))
    path = str(tmp_path / "h.sqlite")
    whole = bench(BenchRequest(folder=folder, store=path, builds=("onnx-float32",)), tools)
    (cell,) = whole.cells
    assert [session.palmtop for session in cell.sessions] == [whole.palmtop] * 3
    assert "resumed" not in {doubt.kind for doubt in cell.doubts}
    first = dataclasses.replace(cell.sessions[0], **changes)  # type: ignore[arg-type]
    half = dataclasses.replace(
        cell, run_id="20261123-0041-7f3a", outcome="skipped", failure=NOT_YET, doubts=(), sessions=(first,)
    )
    History(history.locate(path)).create(dataclasses.replace(whole, id=half.run_id, cells=(half,)))
    done = bench(BenchRequest(folder=folder, store=path, resume=half.run_id), tools)
    found = [doubt.message for doubt in done.cells[0].doubts if doubt.kind == "resumed"]
    assert len(done.cells[0].sessions) == 3
    assert len(found) == (said is not None)
    assert all(said in message for message in found if said)


@pytest.mark.usefixtures("quick")
def test_a_resumed_run_tries_failed_cells_again_and_refuses_other_builds(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    path = str(tmp_path / "h.sqlite")
    on(scripted("crash"))
    record = bench(BenchRequest(folder=folder, store=path), tools)
    on(scripted("ok"))
    again = bench(BenchRequest(folder=folder, store=path, resume=record.id), tools)
    assert [cell.outcome for cell in again.cells] == ["measured", "measured"]
    whole = manifest.read(folder)
    builds = tuple(dataclasses.replace(build, sha256="0" * 64) for build in whole.builds)
    manifest.write(folder, dataclasses.replace(whole, builds=builds))
    with pytest.raises(BadInput, match="is not the one of run"):
        bench(BenchRequest(folder=folder, store=path, resume=record.id), tools)


@pytest.mark.usefixtures("quick")
def test_cells_of_a_device_that_went_away_stay_explained(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    path = str(tmp_path / "h.sqlite")
    here, away = scripted("crash"), scripted("crash")
    away.info = dataclasses.replace(away.info, serial="away")
    on(here, away)
    record = bench(BenchRequest(folder=folder, store=path), tools)
    assert len(record.cells) == 4
    on(scripted("ok"))
    again = bench(BenchRequest(folder=folder, store=path, resume=record.id), tools)
    ended = {cell.id: (cell.outcome, cell.failure.kind if cell.failure else "") for cell in again.cells}
    assert ended[f"onnx-float32@host:{here.info.serial}"] == ("measured", "")
    assert ended["onnx-float32@host:away"] == ("skipped", "device_missing")
    with pytest.raises(SettingsError, match="None of the devices"):
        bench(BenchRequest(folder=folder, store=path, resume=record.id), tools)


@pytest.mark.usefixtures("quick")
def test_devices_work_at_the_same_time_and_none_suffers_from_another(
    folder: Path, tools: Tools, on: Callable[..., None], tmp_path: Path
) -> None:
    good, bad = scripted("ok"), scripted("hang")
    bad.info = dataclasses.replace(bad.info, serial="bad")
    on(good, bad)
    busy: set[str] = set()
    together = threading.Event()

    def note(event: Event) -> None:
        busy.add(event.subject) if event.phase == "bench" else busy.discard(event.subject)
        if len(busy) > 1:
            together.set()

    request = BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite"), devices=("all",), builds=("onnx-float32",))
    record = bench(request, dataclasses.replace(tools, emit=note))
    assert {cell.device.serial: cell.outcome for cell in record.cells} == {
        good.info.serial: "measured",
        "bad": "failed",
    }
    assert len(record.cells) == 2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"plan": "quik"}, SettingsError, "Did you mean 'quick'"),
        ({"builds": ("onnx-float23",)}, SettingsError, "Did you mean 'onnx-float32'"),
        ({"devices": ("hots",)}, SettingsError, "Did you mean 'host'"),
        ({"resume": "20260101-0000-aaaa"}, SettingsError, "Unknown run"),
        ({"folder": Path("/nowhere")}, ModelError, "holds no build.json"),
    ],
)
def test_a_request_that_cannot_be_met_says_which_word_and_stores_nothing(
    changes: dict[str, object], error: type[Exception], words: str, folder: Path, tools: Tools, tmp_path: Path
) -> None:
    path = str(tmp_path / "h.sqlite")
    with pytest.raises(error, match=words):
        bench(dataclasses.replace(BenchRequest(folder=folder, store=path), **changes), tools)  # type: ignore[arg-type]
    assert History(history.locate(path)).runs() == ()


def test_a_folder_without_builds_is_bad_input(folder: Path, tools: Tools, tmp_path: Path) -> None:
    manifest.write(folder, dataclasses.replace(manifest.read(folder), builds=()))
    with pytest.raises(BadInput, match="holds no builds"):
        bench(BenchRequest(folder=folder, store=str(tmp_path / "h.sqlite")), tools)


def test_a_failing_store_stops_every_device_and_is_the_error_told(folder: Path, tools: Tools, store: History) -> None:
    class Full(Stopping):
        def add_session(self, run_id: str, cell_id: str, session: Session) -> None:
            raise BadInput("the disk is full")

    first, second = scripted("ok"), scripted("hang")
    second.info = dataclasses.replace(second.info, serial="second")
    record, slots = planned(folder, first)
    more = planned(folder, second)[1]
    store.create(record)
    with pytest.raises(BadInput, match="the disk is full"):
        matrix.measure((*slots, *more), Setting(folder=folder, sink=Full(store, 1), limits=SHORT), tools)
    assert lab.selector(second) == "host:second"
    assert not second.poll(0.1).running
