"""Installing: streamed, pushed, in sessions, and every way the package manager refuses."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import adbutils
import pytest

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android.packages import MANIFEST, AppManifest, write_test_package
from mobile_harness.virtual_device.farm import Farm

APP = AppManifest(package="org.palmtop.bench", runner="org.palmtop.bench.Runner", targets=("onnx",), version_code=5)


@pytest.fixture
def device(shared: Farm, adb):
    yield shared[0]
    adb.shell(shared[0], f"pm uninstall {APP.package}")


@pytest.fixture
def apk(tmp_path: Path):
    def write(name: str = "app.apk", **changes) -> str:
        return str(write_test_package(tmp_path / name, dataclasses.replace(APP, **changes)))

    return write


@pytest.mark.parametrize("way", [(), ("--no-streaming",), ("-r", "-t", "-g")])
def test_install_and_uninstall(adb, device, apk, way: tuple[str, ...]) -> None:
    done = adb.on(device, "install", *way, apk())
    assert done.code == 0, done.stderr
    assert "Success" in done.stdout
    assert adb.shell(device, "pm list packages").stdout == f"package:{APP.package}\n"
    assert adb.shell(device, "pm list instrumentation").stdout.startswith(
        f"instrumentation:{APP.package}/{APP.runner} "
    )
    path = adb.shell(device, f"pm path {APP.package}").stdout.strip().removeprefix("package:")
    assert adb.shell(device, f"ls {path}").code == 0
    assert "versionCode=5" in adb.shell(device, f"dumpsys package {APP.package}").stdout
    assert adb.on(device, "uninstall", APP.package).code == 0
    assert adb.shell(device, f"pm path {APP.package}").code == 1
    assert "Failure" in adb.on(device, "uninstall", APP.package).stdout


def test_splits_are_one_session(adb, device, apk) -> None:
    done = adb.on(device, "install-multiple", apk(), apk("extra.apk", split="extra"))
    assert done.code == 0, done.stderr
    assert adb.shell(device, f"pm path {APP.package}").stdout.count("package:") == 2
    done = adb.on(device, "install-multiple", apk(), apk("other.apk", package="org.other", split="x"))
    assert "INSTALL_FAILED_INVALID_APK" in done.stdout + done.stderr


def test_a_session_by_hand(adb, device, apk) -> None:
    adb.on(device, "push", apk(), "/data/local/tmp/app.apk")
    number = adb.shell(device, "pm install-create -r").stdout.split("[")[1].split("]")[0]
    size = adb.shell(device, "stat -c %s /data/local/tmp/app.apk").stdout.strip()
    text = f"cat /data/local/tmp/app.apk | pm install-write -S {size} {number} base.apk -"
    assert adb.shell(device, text).stdout == f"Success: streamed {size} bytes\n"
    assert adb.shell(device, f"pm install-commit {number}").stdout == "Success\n"
    assert adb.shell(device, f"pm install-commit {number}").code == 1


def test_adbutils_installs(adb, device, apk) -> None:
    client = adbutils.AdbClient(host="127.0.0.1", port=adb.port, socket_timeout=10).device(device.address)
    client.sync.push(Path(apk()), "/data/local/tmp/app.apk")
    client.install_remote("/data/local/tmp/app.apk")
    assert client.list_packages() == [APP.package]


def refused(adb, device, path: str, *flags: str) -> str:
    done = adb.on(device, "install", *flags, path)
    assert done.code == 1
    return done.stdout + done.stderr


def test_what_does_not_fit_the_device_is_refused(adb, device, apk) -> None:
    assert "[INSTALL_FAILED_OLDER_SDK: " in refused(adb, device, apk(min_sdk=99))
    assert "[INSTALL_FAILED_NO_MATCHING_ABIS: " in refused(adb, device, apk(abis=("riscv64",)))
    assert "[INSTALL_FAILED_TEST_ONLY: " in refused(adb, device, apk(test_only=True))
    assert adb.on(device, "install", "-t", apk(test_only=True)).code == 0


def test_what_does_not_fit_the_installed_one_is_refused(adb, device, apk) -> None:
    assert adb.on(device, "install", apk(debuggable=False)).code == 0
    assert "[INSTALL_FAILED_UPDATE_INCOMPATIBLE: " in refused(adb, device, apk(signature="other"))
    assert "[INSTALL_FAILED_VERSION_DOWNGRADE: " in refused(adb, device, apk(version_code=4))
    assert "[INSTALL_FAILED_VERSION_DOWNGRADE: " in refused(adb, device, apk(version_code=4), "-d")
    assert "[INSTALL_FAILED_ALREADY_EXISTS: " in refused(adb, device, apk(), "-R")
    assert adb.on(device, "install", apk(version_code=6)).code == 0


def test_an_update_keeps_the_data_and_clear_removes_it(adb, device, apk) -> None:
    adb.on(device, "install", apk())
    assert adb.shell(device, f"run-as {APP.package} sh -c 'echo mine > files/x; id -un; pwd'").stdout == (
        f"u0_a100\n/data/data/{APP.package}\n"
    )
    assert adb.shell(device, f"cat /data/data/{APP.package}/files/x").code == 1
    adb.on(device, "install", "-r", apk(version_code=6))
    assert adb.shell(device, f"run-as {APP.package} cat files/x").stdout == "mine\n"
    assert adb.shell(device, f"pm clear {APP.package}").stdout == "Success\n"
    assert adb.shell(device, f"run-as {APP.package} cat files/x").code == 1


def test_a_release_build_hides_its_data(adb, device, apk) -> None:
    adb.on(device, "install", apk(debuggable=False))
    assert "package not debuggable" in adb.shell(device, f"run-as {APP.package} id").stderr


def test_what_is_no_test_package_is_refused_out_loud(adb, device, tmp_path: Path) -> None:
    (tmp_path / "noise.apk").write_bytes(b"no zip at all")
    assert "[INSTALL_PARSE_FAILED_NOT_APK: " in refused(adb, device, str(tmp_path / "noise.apk"))
    with zipfile.ZipFile(tmp_path / "real.apk", "w") as archive:
        archive.writestr("AndroidManifest.xml", b"\x03\x00\x08\x00")
        archive.writestr("classes.dex", b"dex\n035")
    said = refused(adb, device, str(tmp_path / "real.apk"))
    assert "[INSTALL_PARSE_FAILED_UNEXPECTED_EXCEPTION: " in said
    assert "a real app's code does not run on it" in said
    for name, text in {
        "a": "{}",
        "b": "[",
        "c": '{"package": "../../x"}',
        "d": '{"package": "org.a", "more": 1}',
    }.items():
        with zipfile.ZipFile(tmp_path / f"{name}.apk", "w") as archive:
            archive.writestr(MANIFEST, text)
        assert "[INSTALL_PARSE_FAILED_" in refused(adb, device, str(tmp_path / f"{name}.apk"))
    assert adb.shell(device, "pm list packages").stdout == ""


@pytest.mark.parametrize(
    "reason",
    [
        "INSTALL_FAILED_UPDATE_INCOMPATIBLE", "INSTALL_FAILED_USER_RESTRICTED", "INSTALL_FAILED_VERIFICATION_FAILURE",
        "INSTALL_FAILED_INSUFFICIENT_STORAGE", "INSTALL_FAILED_INTERNAL_ERROR", "INSTALL_FAILED_ABORTED",
    ],
)  # fmt: skip
def test_every_class_of_failure_can_be_planned(adb, shared: Farm, device, apk, reason: str) -> None:
    device.faults.add(faults.InstallFails(reason=reason, message="as planned", on="bench"))
    assert f"Failure [{reason}: as planned]" in refused(adb, device, apk())
    assert adb.on(device, "install", apk()).code == 0
    assert [event.subject for event in shared.log.events("install_fails")][-1] == APP.package
    device.faults.clear()


def test_a_full_storage_refuses_to_install_and_to_push(adb, device, apk, tmp_path: Path) -> None:
    device.faults.add(faults.StorageFull(free_bytes=100))
    assert "[INSTALL_FAILED_INSUFFICIENT_STORAGE: " in refused(adb, device, apk())
    (tmp_path / "big").write_bytes(bytes(300_000))
    done = adb.on(device, "push", str(tmp_path / "big"), "/data/local/tmp/big")
    assert done.code == 1
    assert "No space left on device" in done.stdout + done.stderr
    assert adb.shell(device, "ls /data/local/tmp/big").code == 1
    assert adb.shell(device, "df /data | tail -n 1").stdout.split()[3] == "0"
    device.faults.clear()
    assert adb.on(device, "install", apk()).code == 0


def test_nothing_is_left_of_failed_installations(adb, device, apk) -> None:
    before = device.system.files.used
    refused(adb, device, apk(min_sdk=99))
    assert device.system.files.used == before
    assert not list((device.system.files.root / "data/app").iterdir())


def test_am_start_and_unknown_instrumentation(adb, device, apk) -> None:
    adb.on(device, "install", apk())
    done = adb.shell(device, f"am start -W -n {APP.package}/.Main")
    assert "Status: ok\nLaunchState: COLD\n" in done.stdout
    done = adb.shell(device, "am start -W -n org.nope/.Main")
    assert "Error type 3\nError: Activity class {org.nope/.Main} does not exist.\n" in done.stdout
    done = adb.shell(device, f"am instrument -w -r {APP.package}/org.nope.Runner")
    assert done.code == 1
    assert "Unable to find instrumentation info" in done.stdout
