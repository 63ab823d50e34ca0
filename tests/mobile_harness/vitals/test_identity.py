from __future__ import annotations

import pytest

from mobile_harness.vitals.devices import Row, read_devices
from mobile_harness.vitals.identity import identify, kind_of, read_page_size, read_properties
from mobile_harness.vitals.reading import Unreadable


def test_a_phone_by_its_properties(composed) -> None:
    properties = read_properties(composed("getprop_flagship.txt"))
    assert properties["persist.sys.boot.reason.history"] == (
        "reboot,userrequested,1760000000\nreboot,ota,1750000000\ncold,powerkey,1740000000"
    )
    assert properties["ro.kernel.qemu"] == ""
    assert properties["ro.product.model"] == "Model [5G]"
    assert len(properties) == 21
    assert properties["sys.boot_completed"] == "1"
    phone = identify(properties)
    assert (phone.serial, phone.model, phone.maker) == ("R5CN30ABCDE", "Model [5G]", "Maker")
    assert (phone.soc, phone.soc_maker, phone.soc_from) == ("SM8650", "QTI", "ro.soc.model")
    assert (phone.release, phone.api_level, phone.security_patch) == ("15", 35, "2025-01-01")
    assert phone.abis == ("arm64-v8a", "armeabi-v7a", "armeabi")
    assert phone.fingerprint == "maker/product/device:15/AP3A.240905.015/20250101:user/release-keys"
    assert (phone.build_type, phone.debuggable, phone.kind) == ("user", False, "phone")


def test_a_recorded_emulator(recorded) -> None:
    properties = read_properties(recorded("getprop__android6_emulator_x86_64_trim.txt"))
    assert len(properties) == 45
    assert properties["ro.bootimage.build.date"] == "Wed Jul 20 21:03:09 UTC 2016"
    emulator = identify(properties)
    assert (emulator.serial, emulator.model, emulator.maker) == ("", "Android SDK built for x86_64", "Android")
    assert (emulator.soc, emulator.soc_from) == ("ranchu", "ro.hardware")
    assert (emulator.release, emulator.api_level, emulator.security_patch) == ("6.0", 23, "2015-10-01")
    assert emulator.abis == ("x86_64", "x86")
    assert emulator.fingerprint.endswith(":userdebug/test-keys")
    assert (emulator.build_type, emulator.debuggable, emulator.kind) == ("userdebug", True, "emulator")


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, "phone"),
        ({"ro.kernel.qemu": "0"}, "phone"),
        ({"ro.boot.qemu": "1"}, "emulator"),
        ({"ro.hardware": "cutf_cvm"}, "emulator"),
        ({"ro.build.characteristics": "nosdcard,emulator"}, "emulator"),
        ({"ro.palmtop.virtual": "1", "ro.kernel.qemu": "1"}, "virtual"),
        ({"ro.palmtop.virtual": "0"}, "phone"),
    ],
)
def test_kinds(properties, kind) -> None:
    assert kind_of(properties) == kind


def test_older_systems_fall_back() -> None:
    old = identify({"ro.board.platform": "msm8996", "ro.product.cpu.abi": "armeabi-v7a", "ro.product.brand": "b"})
    assert (old.soc, old.soc_from, old.abis, old.maker, old.api_level) == (
        "msm8996", "ro.board.platform", ("armeabi-v7a",), "b", None,
    )  # fmt: skip
    assert identify({"ro.soc.model": "unknown", "ro.hardware": "qcom"}).soc == "qcom"


def test_a_listing_that_was_cut_loses_its_last_value_only() -> None:
    assert read_properties("[a]: [1]\n[b]: [two\nlines") == {"a": "1"}
    assert read_properties("[a]: [cut\n[b]: [2]") == {"b": "2"}
    assert read_properties("[a]: [first]\n[a]: [second]") == {"a": "first"}
    assert isinstance(read_properties("sh: getprop: not found"), Unreadable)


def test_control_characters_never_reach_a_report() -> None:
    properties = read_properties("[ro.product.model]: [\x1b[31mred\x07]")
    assert identify(properties).model == "\ufffd[31mred\ufffd"


def test_page_sizes() -> None:
    assert read_page_size("16384\n") == 16384
    assert isinstance(read_page_size("getconf: not found"), Unreadable)
    assert isinstance(read_page_size("5000"), Unreadable)


def test_every_state_of_a_transport(composed) -> None:
    rows = read_devices(composed("adb_devices_l.txt"))
    assert [row.state for row in rows] == [
        "device", "device", "offline", "unauthorized", "authorizing", "connecting", "bootloader", "recovery",
        "sideload", "rescue", "detached", "host", "no permissions", "device",
    ]  # fmt: skip
    assert rows[1] == Row(
        serial="adb-R5CN30ABCDE-x1Y2z3 (2)._adb-tls-connect._tcp",
        state="device",
        product="dm1q",
        model="SM_S911B",
        device="dm1q",
        transport_id=2,
    )
    assert rows[2] == Row(serial="192.168.7.21:5555", state="offline", transport_id=3)
    assert rows[12].note == "; see [http://developer.android.com/tools/device.html]"
    assert (rows[12].bus, rows[12].transport_id) == ("usb:1-11", 12)
    assert rows[13] == Row(
        serial="old4chars", state="device", bus="usb:2-1", product="razor", model="Nexus_7", device="flo"
    )


def test_recorded_listings(recorded) -> None:
    assert read_devices(recorded("adb_devices_l__daemon_start_mixed.txt")) == ()
    assert read_devices(recorded("adb_devices_l__macos_physical.txt")) == (
        Row(
            serial="200ABCDEFGHIJK", state="device", bus="231-1", product="panther", model="Pixel_7",
            device="panther", transport_id=1,
        ),
    )  # fmt: skip
    several = read_devices(recorded("adb_devices_l__multiple.txt"))
    assert [(row.serial, row.state, row.transport_id) for row in several] == [
        ("041234567892009a", "unauthorized", 2),
        ("KABCDABCDA1513", "device", 1),
        ("emulator-5554", "device", 4),
        ("emulator-5556", "offline", 32),
    ]
    assert several[0].bus == "usb:336675328X"
    assert several[1].model == "Kogan_Agora_9"


def test_recorded_permissions_and_buses(recorded) -> None:
    first, second = read_devices(recorded("adb_devices_l__no_permissions.txt"))
    assert (first.serial, first.state, first.bus, first.transport_id) == (
        "200ABCDEFGHIJK", "no permissions", "usb:5-4.4.1", 1,
    )  # fmt: skip
    assert first.note.startswith("(user russell is not in the plugdev group); see [http://")
    assert second.note.startswith("(missing udev rules? user is in the plugdev group)")
    mixed = read_devices(recorded("adb_devices_l__mixed_transports.txt"))
    assert [(row.serial, row.bus, row.model, row.transport_id) for row in mixed] == [
        ("emulator-5554", "", "Android_SDK_built_for_x86", 88),
        ("LGUS996e5ef677", "usb:341835776X", "LG_US996", 85),
        ("0a388e93", "usb:1-1", "Nexus_7", None),
        ("192.168.0.3:5555", "", "Redmi_Note_4", 1),
    ]


def test_a_server_has_no_header_and_an_error_is_no_listing() -> None:
    assert [row.serial for row in read_devices("abc\tdevice\ndef\toffline\n")] == ["abc", "def"]
    assert read_devices("") == ()
    assert isinstance(read_devices("error: cannot connect to daemon"), Unreadable)
    assert isinstance(read_devices("segmentation fault"), Unreadable)
    assert isinstance(read_devices("this device is no adb server"), Unreadable)
