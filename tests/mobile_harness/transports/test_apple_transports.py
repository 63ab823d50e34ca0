"""Simulators and iPhones through a stand-in for Xcode: what is found, what befalls a verb, what is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from apple_lab import BOOTED, BUNDLE, PHONE, RESTING, AppleLab, phone, runtime, simulator
from bench_builds import make_folder

from mobile_harness import deployer, lab, plans
from mobile_harness.apple import xcode
from mobile_harness.transports import _apple_app, _simctl_own, devicectl, pymobiledevice3, simctl
from mobile_harness.transports.base import DeviceFailed, Job
from toolkit.cli.main import execute
from toolkit.core import manifest, store
from toolkit.core.errors import SettingsError, ToolMissing
from toolkit.core.events import Event
from toolkit.core.tools import Tools

SHORT = dataclasses.replace(
    plans.load("quick"), warmup_min_s=0.02, warmup_max_s=0.1, min_seconds=0.1, min_runs=30, sessions=2
)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppleLab:
    made = AppleLab(tmp_path / "mac")
    made.use(monkeypatch)
    return made


@pytest.fixture
def folder(tools: Tools, onnx_model: Path, tmp_path: Path) -> Path:
    return make_folder(tools, onnx_model, tmp_path / "builds", ("float32",))


def job(device: Any, folder: Path) -> Job:
    build = manifest.read(folder).builds[0]
    deployed = deployer.deploy(device, folder, build)
    return Job(
        run=secrets.token_hex(4), target=build.target, model=deployed.model, model_sha256=build.sha256,
        golden=deployed.golden, plan=SHORT,
    )  # fmt: skip


def reasons(found: Any) -> dict[str, str]:
    return {item.serial: item.reason for item in found.unusable}


# what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "shape"), [(26, "new"), (27, "new"), (26, "old")])
def test_a_booted_simulator_is_found_and_shows_this_computer(
    mac: AppleLab, tools: Tools, version: int, shape: str
) -> None:
    mac.change(lambda state: state.update(xcode=version, shape=shape))
    found = simctl.discover(tools)
    (device,) = found.devices
    assert lab.selector(device) == f"simctl:{BOOTED}"
    info = device.info
    assert (info.kind, info.platform, info.model) == ("simulator", "ios", "iPhone 16 Pro (simulated)")
    assert info.os_version.startswith("18.0 (22A3351) on ")
    assert "iPhone" not in info.soc
    assert device.tools[0].version.startswith(str(version))
    assert reasons(found) == {RESTING: "iPhone 15, iOS 17.5: shutdown"}


def test_without_a_booted_one_the_newest_iphone_stands_in(mac: AppleLab, tools: Tools) -> None:
    def change(state: dict[str, Any]) -> None:
        state["simulators"][0]["state"] = "Shutdown"
        state["simulators"].append(simulator(BOOTED.replace("3", "4"), "gone", "Shutdown", "16.4", "iPhone-15"))
        state["simulators"].append(simulator(BOOTED.replace("3", "5"), "watch", "Booted", "18.0", "iPhone-15"))
        state["simulators"][-1]["isAvailable"] = False

    mac.change(change)
    found = simctl.discover(tools)
    assert [item.info.serial for item in found.devices] == [BOOTED]
    assert "its system is not installed" in reasons(found)[BOOTED.replace("3", "4")]
    mac.change(lambda state: state.update(simulators=[]))
    empty = simctl.discover(tools)
    assert empty.devices == ()
    assert "has no usable iOS simulator: 26.1 (17B55) at /Applications/Xcode-26.app" in empty.unusable[0].reason


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_an_iphone_is_found_in_every_version_of_the_json(mac: AppleLab, tools: Tools, version: int) -> None:
    twin = phone("F13C004A-0824-4870-B4F2-29AAEE36636E", reality="simulated", transport="sameMachine")
    mac.change(lambda state: state.update(json_version=version, phones=[phone(), twin]))
    found = devicectl.discover(tools)
    (device,) = found.devices
    assert (lab.selector(device), device.info.kind) == (f"devicectl:{PHONE}", "phone")
    assert (device.info.model, device.info.os_version) == ("iPhone 13", "18.0 (22A3354)")
    assert found.unusable == ()


@pytest.mark.parametrize(
    ("changes", "says", "hint"),
    [
        ({"pairing": "unpaired"}, "not paired", "Trust This Computer"),
        ({"connection": "unavailable", "transport": ""}, "out of reach", "cable"),
        ({"developer_mode": "disabled"}, "Developer Mode is off", "Privacy & Security"),
        ({"locked": True}, "it is locked", "Unlock"),
        ({"kind": "appleWatch", "platform": "watchOS"}, "no iPhone or iPad but appleWatch", ""),
        ({"gone": True}, "Operation timed out", "cable"),
    ],
)
def test_an_iphone_that_cannot_be_used_says_why(
    mac: AppleLab, tools: Tools, changes: dict[str, Any], says: str, hint: str
) -> None:
    mac.change(lambda state: state.update(phones=[phone(**changes)]))
    found = devicectl.discover(tools)
    assert found.devices == ()
    (item,) = found.unusable
    assert (item.serial, says in item.reason, hint in item.hint) == (PHONE, True, True), item


@pytest.mark.parametrize(
    ("fault", "says", "hint"),
    [
        ("no-xcode", "Xcode cannot be used", "xcode-select"),
        ("licence", "licence of Xcode was not accepted", "-license"),
    ],
)
def test_an_xcode_that_is_not_ready_says_what_to_do(
    mac: AppleLab, tools: Tools, fault: str, says: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mac.fault(fault)
    for transport in (simctl, devicectl):
        (item,) = transport.discover(tools).unusable
        assert (says in item.reason, hint in item.hint, item.needs_install) == (True, True, True)
    with pytest.raises(ToolMissing) as caught:
        lab.select(lab.Lab(devices=(), unusable=simctl.discover(tools).unusable), ["simctl"])
    assert caught.value.exit_code == 6


def test_without_an_xcrun_both_say_that_a_mac_is_needed(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for transport in (simctl, devicectl):
        (item,) = transport.discover(tools).unusable
        assert "Xcode is not installed here" in item.reason
        assert "Mac" in item.hint


def test_of_two_xcodes_the_one_in_use_is_named_with_the_reason(
    mac: AppleLab, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        xcode.locate(tools).words
        == "26.1 (17B55) at /Applications/Xcode-26.app/Contents/Developer, chosen by xcode-select"
    )
    monkeypatch.setenv("DEVELOPER_DIR", "/Applications/Xcode-beta.app/Contents/Developer")
    assert xcode.locate(tools).words.endswith(
        "at /Applications/Xcode-beta.app/Contents/Developer, chosen by DEVELOPER_DIR"
    )


def test_what_the_tools_print_may_be_garbage(mac: AppleLab, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = mac.home / "broken"
    programs.mkdir()
    script = '#!/bin/sh\ncase "$*" in *version*) echo "Xcode 26.1"; echo "Build version 17B55";; *) echo "{[";; esac\n'
    for name in ("xcrun", "xcode-select"):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert "cannot be read" in simctl.discover(tools).unusable[0].reason
    assert "cannot be read" in devicectl.discover(tools).unusable[0].reason


# what befalls a verb ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("no-boot", "cannot_launch", "Operation timed out"),
        ("dies-at-boot", "cannot_launch", "is Shutdown after booting"),
        ("disk-full", "storage", "No space left"),
    ],
)
def test_a_simulator_that_fails_says_how_and_leaves_nothing(
    mac: AppleLab, tools: Tools, folder: Path, fault: str, kind: str, says: str
) -> None:
    (device,) = simctl.discover(tools).devices
    wanted = job(device, folder)
    mac.fault(fault)
    with pytest.raises(DeviceFailed, match=says) as caught:
        device.launch(wanted)
    assert caught.value.kind == kind
    device.cleanup()
    assert {item["udid"] for item in mac.state["simulators"]} == {BOOTED, RESTING}


def test_the_user_s_simulators_are_not_touched_and_ours_is_deleted(mac: AppleLab, tools: Tools, folder: Path) -> None:
    before = mac.state["simulators"]
    (device,) = simctl.discover(tools).devices
    place = Path(device.push(store.blob_of(folder / manifest.read(folder).builds[0].path)))
    (own,) = [item for item in mac.state["simulators"] if item not in before]
    assert own["name"].startswith(_simctl_own.PREFIX)
    assert place.is_file()
    assert [item.info.serial for item in simctl.discover(tools).devices] == [BOOTED]
    device.cleanup()
    assert mac.state["simulators"] == before
    assert not place.exists()


def test_what_a_dead_process_left_is_swept(mac: AppleLab, tools: Tools, folder: Path) -> None:
    from mobile_harness.transports import _ownership

    computer = _ownership.new_name().split("-")[0]
    left = simulator(
        "0" * 8 + "-0000-0000-0000-" + "0" * 12,
        f"palmtop-{computer}-999999999-1-0123abcd",
        "Booted",
        "18.0",
        "iPhone-15",
    )
    (mac.home / "Devices" / left["udid"] / "data").mkdir(parents=True)
    mac.change(lambda state: state["simulators"].append(left))
    (device,) = simctl.discover(tools).devices
    device.push(store.blob_of(folder / manifest.read(folder).builds[0].path))
    assert left["udid"] not in {item["udid"] for item in mac.state["simulators"]}
    device.cleanup()


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"locked": True}, "cannot_launch", "is locked"),
        ({"developer_mode": "disabled"}, "cannot_launch", "Developer Mode is off"),
        ({"full": True}, "storage", "not enough space"),
        ({"gone": True}, "lost", "timed out"),
        ({"udid": "00008110-0000000000000009"}, "lost", "was not found"),
    ],
)
def test_an_iphone_that_changes_before_a_session_is_told(
    mac: AppleLab, tools: Tools, folder: Path, changes: dict[str, Any], kind: str, says: str
) -> None:
    (device,) = devicectl.discover(tools).devices
    wanted = job(device, folder)
    mac.change(lambda state: state["phones"][0].update(changes))
    with pytest.raises(DeviceFailed, match=says) as caught:
        device.launch(wanted)
    assert caught.value.kind == kind
    assert caught.value.hint
    device.cleanup()


def test_trouble_at_the_end_is_said_and_not_raised(mac: AppleLab, tools: Tools, folder: Path) -> None:
    said: list[Event] = []
    (device,) = devicectl.discover(dataclasses.replace(tools, emit=said.append)).devices
    device.launch(job(device, folder))
    mac.change(lambda state: state["phones"][0].update(gone=True))
    device.cleanup()
    assert {event.phase for event in said} == {"stop", "clean up"}
    assert all(event.level == "warning" for event in said)


# without a Mac ----------------------------------------------------------------------------------------------------


def test_pymobiledevice3_serves_where_there_is_no_xcode_alone(
    mac: AppleLab, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pymobiledevice3.discover(tools).devices == ()  # devicectl is here
    monkeypatch.setenv("PATH", "/nonexistent")
    assert pymobiledevice3.discover(tools) == pymobiledevice3.Found(devices=())
    monkeypatch.undo()
    monkeypatch.setenv("PALMTOP_ADB_SERVERS", "none")
    mac.use(monkeypatch, "pymobiledevice3")
    watch = phone("00008301-000000000000000A", kind="Watch")
    mac.change(lambda state: state.update(phones=[phone(), watch]))
    found = pymobiledevice3.discover(tools)
    (device,) = found.devices
    assert (lab.selector(device), device.info.model) == (f"pymobiledevice3:{PHONE}", "iPhone14,5")
    assert device.tools[0].version == "11.45.0"
    assert [item.reason for item in found.unusable] == ["it is no iPhone or iPad but Watch"]


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"developer_mode": "disabled"}, "cannot_launch", "Developer Mode is off"),
        ({"locked": True}, "cannot_launch", "could not be, unlocked"),
        ({"full": True}, "storage", "Not enough space"),
        ({"gone": True}, "lost", "Device not found"),
    ],
)
def test_an_iphone_without_a_mac_says_what_is_wrong(
    mac: AppleLab, tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any], kind: str, says: str,
) -> None:  # fmt: skip
    mac.use(monkeypatch, "pymobiledevice3")
    monkeypatch.setattr("mobile_harness.apple.xcode.is_here", lambda environment: False)
    (device,) = pymobiledevice3.discover(tools).devices
    wanted = job(device, folder)
    mac.change(lambda state: state["phones"][0].update(changes))
    with pytest.raises(DeviceFailed, match=says) as caught:
        device.launch(wanted)
    assert caught.value.kind == kind
    device.cleanup()


# the app ----------------------------------------------------------------------------------------------------------


def test_the_app_is_chosen_by_target_and_platform(mac: AppleLab, tmp_path: Path) -> None:
    both = os.environ["PALMTOP_IOS_APP"]
    simulated, real = both.split()
    chosen = _apple_app.app_for("coreml", "iPhoneOS", {"PALMTOP_IOS_APP": both})
    assert (chosen.bundle_id, str(chosen.folder), chosen.folder_name) == (BUNDLE, real, "Bench.app")
    own = {"PALMTOP_IOS_APP": both, "PALMTOP_IOS_APP_ONNX": "org.else.bench"}
    assert _apple_app.app_for("onnx", "iPhoneSimulator", own) == _apple_app.BenchApp(bundle_id="org.else.bench")
    assert _apple_app.app_for("onnx", "iPhoneOS", {}).bundle_id == BUNDLE
    (tmp_path / "bad.app").mkdir()
    (tmp_path / "bad.app" / "Info.plist").write_text("<plist><dict><key>CFBundleIdentifier</key><string>;rm</string>")
    for given, says in [
        (simulated, "names no app for iPhoneOS, only for iPhoneSimulator"),
        (str(tmp_path / "none.app"), "is no app"),
        (str(tmp_path / "bad.app"), "is no app"),
        ("'x", "cannot be read"),
    ]:
        with pytest.raises(SettingsError, match=says):
            _apple_app.app_for("onnx", "iPhoneOS", {"PALMTOP_IOS_APP": given})


def test_an_app_that_is_missing_is_told_on_both(mac: AppleLab, tools: Tools, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("PALMTOP_IOS_APP", "org.not.there")
    for transport, says in ((simctl, "No such file|not installed|container"), (devicectl, "not installed")):
        (device,) = transport.discover(tools).devices
        with pytest.raises(DeviceFailed, match=says) as caught:
            device.launch(job(device, folder))
        assert caught.value.kind in ("cannot_launch", "lost")
        device.cleanup()


# the command line -------------------------------------------------------------------------------------------------


def test_devices_and_bench_by_the_command_line(
    mac: AppleLab, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(plans.PLANS, "quick", SHORT)
    monkeypatch.setenv("PALMTOP_STORE", str(mac.home / "history.sqlite"))
    mac.change(lambda state: state["phones"][0].update(locked=True))
    assert execute(["devices"]) == 0
    said = capsys.readouterr().out
    assert f"simctl:{BOOTED}" in said
    assert f"devicectl:{PHONE}" in said
    assert "it is locked" in said
    assert execute(["bench", str(folder), "--device", f"simulator:{BOOTED}", "-q"]) == 0
    shown = capsys.readouterr().out
    assert "[simulator]" in shown
    assert execute(["bench", str(folder), "--device", f"simctl:{BOOTED}", "-q", "--json"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert (cell["device"]["kind"], cell["runner"], cell["outcome"]) == ("simulator", "app", "measured")
    assert cell["doubts"][0]["kind"] == "on_simulator"
    assert {item["udid"] for item in mac.state["simulators"]} == {BOOTED, RESTING}


def test_a_simulator_is_booted_and_stopped_by_name(mac: AppleLab, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices", "boot", "iPhone 15"]) == 0
    assert "is up" in capsys.readouterr().out
    states = {item["udid"]: item["state"] for item in mac.state["simulators"]}
    assert states[RESTING] == "Booted"
    assert execute(["devices", "boot", BOOTED]) == 0
    assert execute(["devices", "stop", BOOTED]) == 3  # it was booted before: it is not ours to stop
    assert execute(["devices", "stop", RESTING]) == 0
    assert {item["udid"]: item["state"] for item in mac.state["simulators"]}[RESTING] == "Shutdown"
    capsys.readouterr()
    assert execute(["devices", "boot", "iphone 15"]) == 3
    assert "Did you mean 'iPhone 15'" in capsys.readouterr().err
    mac.change(lambda state: state.update(runtimes=[runtime("18.0")]))
