"""Emulators by the documented programs of Android's SDK: listed, created, booted, explained when they die, ended."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from adb_lab import PrivateServer

from mobile_harness.transports import _adb_emulators as emulators
from mobile_harness.transports import adb
from toolkit.cli.main import execute
from toolkit.core.errors import SettingsError, ToolMissing
from toolkit.core.tools import Tools

FAKES = Path(__file__).parents[2] / "fakes"
IMAGE = "system-images;android-35;google_apis;x86_64"


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An SDK with one system image, whose programs are on the path; AVDs are kept in ``avd``."""
    (tmp_path / "sdk").joinpath(*IMAGE.split(";")).mkdir(parents=True)
    (tmp_path / "avd").mkdir()
    programs = tmp_path / "bin"  # these two alone: there is no Xcode here
    programs.mkdir()
    for name in ("emulator", "avdmanager"):
        (programs / name).write_text((FAKES / "bin" / name).read_text().replace('$(dirname "$0")', str(FAKES / "bin")))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PALMTOP_FAKE_PYTHON", sys.executable)
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    monkeypatch.setenv("ANDROID_AVD_HOME", str(tmp_path / "avd"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(emulators, "PORTS", range(5600, 5683, 2))  # beyond what other servers here look for
    monkeypatch.setattr(emulators, "_LOOK_S", 0.1)
    yield tmp_path
    for item in emulators.started(tmp_path / "state" / "palmtop"):
        emulators.stop(item.name, tmp_path / "state" / "palmtop")


def add(sdk: Path, name: str, fault: str = "") -> None:
    (sdk / "avd" / f"{name}.avd").mkdir()
    (sdk / "avd" / f"{name}.avd" / "config.ini").write_text(f"fake={fault}\n")
    (sdk / "avd" / f"{name}.ini").write_text("")


def test_one_is_created_booted_used_and_ended_from_the_command_line(
    boot, sdk: Path, tools: Tools, capsys: pytest.CaptureFixture[str]
) -> None:
    boot(1)
    assert execute(["devices", "boot", "lab35", "--create", "--image", IMAGE, "--json"]) == 0
    running = json.loads(capsys.readouterr().out)
    (found,) = [item for item in adb.discover(tools).devices if item.info.kind == "emulator"]
    assert (found.info.serial, found.info.model) == (running["serial"], "palmtop sdk_gphone64_x86_64")
    assert execute(["devices"]) == 0
    assert f"adb:{running['serial']}" in capsys.readouterr().out
    assert execute(["devices", "boot", "lab35"]) == 5
    assert "runs already" in capsys.readouterr().err
    assert [item.name for item in emulators.started(sdk / "state" / "palmtop")] == ["lab35"]
    assert execute(["devices", "stop", "lab35"]) == 0
    assert not psutil.pid_exists(running["pid"]) or psutil.Process(running["pid"]).status() == psutil.STATUS_ZOMBIE
    assert execute(["devices", "stop", "lab35"]) == 3
    assert "palmtop has started no device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "seconds", "says"),
    [
        ("no-kvm", 20, r"ended with exit code 1: ERROR .* requires hardware acceleration"),
        ("crash", 20, r"ended with exit code 134: .*the virtual CPU died"),
        ("stuck", 1.5, r"is not up after 2 s: (starting|booting)"),
    ],
)
def test_one_that_does_not_come_up_is_explained_and_ended(
    boot, sdk: Path, tools: Tools, tmp_path: Path, fault: str, seconds: float, says: str
) -> None:
    boot(1)
    add(sdk, "bad", fault)
    with pytest.raises(emulators.EmulatorFailed, match=says) as caught:
        emulators.boot("bad", tmp_path, tools, seconds)
    assert caught.value.hint
    assert emulators.started(tmp_path) == ()
    assert b"Android emulator version" in (tmp_path / "emulator-bad.log").read_bytes()


def test_names_and_images_that_cannot_be_are_told(boot, sdk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boot(1)
    add(sdk, "Pixel_8_API_35")
    for words, code, says in [
        (["Pixel_8_API_3"], 3, "Did you mean 'Pixel_8_API_35'"),
        (["x", "--create"], 2, "go together"),
        (["x", "--count", "2"], 2, "--count is for `virtual` only"),
        (["virtual", "--timeout", "5"], 2, "--timeout is for an emulator only"),
        (["x y", "--create", "--image", IMAGE], 3, "can be no emulator's name"),
        (["x", "--create", "--image", "android-35"], 3, "is no system image"),
        (
            ["x", "--create", "--image", "system-images;android-99;default;x86_64"],
            3,
            "sdkmanager 'system-images;android",
        ),
        (["Pixel_8_API_35", "--create", "--image", IMAGE], 3, "exists already"),
    ]:
        assert execute(["devices", "boot", *words]) == code
        assert says in capsys.readouterr().err


def test_those_at_rest_are_listed_beside_the_devices(boot, sdk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boot(1)
    add(sdk, "Pixel_8_API_35")
    assert execute(["devices"]) == 0
    assert "palmtop devices boot Pixel_8_API_35" in capsys.readouterr().out
    assert execute(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bootable"] == ["Pixel_8_API_35"]


def test_without_an_sdk_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in ("emulator", "avdmanager"):
        with pytest.raises(ToolMissing, match=program):
            emulators.find(program, os.environ)
    assert execute(["devices", "boot", "Pixel"]) == 6
    assert "sdkmanager emulator" in capsys.readouterr().err
    place = tmp_path / "Android" / "Sdk" / "emulator" / "emulator"
    place.parent.mkdir(parents=True)
    place.write_text("#!/bin/sh\n")
    place.chmod(0o755)
    assert emulators.find("emulator", os.environ) == str(place)


def test_a_process_that_took_the_number_is_never_ended(tmp_path: Path) -> None:
    me = psutil.Process()
    other = emulators.Running(name="x", serial="emulator-5554", pid=me.pid, started=me.create_time() - 60, log="")
    emulators._keep(tmp_path, (other,))
    assert emulators.started(tmp_path) == ()
    with pytest.raises(SettingsError):
        emulators.stop("x", tmp_path)
    (tmp_path / "emulators.json").write_text("{")
    with pytest.raises(SettingsError, match="cannot be read"):
        emulators.started(tmp_path)


def test_ports_that_are_taken_are_passed_over(boot, adb_server: PrivateServer, sdk: Path) -> None:
    import socket

    boot(1)
    with socket.create_server(("127.0.0.1", 5601)):
        assert emulators._free_port(adb_server.server) >= 5602
