"""An app's screen: started, refused with the device's reason, and its log read within bounds."""

from __future__ import annotations

import pytest
from adb_lab import PACKAGE, PrivateServer

from mobile_harness.adb.session import Route, Session
from mobile_harness.transports import _adb_activity
from mobile_harness.transports.base import DeviceFailed
from mobile_harness.virtual_device.android import factory
from mobile_harness.virtual_device.android.packages import AppManifest
from toolkit.cli.main import execute
from toolkit.core.clock import SystemClock


@pytest.fixture
def farm(boot):
    made = boot(1)
    factory.install(made[0].system, AppManifest(package=PACKAGE, runner=f"{PACKAGE}.Runner", targets=("onnx",)))
    return made


@pytest.fixture
def session(adb_server: PrivateServer, farm) -> Session:
    return Session([Route(server=adb_server.server, serial=farm[0].address)], "adb:test", SystemClock())


def test_an_activity_comes_to_the_front(session: Session) -> None:
    start = _adb_activity.start_activity(session, f"{PACKAGE}/.MainActivity", {"mode": "it's $x"})
    assert (start.status, start.activity, start.complete) == ("ok", f"{PACKAGE}/.MainActivity", True)


@pytest.mark.parametrize(
    ("component", "extras", "says"),
    [
        ("org.else.where/.Main", {}, "does not exist"),
        ("nonsense; reboot", {}, "is no package/activity"),
        (f"{PACKAGE}/.Main", {"a b": "x"}, "is no key of an extra"),
    ],
)
def test_what_cannot_be_started_says_why(session: Session, component: str, extras: dict[str, str], says: str) -> None:
    with pytest.raises(DeviceFailed, match=says) as caught:
        _adb_activity.start_activity(session, component, extras)
    assert caught.value.kind == "cannot_launch"
    assert caught.value.hint


def test_the_log_of_a_running_app_is_read_within_bounds(session: Session, farm, monkeypatch) -> None:
    assert _adb_activity.read_log(session, PACKAGE) == ""
    pid = farm[0].system.processes.start(user="u0_a123", argv=(PACKAGE,), end=lambda signal: None).pid
    for number in range(50):
        farm[0].system.logs.add("I", "PALMTOP", f"line {number}", pid=pid)
    farm[0].system.logs.add("I", "OTHER", "of another", pid=1)
    said = _adb_activity.read_log(session, PACKAGE, 10)
    assert said.count("line") == 10
    assert "of another" not in said
    monkeypatch.setattr(_adb_activity, "LOG_BYTES_MAX", 100)
    assert len(_adb_activity.read_log(session, PACKAGE, 50)) <= 100


def test_the_command_opens_an_app_or_says_why_not(farm, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices", "open", "adb:virtual-0", f"{PACKAGE}/.MainActivity"]) == 0
    assert "is in front on adb:virtual-0" in capsys.readouterr().out
    assert execute(["devices", "open", "adb:virtual-1", f"{PACKAGE}/.MainActivity"]) == 3
    assert "Did you mean 'adb:virtual-0'" in capsys.readouterr().err
    assert execute(["devices", "open", "adb:virtual-0", "org.else/.Main"]) == 5
    assert "does not exist." in capsys.readouterr().err
    assert execute(["devices", "open", "adb:virtual-0", "nonsense; reboot"]) == 3
    assert "is no package/activity" in capsys.readouterr().err
