"""What the transport finds: every phone once, every trouble with its reason, and no one waits for a hung neighbour."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from adb_lab import PrivateServer, free_port, private_server, use

from mobile_harness import lab
from mobile_harness.adb.address import Server, is_listening
from mobile_harness.adb.server import ServerInfo
from mobile_harness.adb.session import Route
from mobile_harness.transports import _adb_found, adb
from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.profile import Profile
from mobile_harness.vitals.devices import Row, read_devices
from mobile_harness.vitals.identity import identify
from toolkit.cli.main import execute
from toolkit.core.tools import Tools


def test_a_device_is_described_and_labelled(boot, tools: Tools) -> None:
    boot(profile=Profile(model="palmtop virtual device", sdk=34, memory_kb=3 << 20))
    found = adb.discover(tools)
    (device,) = found.devices
    assert found.unusable == ()
    assert lab.selector(device) == "adb:virtual-0"
    info = device.info
    assert (info.platform, info.kind, info.os_version, info.ram_mb) == ("android", "virtual", "14 (API 34)", 3072)
    assert (info.model, info.soc) == ("palmtop virtual device", "palmtop virtual (host processor)")
    assert [tool.name.split()[0] for tool in device.tools] == ["adbutils", "adb"]
    assert device.tools[1].version.startswith("36.0")


def test_a_memory_that_no_phone_has_is_not_believed(boot, tools: Tools) -> None:
    boot(profile=Profile(memory_kb=99_999_999_999))
    (device,) = adb.discover(tools).devices
    assert device.info.ram_mb == 0


def test_without_a_server_nothing_is_found_and_none_is_started(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("PALMTOP_ADB_SERVERS", f"127.0.0.1:{port}")
    assert adb.discover(tools) == adb.Found(devices=())
    assert not is_listening(Server("127.0.0.1", port))


def test_devices_that_cannot_be_used_are_listed_with_the_reason(boot, adb_server: PrivateServer, tools: Tools) -> None:
    farm = boot(2, [faults.Unauthorized()], connect=False)
    for item in farm.devices:
        adb_server.adb("connect", item.address)
    _until(lambda: {item.reason.split(":")[0] for item in adb.discover(tools).unusable} == {"unauthorized"})
    found = adb.discover(tools)
    assert [lab.selector(item) for item in found.devices] == ["adb:virtual-1"]
    (blocked,) = found.unusable
    assert (blocked.serial, "Allow USB debugging" in blocked.hint) == (farm[0].address, True)
    farm.allow(0)
    _until(lambda: len(adb.discover(tools).devices) == 2)
    assert [item.info.serial for item in adb.discover(tools).devices] == ["virtual-0", "virtual-1"]


def _until(holds, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end


def test_a_hung_device_delays_no_other(boot, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    boot(3, [faults.Silent(on="^shell,v2")])
    monkeypatch.setattr(_adb_found, "DEVICE_S", 1.0)
    started = time.monotonic()
    found = adb.discover(tools)
    assert [item.info.serial for item in found.devices] == ["virtual-1", "virtual-2"]
    (hung,) = found.unusable
    assert "its shell does not answer" in hung.reason
    assert time.monotonic() - started < 10


def test_a_device_that_boots_or_talks_nonsense_is_told(boot, tools: Tools) -> None:
    farm = boot(2, [faults.Garbage(on="^shell,v2")])
    farm[1].system.properties.update({"sys.boot_completed": "", "dev.bootcomplete": ""})
    reasons = sorted(item.reason for item in adb.discover(tools).unusable)
    assert reasons[0].startswith("The device answered")
    assert reasons[1] == "it is still booting"


def test_one_phone_over_two_ways_is_one_device_and_survives_the_loss_of_one(
    boot, adb_server: PrivateServer, tools: Tools, tmp_path: Path
) -> None:
    farm = boot(2)
    other = f"localhost:{farm[0].port}"
    adb_server.adb("connect", other)
    try:
        _until(lambda: adb_server.adb("-s", other, "get-state").stdout.strip() == "device")
        found = adb.discover(tools).devices
        assert [item.info.serial for item in found] == ["virtual-0", "virtual-1"]
        session = found[0]._session
        assert {route.serial for route in session.routes} == {farm[0].address, other}
        adb_server.adb("disconnect", session.route.serial)
        (tmp_path / "x").write_text("1")
        session.recover(10)
        assert session.run(["echo", "here"], 5).text == "here\n"
    finally:
        adb_server.adb("disconnect", other)


def test_devices_that_claim_the_same_serial_keep_apart(boot, adb_server: PrivateServer, tools: Tools) -> None:
    farm = boot(2)
    for item, model in zip(farm.devices, ("box one", "box two"), strict=True):
        item.system.properties.update({"ro.serialno": "same", "ro.product.model": model})
    names = [item.info.serial for item in adb.discover(tools).devices]
    assert sorted(names) == sorted(f"same-{item.address}" for item in farm.devices)
    farm[0].system.properties["ro.serialno"] = farm[1].system.properties["ro.serialno"] = "../../x; reboot\n"
    assert all("/" not in item.info.serial and " " not in item.info.serial for item in adb.discover(tools).devices)


MARKS = {"phone": {}, "emulator": {"ro.kernel.qemu": "1"}, "virtual": {"ro.palmtop.virtual": "1"}}


def answer(serial: str, *, bus: str = "", boot: str = "", name: str = "R58M", kind: str = "phone"):
    """Return what one transport says of itself."""
    server = Server("127.0.0.1", 5037)
    return _adb_found._Answer(
        route=Route(server=server, serial=serial), row=Row(serial=serial, state="device", bus=bus),
        server=ServerInfo(server=server, protocol=41), ram_mb=1, boot_id=boot,
        identity=identify({"ro.serialno": name, "ro.product.model": "box", **MARKS[kind]}),
    )  # fmt: skip


ONE, OTHER = "5d1d9c1e-0000-4000-8000-000000000001", "5d1d9c1e-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("ways", "phones"),
    [
        ([answer("R58M", bus="usb:1-2"), answer("10.0.0.2:5555"), answer("adb-R58M-x._adb-tls-connect._tcp")], 1),
        ([answer("R58M", bus="usb:1-2", boot=ONE), answer("10.0.0.2:5555", boot=ONE)], 1),
        ([answer("10.0.0.2:5555", boot=ONE), answer("10.0.0.3:5555", boot=OTHER)], 2),
        ([answer("R58M", bus="usb:1-2", boot=ONE), answer("R58M", bus="usb:1-3", boot=ONE)], 2),
        ([answer("a", name="unknown", boot=ONE), answer("b", name="unknown", boot=ONE)], 1),
        ([answer("a", name="unknown"), answer("b", name="unknown")], 2),
        ([answer("a", kind="virtual"), answer("b", kind="virtual")], 2),
        ([answer("emulator-5554", kind="emulator"), answer("emulator-5556", kind="emulator")], 2),
        ([answer("emulator-5554", kind="emulator", boot=ONE), answer("localhost:5555", kind="emulator", boot=ONE)], 1),
    ],
)  # fmt: skip
def test_ways_to_one_phone_are_one_and_phones_that_say_the_same_are_two(ways, phones: int) -> None:
    assert len(_adb_found._phones(ways)) == phones


def test_virtual_devices_of_two_computers_that_bear_one_serial_are_two(
    boot, adb_server: PrivateServer, tools: Tools
) -> None:
    boot(1)
    boot(1)
    names = [item.info.serial for item in adb.discover(tools).devices]
    assert len(names) == 2
    assert all(name.startswith("virtual-0-127.0.0.1:") for name in names)


def test_several_servers_are_asked(
    boot, adb_server: PrivateServer, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(1)
    with private_server(tmp_path) as second:
        farm = boot(2, connect=False)
        farm[1].system.properties["ro.serialno"] = "farther"
        second.adb("connect", farm[1].address)
        _until(lambda: second.adb("-s", farm[1].address, "get-state").stdout.strip() == "device")
        silent = f"127.0.0.1:{free_port()}"
        monkeypatch.setenv("PALMTOP_ADB_SERVERS", f"{adb_server.server},{silent},{second.server}")
        found = adb.discover(tools)
        assert [item.info.serial for item in found.devices] == ["farther", "virtual-0"]
        assert found.unusable == ()


def test_an_adb_that_does_not_run_is_a_reason_and_no_error(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "adb"
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(broken))
    monkeypatch.setenv("PALMTOP_ADB_SERVERS", f"127.0.0.1:{free_port()}")
    assert "not installed" in adb.wake(tools)[0].reason
    broken.write_text("no program")
    assert "does not run" in adb.wake(tools)[0].reason
    broken.chmod(0o755)
    broken.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    assert "exit code 1" in adb.wake(tools)[0].reason
    assert execute(["devices", "--json"]) == 0
    (item,) = [row for row in json.loads(capsys.readouterr().out)["unusable"] if row["transport"] == "adb"]
    assert "cannot be started" in item["reason"]


def test_the_command_starts_a_server_and_shows_the_devices(
    boot, adb_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boot(1)
    monkeypatch.setenv("COLUMNS", "200")
    assert execute(["devices"]) == 0
    said = capsys.readouterr().out
    assert "adb:virtual-0" in said
    assert "Android 14 (API 34)" in said
    fresh = PrivateServer(program=adb_server.program, server=Server("127.0.0.1", free_port()), home=tmp_path)
    use(monkeypatch, fresh)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    try:
        assert execute(["devices", "--json"]) == 0
        assert is_listening(fresh.server)
    finally:
        fresh.adb("kill-server")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("R58M unauthorized usb:1-2 transport_id:4", "does not allow debugging"),
        ("R58M authorizing transport_id:4", "is asking"),
        (
            "R58M no permissions (missing udev rules? user is in the plugdev group); see [http://x] usb:1-2",
            "udev rules?",
        ),
        ("R58M recovery usb:1-2", "recovery mode"),
        ("R58M sideload", "sideloaded"),
        ("R58M bootloader", "bootloader"),
        ("adb-22 (2)._adb-tls-connect._tcp offline transport_id:3", "does not answer"),
        ("R58M rescue", "rescue mode"),
    ],
)
def test_every_state_has_a_reason_and_a_hint(line: str, says: str) -> None:
    rows = read_devices(line)
    assert isinstance(rows, tuple)
    item = _adb_found._unusable_row(rows[0])
    assert says in item.reason
    assert item.hint
