from __future__ import annotations

import pytest

from mobile_harness.vitals.adb_faults import classify, read_push
from mobile_harness.vitals.outcomes import Install, read_install, read_start, read_uninstall
from mobile_harness.vitals.reading import Unreadable


def test_success_is_a_line_without_a_complaint() -> None:
    assert read_install("Performing Streamed Install\r\nSuccess\r\n") == Install(
        kind="installed", reason="", message=""
    )
    assert read_install("Success\nFailure [INSTALL_FAILED_OLDER_SDK]").kind == "wrong_build"
    assert read_install("Success", "adb: failed to install x.apk: ").kind == "unknown"
    assert read_install("Unsuccessful").kind == "unknown"
    assert read_install("Error.apk: 1 file pushed, 0 skipped.\nSuccess").kind == "installed"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("INSTALL_FAILED_UPDATE_INCOMPATIBLE: Package signatures do not match", "reinstall"),
        ("INSTALL_PARSE_FAILED_INCONSISTENT_CERTIFICATES", "reinstall"),
        ("INSTALL_FAILED_VERSION_DOWNGRADE", "reinstall"),
        ("INSTALL_FAILED_SHARED_USER_INCOMPATIBLE", "reinstall"),
        ("INSTALL_FAILED_UID_CHANGED", "reinstall"),
        ("INSTALL_FAILED_USER_RESTRICTED: Install canceled by user", "user_action"),
        ("INSTALL_CANCELED_BY_USER", "user_action"),
        ("INSTALL_FAILED_VERIFICATION_FAILURE", "user_action"),
        ("INSTALL_FAILED_INSUFFICIENT_STORAGE", "space"),
        ("INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, res=-113", "wrong_build"),
        ("INSTALL_FAILED_CPU_ABI_INCOMPATIBLE", "wrong_build"),
        ("INSTALL_FAILED_OLDER_SDK", "wrong_build"),
        ("INSTALL_FAILED_DEPRECATED_SDK_VERSION: App package must target at least SDK version 24", "wrong_build"),
        ("INSTALL_FAILED_TEST_ONLY", "wrong_build"),
        ("INSTALL_FAILED_MISSING_FEATURE", "wrong_build"),
        ("INSTALL_PARSE_FAILED_NO_CERTIFICATES", "wrong_build"),
        ("INSTALL_PARSE_FAILED_NOT_APK", "wrong_build"),
        ("INSTALL_FAILED_INTERNAL_ERROR", "transient"),
        ("INSTALL_FAILED_MEDIA_UNAVAILABLE", "transient"),
        ("INSTALL_FAILED_VERIFICATION_TIMEOUT", "transient"),
        ("INSTALL_FAILED_FROM_THE_FUTURE", "unknown"),
    ],
)
def test_every_reason_has_a_class(words, kind) -> None:
    reason = words.partition(":")[0]
    line = f"adb: failed to install app.apk: Failure [{words}]"
    found = read_install("Performing Push Install\n", line + "\n")
    assert (found.kind, found.reason, found.message) == (kind, reason, line)
    assert found.action
    assert read_install(f"\tpkg: /data/local/tmp/app.apk\r\nFailure [{words}]\r\n").reason == reason


def test_failures_without_a_reason() -> None:
    assert read_install("", "adb: device offline").kind == "transient"
    assert read_install("", "error: device 'foo' not found").kind == "unreachable"
    assert read_install("", "cmd: Can't find service: package").kind == "transient"
    assert read_install("Error: java.io.IOException: Requested internal only, but not enough space").kind == "space"
    assert read_install("Exception occurred while executing 'install':\njava.lang.SecurityException").kind == "unknown"
    assert read_install("").kind == "transient"
    assert read_install("Failure [not a word]").reason == "not a word"


def test_recorded_install_to_a_missing_device(recorded) -> None:
    found = read_install(recorded("adb_error__device_not_found.txt"))
    assert found.kind == "unreachable"
    assert found.message == "error: device 'emulator-5556' not found"


def test_uninstalls() -> None:
    assert read_uninstall("Success\n").kind == "removed"
    assert read_uninstall("Failure [not installed for 0]").kind == "absent"
    assert read_uninstall("Failure [DELETE_FAILED_INTERNAL_ERROR]").kind == "for_user"
    assert read_uninstall("Failure [DELETE_FAILED_DEVICE_POLICY_MANAGER]").kind == "user_action"
    assert read_uninstall("Exception: java.lang.IllegalArgumentException: Unknown package: a.b").kind == "absent"
    assert read_uninstall("", "error: closed").kind == "transient"
    assert read_uninstall("Failure").kind == "unknown"


def test_a_recorded_start_names_another_app(recorded) -> None:
    found = read_start(recorded("am_start_W__launchstate.txt"))
    assert (found.status, found.launch_state, found.complete, found.error) == ("ok", "COLD", True, "")
    assert (found.this_ms, found.total_ms, found.wait_ms) == (None, 1479, 1482)
    assert found.activity == "com.facebook.alohaapps.launcher/com.facebook.aloha.app.home.touch.HomeActivity"
    assert "instead of com.facebook.encapp" in found.failure("com.facebook.encapp")
    assert found.failure("com.facebook.alohaapps.launcher") == ""


def test_starts() -> None:
    old = (
        "Starting: Intent { cmp=a.b/.C }\nStatus: ok\nActivity: a.b/.C\nThisTime: 357\nTotalTime: 360\nWaitTime: 380\n"
    )
    assert read_start(old + "Complete").this_ms == 357
    assert read_start(old + "Complete").failure("a.b") == ""
    assert read_start(old).failure("a.b") == "the start ended with ok status and is not complete"
    assert "timeout" in read_start("Status: timeout\nComplete").failure("a.b")
    missing = read_start("Error type 3\nError: Activity class {a.b/a.b.C} does not exist.\n")
    assert missing.failure("a.b") == "Error: Activity class {a.b/a.b.C} does not exist."
    assert isinstance(read_start(""), Unreadable)
    assert isinstance(read_start("am: not found"), Unreadable)


@pytest.mark.parametrize(
    ("text", "severity", "kind"),
    [
        ("device offline", "transient", "offline"),
        ("error: device offline", "transient", "offline"),
        ("adb: error: failed to get feature set: device offline", "transient", "offline"),
        ("device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "fatal", "unauthorized"),
        ("device still authorizing", "transient", "authorizing"),
        ("device still connecting", "transient", "offline"),
        ("error: device 'foo' not found", "fatal", "not_found"),
        ("adb: device 'foo' not found", "fatal", "not_found"),
        ("device 'closed timeout' not found", "fatal", "not_found"),
        ("error: no device with transport id '99'", "fatal", "not_found"),
        ("error: no devices/emulators found", "fatal", "no_device"),
        ("adb: more than one device/emulator", "fatal", "several_devices"),
        ("insufficient permissions for device: user in plugdev group", "fatal", "no_permissions"),
        ("closed", "transient", "closed"),
        ("error: closed", "transient", "closed"),
        ("connection closed", "transient", "closed"),
        ("", "transient", "closed"),
        ("error: protocol fault (couldn't read status): Connection reset by peer", "transient", "closed"),
        ("timed out", "timeout", "timeout"),
        ("failed to connect to '127.0.0.1:5999': Connection refused", "transient", "no_server"),
        ("* cannot start server\nerror: cannot connect to daemon at tcp:5037", "transient", "no_server"),
        ("error: unknown host service", "fatal", "not_supported"),
        ("adb: unknown command pair", "fatal", "not_supported"),
        ("adb server version (36) doesn't match this client (35); killing...", "fatal", "version"),
        ("FAIL", "transient", "unknown"),
    ],
)
def test_errors_of_both_servers(text, severity, kind) -> None:
    fault = classify(text)
    assert (fault.severity, fault.kind) == (severity, kind)


def commands(capture: str) -> list[tuple[str, str, str]]:
    """Return command, stdout and stderr of each command of one of our captures."""
    found = []
    for block in capture.split("\n$ ")[0:]:
        lines = block.splitlines()
        words = {key: [] for key in ("[stdout]", "[stderr]")}
        for line in lines[1:]:
            key, _, rest = line.partition(" ")
            if key in words:
                words[key].append(rest)
        found.append((lines[0].removeprefix("$ "), "\n".join(words["[stdout]"]), "\n".join(words["[stderr]"])))
    return found


@pytest.mark.parametrize("capture", ["debian_29.0.6", "platform_tools_36.0.0"])
def test_recorded_errors_of_both_servers(recorded, capture) -> None:
    expected = {
        "adb get-state": ("fatal", "no_device"),
        "adb -s foo get-state": ("fatal", "not_found"),
        "adb -s foo shell true": ("fatal", "not_found"),
        "adb -t 99 shell true": ("fatal", "not_found"),
        "adb -s foo install /etc/hostname": ("fatal", "not_found"),
        "adb connect 127.0.0.1:5999": ("transient", "no_server"),
        "adb pair 127.0.0.1:5999 123456": ("fatal", "not_supported"),
    }
    seen = 0
    for command, stdout, stderr in commands(recorded(f"adb_own_capture__{capture}.txt")):
        if command in expected:
            fault = classify(stderr or stdout)
            assert (fault.severity, fault.kind) == expected[command], command
            seen += 1
        if command.startswith("adb -s foo push"):
            assert (read_push(stdout).kind, read_push(stdout).fault.kind) == ("transport", "not_found")
            seen += 1
    assert seen >= 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("app.bin: 1 file pushed, 0 skipped. 25.3 MB/s (10485760 bytes in 0.395s)", "pushed"),
        ("a/: 12 files pushed. 1.0 MB/s", "pushed"),
        ("adb: error: failed to copy 'a' to '/x': remote couldn't create file: Permission denied", "permission"),
        ("adb: error: failed to copy 'a' to '/x': remote write failed: No space left on device", "space"),
        ("couldn't create file: Read-only file system", "read_only"),
        ("secure_mkdirs failed: Not a directory", "no_folder"),
        ("adb: error: failed to copy 'a' to '/x': couldn't read from device", "transport"),
        ("adb: error: cannot stat 'a': No such file or directory", "no_folder"),
        ("", "transport"),
        ("FAIL", "unknown"),
        ("1 file pushed\nadb: error: connect failed: closed", "transport"),
    ],
)
def test_pushes(text, kind) -> None:
    assert read_push(text).kind == kind
