from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import filelock
import pytest
from bench_builds import scripted

from mobile_harness import plans
from mobile_harness.records.state import NOT_ASKED, DeviceMemory, ProcessMemory, Unavailable
from mobile_harness.transports import host
from mobile_harness.transports.base import DeviceFailed, Job
from mobile_harness.transports.host import HostDevice
from toolkit.core import store
from toolkit.core.clock import SystemClock

JOB = Job(run="00c0ffee", target="onnx", model="m", model_sha256="ab" * 32, golden=None, plan=plans.load("quick"))


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()


def test_scratch_folders_of_the_dead_are_swept_and_of_the_living_kept(tmp_path: Path) -> None:
    dead, living, foreign = (tmp_path / "tmp" / name for name in ("palmtop-host-a", "palmtop-host-b", "other"))
    for folder in (dead, living, foreign):
        folder.mkdir()
        (folder / "owner.lock").touch()
    with filelock.FileLock(living / "owner.lock"):
        host.sweep()
    assert [folder.exists() for folder in (dead, living, foreign)] == [False, True, True]


def test_nothing_is_left_after_cleanup(tmp_path: Path) -> None:
    device = scripted("ok")
    (tmp_path / "x").write_text("1")
    device.push(store.blob_of(tmp_path / "x"))
    host.sweep()
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    device.cleanup()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_place_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    (tmp_path / "x").write_text("1")
    with pytest.raises(DeviceFailed, match="gone") as caught:
        scripted("ok").push(store.blob_of(tmp_path / "x"))
    assert caught.value.kind == "storage"


def test_a_copy_that_breaks_off_is_never_taken_for_the_build(tmp_path: Path) -> None:
    build = tmp_path / "x.mlpackage"
    build.mkdir()
    (build / "a").write_text("a")
    (build / "b").symlink_to(tmp_path / "gone")
    blob = store.blob_of(build)
    device = scripted("ok")
    try:
        with pytest.raises(DeviceFailed) as caught:
            device.push(blob)
        assert caught.value.kind == "storage"
        assert list((tmp_path / "tmp").glob("palmtop-host-*/blobs/*")) == []
        (build / "b").unlink()
        assert store.sha256_of(Path(device.push(blob))) == blob.sha256
        assert len(list((tmp_path / "tmp").glob("palmtop-host-*/blobs/*"))) == 1
    finally:
        device.cleanup()


def test_a_flood_of_noise_is_cut_into_lines_and_bounded() -> None:
    device = scripted("garbage")
    try:
        device.launch(JOB)
        lines: list[str] = []
        news = device.poll(10)
        while news.running:
            lines += news.lines
            news = device.poll(10)
        assert max(map(len, lines)) <= host.LINE_MAX
        assert len(device.pull(JOB.run) or b"") > 400_000
    finally:
        device.cleanup()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    device = scripted("ok")
    try:
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "x").write_text("1")
        place = Path(device.push(store.blob_of(tmp_path / "x")))
        (place.parents[1] / "out" / "00c0ffee.jsonl").symlink_to(tmp_path / "secret")
        assert device.pull("00c0ffee") is None
    finally:
        device.cleanup()


def test_this_machine_says_how_it_stands_or_why_not() -> None:
    device = HostDevice(SystemClock())
    found, brief = device.vitals("ended"), device.vitals("loaded")
    assert isinstance(found.memory, DeviceMemory)
    assert 0 < (found.memory.available_kb or 0) <= found.memory.total_kb
    parts = (found.thermal, found.battery, found.cpus, found.screen, found.software, found.power)
    assert all(part.reason for part in parts if isinstance(part, Unavailable))
    assert NOT_ASKED not in parts
    assert (found.app, brief.thermal, brief.memory) == (NOT_ASKED, NOT_ASKED, NOT_ASKED)


def test_a_runner_s_memory_is_read_by_the_host_too() -> None:
    device = HostDevice(SystemClock(), (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"))
    try:
        device.launch(JOB)
        assert device.poll(20).lines == ("up",)
        found = device.vitals("loaded").app
        assert isinstance(found, ProcessMemory)
        assert 0 < (found.pss_kb or found.rss_kb or 0) <= (found.rss_kb or 0)
        device.stop()
        assert isinstance(device.vitals("ended").app, Unavailable)
    finally:
        device.cleanup()
