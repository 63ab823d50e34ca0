"""What every transport's devices must do, run over each device that is within reach of this machine."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_lab import use
from bench_builds import make_folder

from mobile_harness import deployer, lab, plans
from mobile_harness.transports.base import Device, DeviceFailed, Job
from mobile_harness.wire.messages import Hello, Result
from mobile_harness.wire.transcript import Collector, read_file
from toolkit.core import discovery, manifest, store
from toolkit.core.artifacts import Blob
from toolkit.core.events import silent
from toolkit.core.tools import Tools, system_tools

TRANSPORTS = discovery.names(lab.ROOM)
DEVICES = list(lab.discover(system_tools(silent)).devices)


LABS = ("adb", "simctl", "devicectl", "pymobiledevice3")
"""Transports whose far side is put up for the tests."""


@pytest.fixture(params=[*DEVICES, *LABS], ids=lambda found: f"{found}:lab" if found in LABS else lab.selector(found))
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    makers = {"adb": _virtual, "simctl": _apple, "devicectl": _apple, "pymobiledevice3": _apple}
    named = request.param in LABS
    made: Device = makers[request.param](request, monkeypatch) if named else request.param
    yield made
    made.cleanup()


def _apple(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    programs = ["pymobiledevice3"] if request.param == "pymobiledevice3" else []
    request.getfixturevalue("apple_lab").use(monkeypatch, *programs)
    (found,) = discovery.load(lab.ROOM, request.param).discover(system_tools(silent)).devices
    return found


def _virtual(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    server, app = request.getfixturevalue("virtual_lab")
    use(monkeypatch, server, app)
    (found,) = [item for item in lab.discover(system_tools(silent)).devices if item.info.kind == "virtual"]
    return found


@pytest.fixture
def folder(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    return make_folder(tools, onnx_model, tmp_path / "builds", ("float32",))


def test_a_device_has_at_most_twelve_verbs() -> None:
    verbs = [name for name in vars(Device) if not name.startswith("_")]
    assert len(verbs) <= 12
    assert all(inspect.getdoc(getattr(Device, name)) for name in verbs)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_discovery_is_quick_and_names_each_device_once(name: str, tools: Tools) -> None:
    found = discovery.load(lab.ROOM, name).discover(tools)
    names = [lab.selector(item) for item in found.devices]
    assert len(set(names)) == len(names)
    assert all(item.info.transport == name for item in found.devices)
    assert all(item.reason for item in found.unusable)


def test_content_is_pushed_once_and_checked(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "model of ours.onnx"
    path.write_bytes(b"12345")
    blob = store.blob_of(path)
    place = device.push(blob)
    assert device.push(blob) == place
    wrong = Blob(path=path, sha256="0" * 64, size_bytes=5)
    with pytest.raises(DeviceFailed, match="is not the file") as caught:
        device.push(wrong)
    assert caught.value.kind == "build_changed"
    with pytest.raises(DeviceFailed) as caught:
        device.push(Blob(path=tmp_path / "none", sha256="1" * 64, size_bytes=0))
    assert caught.value.kind == "build_changed"


def test_a_folder_is_content_too(device: Device, tmp_path: Path) -> None:
    folder = tmp_path / "a.mlpackage"
    (folder / "Data").mkdir(parents=True)
    (folder / "Data" / "x").write_text("1")
    place = device.push(store.blob_of(folder))
    assert place.endswith(".mlpackage")
    assert device.push(store.blob_of(folder)) == place


def test_verbs_without_a_runner_are_safe(device: Device) -> None:
    device.stop()
    assert device.evidence() == ""
    assert device.pull("00000000") is None
    assert not device.poll(0.1).running
    device.cleanup()
    device.cleanup()


def job(device: Device, folder: Path) -> Job:
    build = manifest.read(folder).builds[0]
    deployed = deployer.deploy(device, folder, build)
    return Job(
        run=secrets.token_hex(4),
        target=build.target,
        model=deployed.model,
        model_sha256=build.sha256,
        golden=deployed.golden,
        plan=plans.load("quick"),
    )


def test_a_session_comes_live_and_as_a_verified_file(device: Device, folder: Path) -> None:
    wanted = job(device, folder)
    device.launch(wanted)
    live = Collector(wanted.run)
    news = device.poll(5)
    while news.running:
        for line in news.lines:
            live.feed(line)
        news = device.poll(5)
    assert news.ended == "exit code 0"
    data = device.pull(wanted.run)
    assert data is not None
    file = read_file(data)
    assert (file.verified, file.fault) == (True, "")
    assert file.records == live.records()
    (hello,) = [record.body for record in file.records if isinstance(record.body, Hello)]
    assert (hello.run, hello.model_sha256) == (wanted.run, wanted.model_sha256)
    assert next(record.body.n for record in file.records if isinstance(record.body, Result)) >= 100
    device.stop()
    assert device.pull(wanted.run) == data


def test_a_running_session_gives_evidence_and_stops_at_once(device: Device, folder: Path) -> None:
    device.launch(job(device, folder))
    while not any("hello" in line for line in device.poll(60).lines):
        continue
    assert "most recent call first" in device.evidence()
    device.stop()
    device.stop()
    left = [device.poll(0.1) for _ in range(5)]  # what it said before may still come
    assert not left[-1].running


def test_cleanup_leaves_nothing_to_pull(device: Device, folder: Path) -> None:
    wanted = job(device, folder)
    device.launch(wanted)
    device.poll(1)
    device.cleanup()
    assert device.pull(wanted.run) is None
    assert not Path(wanted.model).exists()
