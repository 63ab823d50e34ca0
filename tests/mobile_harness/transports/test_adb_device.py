"""The verbs on a virtual device: what is put there, started there and changed there, whatever befalls it meanwhile."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from pathlib import Path

import pytest
from adb_lab import PACKAGE, PrivateServer, use, write_app
from bench_builds import make_folder

from mobile_harness import bench, deployer, lab, plans
from mobile_harness.transports import _adb_place, _ownership, adb
from mobile_harness.transports._adb_device import AdbDevice
from mobile_harness.transports.base import DeviceFailed, Job
from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android import factory
from mobile_harness.virtual_device.android.call import Trouble
from mobile_harness.wire.messages import Result
from mobile_harness.wire.transcript import Collector, read_file
from toolkit.core import manifest, store
from toolkit.core.events import Event
from toolkit.core.tools import Tools

SHORT = dataclasses.replace(
    plans.load("quick"), warmup_min_s=0.02, warmup_max_s=0.1, min_seconds=0.1, min_runs=30, sessions=2
)


@pytest.fixture
def folder(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    return make_folder(tools, onnx_model, tmp_path / "builds", ("float32",))


@pytest.fixture
def blob(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(secrets.token_bytes(600_000))
    return store.blob_of(path)


def only(tools: Tools) -> AdbDevice:
    (found,) = adb.discover(tools).devices
    assert isinstance(found, AdbDevice)
    return found


def job(device: AdbDevice, folder: Path, **changes: object) -> Job:
    build = manifest.read(folder).builds[0]
    deployed = deployer.deploy(device, folder, build)
    return Job(
        run=secrets.token_hex(4), target=build.target, model=deployed.model, model_sha256=build.sha256,
        golden=deployed.golden, plan=dataclasses.replace(SHORT, **changes),
    )  # fmt: skip


def to_the_end(device: AdbDevice, run: str) -> tuple[Collector, str]:
    live, news = Collector(run), device.poll(5)
    while news.running:
        for line in news.lines:
            live.feed(line)
        news = device.poll(5)
    return live, news.ended


# push -------------------------------------------------------------------------------------------------------------


def test_content_lies_under_its_name_and_is_sent_once(device: AdbDevice, blob) -> None:
    place = device.push(blob)
    assert place.endswith(f"/blobs/{blob.sha256[:32]}.onnx")
    assert hashlib.sha256(device._session.fetch(place, 1 << 20) or b"").hexdigest() == blob.sha256
    blob.path.write_bytes(b"changed here: what is there already is not read again")
    assert device.push(blob) == place
    assert device._session.run(["ls", place.rpartition("/")[0]], 5).text.split() == [place.rpartition("/")[2]]


def test_what_was_damaged_on_the_device_is_sent_again(device: AdbDevice, blob) -> None:
    place = device.push(blob)
    device._session.run(["sh", "-c", 'echo x >> "$1"', "sh", place], 5)
    assert device.push(blob) == place
    assert hashlib.sha256(device._session.fetch(place, 1 << 20) or b"").hexdigest() == blob.sha256


def test_a_push_outlives_a_cable_that_comes_out(boot, tools: Tools, blob) -> None:
    farm = boot(1, [faults.DropMidPush(after_bytes=200_000)])
    device = only(tools)
    place = device.push(blob)
    assert hashlib.sha256(device._session.fetch(place, 1 << 20) or b"").hexdigest() == blob.sha256
    assert len(farm.log.events("drop_mid_push")) == 1
    device.cleanup()


def test_a_full_device_is_a_failure_of_storage_and_keeps_no_part(boot, tools: Tools, blob) -> None:
    boot(1, [faults.StorageFull(free_bytes=300_000)])
    device = only(tools)
    with pytest.raises(DeviceFailed, match="No space left") as caught:
        device.push(blob)
    assert caught.value.kind == "storage"
    assert device._session.run(["ls", f"{device._place.path}/blobs"], 5).text == ""
    device.cleanup()


# the app ----------------------------------------------------------------------------------------------------------


def test_an_app_that_is_missing_or_another_is_explained(
    boot, tools: Tools, folder: Path, adb_server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot()
    use(monkeypatch, adb_server)
    device = only(tools)
    wanted = job(device, folder)
    for value, says in [
        ("org.else.where/.Run", "org.else.where is not installed on adb:virtual-0"),
        ("", "neither org.palmtop.bench.onnx nor org.palmtop.bench"),
        ("nonsense", "'nonsense' is no package/runner"),
        (f"{PACKAGE}/.Run /none/x.apk", "There is no /none/x.apk"),
        ("'a", "PALMTOP_APP_ONNX cannot be read"),
    ]:
        monkeypatch.setenv("PALMTOP_APP_ONNX", value)
        with pytest.raises(DeviceFailed, match=says) as caught:
            device.launch(wanted)
        assert caught.value.kind == "cannot_launch"
        assert caught.value.hint
    device.cleanup()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"min_sdk": 99}, "INSTALL_FAILED_OLDER_SDK"),
        ({"abis": ("mips",)}, "INSTALL_FAILED_NO_MATCHING_ABIS"),
        ({"runner": "org.else.Runner"}, "has no instrumentation"),
    ],
)
def test_an_app_that_does_not_fit_is_explained(
    boot, tools: Tools, folder: Path, adb_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object], says: str,
) -> None:  # fmt: skip
    boot()
    use(monkeypatch, adb_server, write_app(tmp_path, **changes))
    device = only(tools)
    with pytest.raises(DeviceFailed, match=says) as caught:
        device.launch(job(device, folder))
    assert caught.value.kind == "cannot_launch"
    device.cleanup()


def test_a_passing_trouble_of_the_installation_is_tried_once_more(boot, tools: Tools, folder: Path) -> None:
    boot(1, [faults.InstallFails(reason="INSTALL_FAILED_INTERNAL_ERROR")])
    device = only(tools)
    device.launch(job(device, folder))
    assert to_the_end(device, "")[1] == "exit code 0"
    device.cleanup()


def test_an_app_of_another_signature_or_a_newer_version_is_replaced(
    boot, tools: Tools, folder: Path, adb_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app
) -> None:
    farm = boot()
    for old in (write_app(tmp_path, signature="other"), write_app(tmp_path, version_code=9)):
        assert adb_server.adb("-s", farm[0].address, "install", str(old)).code == 0
        device = only(tools)
        device.launch(job(device, folder))
        assert to_the_end(device, "")[1] == "exit code 0"
        assert farm[0].system.packages[PACKAGE].manifest.version_code == 1
        device.cleanup()


def test_a_release_app_s_result_is_fetched_from_its_external_folder(
    boot, tools: Tools, folder: Path, adb_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot()
    use(monkeypatch, adb_server, write_app(tmp_path, debuggable=False))
    device = only(tools)
    wanted = job(device, folder)
    device.launch(wanted)
    to_the_end(device, wanted.run)
    data = device.pull(wanted.run)
    assert data is not None
    assert read_file(data).verified
    device.cleanup()
    assert device.pull(wanted.run) is None


def test_an_app_in_parts_is_installed_as_one(
    boot, tools: Tools, folder: Path, adb_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = boot()
    use(monkeypatch, adb_server, write_app(tmp_path), write_app(tmp_path, split="config.x86_64"))
    for _ in range(2):
        device = only(tools)
        device.launch(job(device, folder))
        assert to_the_end(device, "")[1] == "exit code 0"
        device.cleanup()
    assert farm[0].system.packages[PACKAGE].parts == ("0.apk", "1.apk")
    installed = [entry for entry in farm[0].system.logs.since(0) if entry.message.startswith("installed")]
    assert len(installed) == 1


def test_a_device_with_the_usual_app_needs_no_setting(
    boot, tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = boot()
    factory.install(farm[0].system, factory.bench_app())
    monkeypatch.delenv("PALMTOP_APP_ONNX")
    device = only(tools)
    device.launch(job(device, folder))
    assert to_the_end(device, "")[1] == "exit code 0"
    device.cleanup()


def test_an_order_too_long_for_a_word_goes_as_a_file(device: AdbDevice, folder: Path) -> None:
    wanted = job(device, folder, name="long" * 3000)
    device.launch(wanted)
    live, ended = to_the_end(device, wanted.run)
    assert ended == "exit code 0"
    assert any(isinstance(record.body, Result) for record in live.records())


# what befalls a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says", "knows"),
    [
        (faults.AppCrashes(after_frames=4), "crashed", "Fatal signal"),
        (faults.OutOfMemory(after_frames=4), "crashed", "LOW_MEMORY"),
    ],
)
def test_an_app_that_dies_is_told_with_the_device_s_evidence(
    boot, tools: Tools, folder: Path, fault: faults.Fault, says: str, knows: str
) -> None:
    boot(1, [fault])
    device = only(tools)
    wanted = job(device, folder)
    device.launch(wanted)
    live, ended = to_the_end(device, wanted.run)
    assert says in ended
    assert len(live.records()) == 4
    assert knows in device.evidence()
    data = device.pull(wanted.run)
    assert data is not None
    assert not read_file(data).verified
    device.cleanup()


def test_a_lost_way_is_told_and_the_file_is_there_when_it_is_back(boot, tools: Tools, folder: Path) -> None:
    boot(1, [faults.Drop(on="am instrument", after_s=0.3)])
    device = only(tools)
    wanted = job(device, folder)
    device.launch(wanted)
    with pytest.raises(DeviceFailed) as caught:
        to_the_end(device, wanted.run)
    assert caught.value.kind == "lost"
    for _ in range(100):
        data = device.pull(wanted.run)
        if data is not None and read_file(data).verified:
            break
        device._clock.sleep(0.2)
    else:
        pytest.fail("the app did not finish without us")
    device.cleanup()


def test_verbs_of_a_device_that_is_gone_end_and_leave_no_exception(
    boot, tools: Tools, folder: Path, blob, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Event] = []
    farm = boot()
    device = only(dataclasses.replace(tools, emit=said.append))
    monkeypatch.setattr("mobile_harness.transports._adb_trouble.BACK_S", 1.0)
    monkeypatch.setattr("mobile_harness.transports._adb_device.STOP_BACK_S", 1.0)
    wanted = job(device, folder)
    device.launch(wanted)
    farm.stop()
    with pytest.raises(DeviceFailed, match="adb:virtual-0") as caught:
        device.push(blob)
    assert caught.value.kind == "lost"
    assert "The device says nothing of the end" in device.evidence()
    device.stop()
    device.cleanup()
    assert {event.phase for event in said} == {"stop", "clean up"}
    assert all(event.level == "warning" for event in said)


# what we change on the device -------------------------------------------------------------------------------------


def settings_of(farm) -> dict[str, str]:
    return {key: value for (space, key), value in farm[0].system.settings.items() if space == "global"}


def test_settings_are_changed_while_we_measure_and_restored(boot, tools: Tools, blob) -> None:
    farm = boot()
    farm[0].system.settings["global", "window_animation_scale"] = "1.5"
    before = settings_of(farm)
    device = only(tools)
    device.push(blob)
    assert settings_of(farm) == _adb_place.CHANGES
    device.cleanup()
    assert settings_of(farm) == before
    assert device._session.run(["ls", "-a", "/data/local/tmp"], 5).text.split() == [".", ".."]


class ReadOnly(dict[tuple[str, str], str]):
    """Settings that refuse, as on phones whose maker asks for a switch of its own."""

    def __setitem__(self, key: tuple[str, str], value: str) -> None:
        raise Trouble("java.lang.SecurityException: Permission denial: writing to settings", 255)


def test_settings_that_cannot_be_restored_are_told_and_stay_noted(boot, tools: Tools, blob) -> None:
    farm = boot()
    settings = farm[0].system.settings
    settings["global", "window_animation_scale"] = "1.5"
    device = only(tools)
    device.push(blob)
    farm[0].system.settings = ReadOnly(settings)
    told: list[Event] = []
    device._emit = told.append
    device.cleanup()
    assert "are not restored: window_animation_scale: " in told[0].message
    assert device._session.look(f"{_adb_place.ROOT}/undo") is not None
    farm[0].system.settings = dict(farm[0].system.settings)
    device.cleanup()
    assert settings_of(farm) == {"window_animation_scale": "1.5"}
    assert device._session.look(_adb_place.ROOT) is None


@pytest.mark.parametrize("first", ["²", "9" * 5000, "", "date: not found"])
def test_whose_folders_lie_there_is_read_without_trust(first: str) -> None:
    name = _ownership.new_name()
    stranger = f"00000000{name[8:]}"
    text = f"{first}\n1 {name}/alive\n1 {stranger}/alive\n1 ../../x/alive\n"
    owned = _adb_place.read_owned(text)
    assert (owned.living, owned.dead) == ((name, stranger), ())


def test_what_a_killed_process_left_is_swept_and_restored(boot, tools: Tools, blob) -> None:
    farm = boot()
    killed, device = only(tools), only(tools)
    killed.push(blob)
    left = killed._place.path
    dead = left.replace(f"-{left.split('-')[1]}-", "-999999999-")
    killed._session.run(["mv", left, dead], 5)
    device.push(blob)
    assert device._session.look(dead) is None
    assert settings_of(farm) == _adb_place.CHANGES
    device.cleanup()
    assert settings_of(farm) == {}


def test_the_folder_of_a_living_neighbour_and_the_settings_stay(boot, tools: Tools, blob) -> None:
    farm = boot()
    first, second = only(tools), only(tools)
    place = first.push(blob)
    second.push(blob)
    second.cleanup()
    assert first._session.look(place) is not None
    assert settings_of(farm) == _adb_place.CHANGES
    first.cleanup()
    assert settings_of(farm) == {}


# the whole way ----------------------------------------------------------------------------------------------------


def test_a_matrix_over_virtual_devices_and_the_host(
    boot, tools: Tools, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(2, [faults.AppCrashes(after_frames=5)])
    monkeypatch.setitem(plans.PLANS, "quick", SHORT)
    request = bench.BenchRequest(folder=folder, devices=("all",), store=str(tmp_path / "h.sqlite"))
    record = bench.bench(request, tools)
    assert [(cell.device.kind, cell.runner, cell.outcome) for cell in record.cells] == [
        ("virtual", "app", "measured"), ("virtual", "app", "measured"), ("host", "python", "measured"),
    ]  # fmt: skip
    assert all(cell.doubts[0].kind == f"on_{cell.device.kind}" for cell in record.cells)
    assert {"python", "adbutils"} < {tool.name for tool in record.toolchain}
    assert [lab.selector(item) for item in adb.discover(tools).devices] == ["adb:virtual-0", "adb:virtual-1"]
