"""What Xcode's tools print, read: recorded outputs where they are at hand, and whatever else may come."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_harness.apple import crashes, mobiledevice, phones, plain, simulators
from mobile_harness.apple.phones import Failure, Lock, Phone
from mobile_harness.apple.simulators import Inventory
from mobile_harness.vitals.reading import Unreadable

ROOT = Path(__file__).parents[3]
SAMPLES = Path(os.environ.get("PALMTOP_SAMPLES", ROOT.parent / "shared" / "research" / "device_samples"))


def sample(name: str) -> str:
    path = SAMPLES / name
    if not path.is_file():
        pytest.skip(f"the recorded output {name} is not at hand (PALMTOP_SAMPLES)")
    return path.read_text(encoding="utf-8")


def listed(name: str) -> Inventory:
    found = simulators.read_list(sample(name))
    assert isinstance(found, Inventory)
    return found


def known(name: str) -> tuple[Phone, ...]:
    found = phones.read_phones(sample(name))
    assert isinstance(found, tuple)
    return found


# simctl -----------------------------------------------------------------------------------------------------------


def test_a_new_list_has_runtimes_types_and_simulators() -> None:
    found = listed("simctl_list__xcode16_trim.json")
    assert [(item.name, item.version, item.platform) for item in found.runtimes] == [
        ("iOS 17.5", "17.5", "iOS"), ("iOS 18.0", "18.0", "iOS"),
    ]  # fmt: skip
    phone = next(item for item in found.simulators if item.udid.startswith("547F6011"))
    runtime, kind = found.runtime_of(phone), found.type_of(phone)
    assert runtime is not None
    assert (runtime.order, runtime.build, phone.state) == ((18, 0), "22A3351", "Shutdown")
    assert kind is None  # the list was cut: this type is not among those that were kept
    assert phone.data_path.endswith("/547F6011-D095-471A-8FB1-0BE2C0BA00B4/data")
    lost = next(item for item in found.simulators if item.udid.startswith("E1A75B48"))
    assert (lost.is_available, found.runtime_of(lost)) == (False, None)
    assert "runtime profile not found" in lost.why_not


def test_an_old_list_is_keyed_by_names_and_has_no_flags() -> None:
    found = listed("simctl_list__xcode10_alternate_keys_trim.json")
    by_udid = {item.udid: item for item in found.simulators}
    assert by_udid["53D7FAF6-83D7-415D-A3B4-20A9D8C37C44"].is_available
    assert not by_udid["0947BA43-EC3C-46BE-B46A-D20E2C21380E"].is_available
    assert by_udid["0947BA43-EC3C-46BE-B46A-D20E2C21380E"].why_not == "runtime profile not found"
    text = json.loads(sample("simctl_list__xcode10_alternate_keys_trim.json"))
    for rows in text["devices"].values():
        for row in rows:
            row.pop("isAvailable")
    old = simulators.read_list(json.dumps(text))
    assert isinstance(old, Inventory)
    assert [item.is_available for item in old.simulators] == [item.is_available for item in found.simulators]
    assert text["devices"].keys() >= {"iOS 12.1"}


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("simctl_list_devices__booted.json", {"Booted", "Shutdown"}),
        ("simctl_list_devices__shutting_down.json", {"Shutting Down", "Shutdown"}),
    ],
)
def test_states_are_as_they_stand_there(name: str, states: set[str]) -> None:
    assert {item.state for item in listed(name).simulators} == states


HEAD = "An error was encountered processing the command (domain={}, code={}):\n"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (HEAD.format("SimError", 405) + "Unable to boot device in current state: Booted", "state"),
        ("Unable to shutdown device in current state: Shutdown", "state"),
        ("Invalid device: 12345", "not_found"),
        (
            HEAD.format("NSPOSIXErrorDomain", 3) + "Failed to terminate org.x.\nfound nothing to terminate",
            "app_missing",
        ),
        ("Failed to install the application.\nFailed to find matching arch for input file", "wrong_build"),
        (HEAD.format("FBSOpenApplicationServiceErrorDomain", 4) + "The request failed", "app_missing"),
        ("No space left on device", "storage"),
        ("Connection invalid: CoreSimulatorService connection became invalid", "unreachable"),
        ("something new", "refused"),
        ("", "refused"),
    ],
)
def test_a_complaint_of_simctl_has_its_kind(said: str, kind: str) -> None:
    found, message = simulators.read_failure(said)
    assert found == kind
    assert "\n" not in message
    assert not message.startswith("An error was encountered processing")


def test_what_create_and_launch_print_is_read() -> None:
    assert simulators.read_udid("No runtime specified, using 'iOS'\n3062F87E-E482-4389-94D9-F4949BAED4A4\n") == (
        "3062F87E-E482-4389-94D9-F4949BAED4A4"
    )
    assert simulators.read_udid("sorry") == ""
    assert simulators.read_pid("org.else: 1\norg.palmtop.bench: 4711\n", "org.palmtop.bench") == 4711
    assert simulators.read_pid("org.palmtop.bench: x", "org.palmtop.bench") is None


# devicectl --------------------------------------------------------------------------------------------------------


def test_version_2_names_phones_and_watches() -> None:
    first, second = known("devicectl_list_devices__v2_success.json")
    assert (first.kind, first.model, first.os_version, first.os_build) == (
        "iPhone",
        "iPhone 13 Pro",
        "17.0.2",
        "21A351",
    )
    assert (first.pairing, first.connection, first.transport) == ("paired", "disconnected", "localNetwork")
    assert (first.developer_mode, first.cpu, first.is_simulator) == ("enabled", "arm64e", False)
    assert (second.kind, second.developer_mode) == ("appleWatch", "disabled")


def test_what_is_out_of_reach_and_what_says_nothing_is_known() -> None:
    assert [item.connection for item in known("devicectl_list_devices__v2_unreachable.json")] == [
        "connected",
        "unavailable",
    ]
    (old,) = known("devicectl_list_devices__ios16_usb_empty_hardware.json")
    assert (old.udid, old.pairing, old.kind) == ("", "unsupported", "")


def test_version_5_is_read_by_its_new_properties_and_simulators_are_told() -> None:
    phone, simulator = known("devicectl_list_devices__v5_xcode27_trim.json")
    assert (phone.os_version, phone.connection, phone.is_simulator) == ("27.0", "disconnected", False)
    assert simulator.is_simulator
    later = json.loads(sample("devicectl_list_devices__v5_xcode27_trim.json"))
    for row in later["result"]["devices"]:
        for old in ("connectionProperties", "deviceProperties", "hardwareProperties"):
            row.pop(old)
    without = phones.read_phones(json.dumps(later))
    assert isinstance(without, tuple)
    assert (without[0].udid, without[0].os_version) == ("00008110-0000000000000001", "27.0")


def test_details_and_lock_state_are_read() -> None:
    found = phones.read_details(sample("devicectl_info_details__v5_locked.json"))
    assert isinstance(found, Phone)
    assert (found.developer_mode, found.connection) == ("enabled", "connected")
    lock = phones.read_lock(sample("devicectl_info_lockstate__v5.json"))
    assert lock == Lock(passcode_required=True, unlocked_since_boot=True)
    assert phones.read_installed(sample("devicectl_install__success.json")) == ("dev.shorebird.ios-test",)


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("devicectl_launch__locked.json", "locked", "could not be, unlocked"),
        ("devicectl_install__failure.json", "unreachable", "Operation timed out"),
        ("devicectl_info_details__v5_not_found.json", "not_found", "was not found"),
    ],
)
def test_an_error_of_devicectl_has_its_kind(name: str, kind: str, says: str) -> None:
    found = phones.read_failure(sample(name))
    assert found is not None
    assert found.kind == kind
    assert says in found.message


def error(text: str, domain: str = "com.apple.dt.CoreDeviceError", code: int = 3002) -> str:
    body = {"domain": domain, "code": code, "userInfo": {"NSLocalizedDescription": {"string": text}}}
    return json.dumps({"error": body, "info": {"jsonVersion": 3, "outcome": "failed"}})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (error("Developer Mode is disabled."), "developer_mode"),
        (error("The device must be paired before it can be connected."), "unpaired"),
        (error("There is not enough space on the device."), "storage"),
        (error("No space left on device", "NSPOSIXErrorDomain", 28), "storage"),
        (error("The app is not installed on this device."), "app_missing"),
        (error("A valid provisioning profile for this executable was not found."), "wrong_build"),
        (error("?", code=1011), "unreachable"),
        (error(""), "refused"),
    ],
)
def test_words_count_where_no_code_does(text: str, kind: str) -> None:
    found = phones.read_failure(text)
    assert found is not None
    assert (found.kind, bool(found.message)) == (kind, True)


def test_no_error_is_none_and_an_unknown_version_says_so() -> None:
    assert phones.read_failure(sample("devicectl_launch__success.json")) is None
    found = phones.read_phones(json.dumps({"info": {"jsonVersion": 9}, "devices": []}))
    assert isinstance(found, Unreadable)
    assert "version 9, which is not known" in found.reason


def test_an_app_s_processes_are_its_own_and_not_its_extensions() -> None:
    def row(place: str, pid: object) -> dict[str, object]:
        return {"executable": place, "processIdentifier": pid}

    rows = [
        row("file:///x/Bench.app/Bench", 7), row("file:///x/Bench.app/PlugIns/W.appex/W", 8), row("file:///x/Other", 9),
        row("file:///x/Bench.app/Bench", 1), row("file:///x/Bench.app/Bench", "7"), row("file:///x/NotBench.app/B", 4),
    ]  # fmt: skip
    text = json.dumps({"result": {"runningProcesses": rows}})
    assert phones.read_processes(text, "Bench.app") == (7,)


# crash reports ----------------------------------------------------------------------------------------------------

CRASH = json.dumps({"app_name": "Bench", "bug_type": "309"}) + "\n" + json.dumps({
    "pid": 4711, "procName": "Bench", "exception": {"type": "EXC_BAD_ACCESS", "signal": "SIGSEGV"},
    "termination": {"indicator": "Segmentation fault: 11"}, "asi": {"dyld": ["a note"]},
    "threads": [{"frames": []}, {
        "triggered": True, "frames": [{"imageIndex": 0, "symbol": "predict"}, {"imageIndex": 9}],
    }],
    "usedImages": [{"name": "Bench"}],
})  # fmt: skip


def test_a_crash_report_is_told_in_a_few_lines() -> None:
    found = crashes.read_crash(CRASH)
    assert isinstance(found, crashes.Crash)
    assert found.words().splitlines() == [
        "Bench (process 4711): EXC_BAD_ACCESS (SIGSEGV)", "Segmentation fault: 11", "a note",
        "Stack (most recent call first):", "  Bench predict", "  ? ?",
    ]  # fmt: skip
    assert isinstance(crashes.read_crash("{}\n{}"), Unreadable)
    assert crashes.name_of("../../etc/passwd-2026-03-08-143542.ips") is None


def test_a_crash_report_s_file_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, link = tmp_path / "Bench-2026-03-08-143542.ips", tmp_path / "link.ips"
    report.write_text(CRASH)
    link.symlink_to(report)
    assert isinstance(crashes.read_file(report), crashes.Crash)
    assert isinstance(crashes.read_file(link), Unreadable)
    assert isinstance(crashes.read_file(tmp_path / "gone.ips"), Unreadable)
    monkeypatch.setattr(crashes, "REPORT_BYTES_MAX", 100)
    assert isinstance(crashes.read_file(report), Unreadable)


# pymobiledevice3 --------------------------------------------------------------------------------------------------

ATTACHED = json.dumps([
    {"UniqueDeviceID": "00008110-0000000000000001", "DeviceClass": "iPhone", "ConnectionType": kind,
     "ProductType": "iPhone14,5", "ProductVersion": "17.5", "BuildVersion": "21F79"} for kind in ("USB", "Network")
] + [{"Identifier": "../x", "DeviceClass": None}])  # fmt: skip


def test_a_phone_that_is_attached_twice_is_one() -> None:
    found = mobiledevice.read_attached(ATTACHED)
    assert isinstance(found, tuple)
    assert [(item.udid[-1], item.connection, item.os_version) for item in found] == [("1", "USB", "17.5")]
    assert mobiledevice.read_attached("[]") == ()
    assert isinstance(mobiledevice.read_attached("null"), Unreadable)
    assert mobiledevice.read_launched("log\nProcess launched with pid 512\n") == 512


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(ATTACHED)), st.text(max_size=10))
def test_a_damaged_listing_is_a_value_or_a_reason(cut: int, noise: str) -> None:
    for text in (ATTACHED[:cut], ATTACHED[:cut] + noise + ATTACHED[cut:], noise):
        assert isinstance(mobiledevice.read_attached(text), (tuple, Unreadable))


# whatever comes ---------------------------------------------------------------------------------------------------

READERS: dict[str, tuple[Callable[[str], object], tuple[type, ...]]] = {
    "simctl_list__xcode16_trim.json": (simulators.read_list, (Inventory,)),
    "simctl_list__xcode10_alternate_keys_trim.json": (simulators.read_list, (Inventory,)),
    "simctl_list_devices__booted.json": (simulators.read_list, (Inventory,)),
    "simctl_list_devices__shutting_down.json": (simulators.read_list, (Inventory,)),
    "devicectl_list_devices__v2_success.json": (phones.read_phones, (tuple,)),
    "devicectl_list_devices__v2_unreachable.json": (phones.read_phones, (tuple,)),
    "devicectl_list_devices__ios16_usb_empty_hardware.json": (phones.read_phones, (tuple,)),
    "devicectl_list_devices__v5_xcode27_trim.json": (phones.read_phones, (tuple,)),
    "devicectl_info_details__v5_locked.json": (phones.read_details, (Phone,)),
    "devicectl_info_details__v5_not_found.json": (phones.read_failure, (Failure, type(None))),
    "devicectl_info_lockstate__v5.json": (phones.read_lock, (Lock,)),
    "devicectl_install__success.json": (phones.read_installed, (tuple,)),
    "devicectl_install__failure.json": (phones.read_failure, (Failure, type(None))),
    "devicectl_launch__success.json": (phones.read_failure, (Failure, type(None))),
    "devicectl_launch__locked.json": (phones.read_failure, (Failure, type(None))),
    "devicectl_install__stdout_wired.txt": (phones.read_installed, (tuple,)),
    "devicectl_launch__locked_stderr.txt": (simulators.read_failure, (tuple,)),
}


def test_every_recorded_output_of_xcode_has_a_reader() -> None:
    if not SAMPLES.is_dir():
        pytest.skip("recorded outputs are not at hand (PALMTOP_SAMPLES)")
    assert {path.name for path in SAMPLES.glob("*ctl*") if path.name.startswith(("simctl", "devicectl"))} == set(
        READERS
    )


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_output_is_a_value_or_a_reason(name: str, data: st.DataObject) -> None:
    text = sample(name)
    read, kinds = READERS[name]
    cut = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.text(max_size=20))
    for damaged in (text[:cut], text[:cut] + noise + text[cut:], noise + text, text.replace("\n", "\r\n")):
        assert isinstance(read(damaged), (*kinds, Unreadable))


KEYS = (
    "devices", "runtimes", "devicetypes", "result", "error", "info", "identifier", "udid", "name", "state", "code",
    "properties", "hardware", "connection", "userInfo", "NSUnderlyingError", "domain", "iOS", "files",
    "runningProcesses", "installedApplications",
)  # fmt: skip
WORLD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=60, deadline=None)
@given(WORLD)
def test_json_of_any_shape_is_a_value_or_a_reason(shape: object) -> None:
    text = json.dumps({"devices": shape, "result": shape, "error": shape, "runtimes": shape, "devicetypes": shape})
    for read, kinds in set(READERS.values()):
        assert isinstance(read(text), (*kinds, Unreadable))
    assert isinstance(crashes.read_crash("{}\n" + json.dumps(shape)), (crashes.Crash, Unreadable))


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"devices":' * 50_000, '{"a":' + "9" * 100_000, "{" + '"x":1,' * 300_000, "\0" * 1000, "", "null"],
    ids=["deep list", "deep object", "long number", "many keys", "nul", "empty", "null"],
)
@pytest.mark.timeout(240)
def test_hostile_text_hangs_no_parser(text: str) -> None:
    for read, kinds in set(READERS.values()):
        assert isinstance(read(text), (*kinds, Unreadable))


def test_a_text_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "TEXT_MAX", 100)
    found = simulators.read_list('{"devices": {}}' + " " * 100)
    assert isinstance(found, Unreadable)
    assert "longer than" in found.reason


def test_hostile_names_are_shown_in_one_printable_line() -> None:
    name = "evil\x1b[2J\n| rm -rf / \u202e" + "x" * 500
    rows = [
        {"identifier": "id-12345678", "deviceProperties": {"name": name}, "hardwareProperties": {"udid": "../../x"}}
    ]
    found = phones.read_phones(json.dumps({"result": {"devices": rows}}))
    assert isinstance(found, tuple)
    assert found[0].name.isprintable()
    assert len(found[0].name) <= 200
    assert not phones.is_identifier(found[0].udid)
