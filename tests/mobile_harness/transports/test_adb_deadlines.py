"""Every verb on a device that is online and dead: each ends in time, and in the one kind of error that is promised."""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_lab import PACKAGE, RUNNER, PrivateServer, write_app

from mobile_harness import adb as adb_room
from mobile_harness import plans, transports
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Session
from mobile_harness.transports import _adb_activity, _adb_app, adb
from mobile_harness.transports._adb_app import BenchApp
from mobile_harness.transports._adb_device import AdbDevice
from mobile_harness.transports.base import DeviceFailed, Job
from mobile_harness.virtual_device import faults
from toolkit.core import store
from toolkit.core.clock import SystemClock
from toolkit.core.tools import Tools

DEADLINE_S = 0.1
WITHIN_S = 15.0
"""Most that any verb may take with every deadline cut to :data:`DEADLINE_S`: several calls and a way back each."""


def cut_all_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every constant in seconds of the rooms that talk to adb, whatever it is called."""
    ours = [item.name for item in pkgutil.iter_modules(transports.__path__) if item.name.startswith("_adb_")]
    rooms = {adb_room: [item.name for item in pkgutil.iter_modules(adb_room.__path__)], transports: ours}
    for module in (
        importlib.import_module(f"{room.__name__}.{name}") for room, names in rooms.items() for name in names
    ):
        for name, value in list(vars(module).items()):
            if name.isupper() and name.endswith("_S") and isinstance(value, float):
                monkeypatch.setattr(module, name, min(value, DEADLINE_S))


def verbs(device: AdbDevice, blob: store.Blob, package: Path) -> dict[str, Callable[[], object]]:
    session = device._session
    job = Job(
        run="0123abcd", target="onnx", model="/data/local/tmp/x", model_sha256="0" * 64, golden=None,
        plan=plans.load("quick"),
    )  # fmt: skip
    app = BenchApp(package=PACKAGE, runner=RUNNER, files=(package,))
    return {
        "push": lambda: device.push(blob),
        "launch": lambda: device.launch(job),
        "poll": lambda: device.poll(0.1),
        "pull": lambda: device.pull(job.run),
        "vitals": lambda: device.vitals("idle"),
        "evidence": device.evidence,
        "stop": device.stop,
        "cleanup": device.cleanup,
        "run": lambda: session.run(["true"], DEADLINE_S),
        "send": lambda: session.push(package, "/data/local/tmp/y"),
        "fetch": lambda: session.fetch("/data/local/tmp/y", 10),
        "look": lambda: session.look("/data/local/tmp/y", DEADLINE_S),
        "features": session.features,
        "recover": lambda: session.recover(DEADLINE_S),
        "install": lambda: _adb_app.install(session, app, SystemClock()),
        "uninstall": lambda: _adb_app.uninstall(session, PACKAGE),
        "start_activity": lambda: _adb_activity.start_activity(session, f"{PACKAGE}/.Main"),
        "read_log": lambda: _adb_activity.read_log(session, PACKAGE),
    }


UNHARMED = {"poll", "stop", "cleanup", "evidence", "features", "pull", "vitals"}
"""Verbs that may return: they have nothing to ask, tell of the trouble otherwise, or have the answer already."""


KINDS = {"lost", "timeout", "closed", "offline", "not_found"}


def kind_of_trouble(verb: Callable[[], object]) -> str:
    """Return the kind of the one error that a verb may raise, or nothing when it returned."""
    try:
        verb()
    except (DeviceFailed, AdbFailed) as error:
        return error.kind if error.message else "without a word"
    return ""


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.Silent(on=""), id="silent"),
        pytest.param(faults.Hang(on="^(shell|exec|sync)"), id="hang", marks=pytest.mark.slow),
    ],
)
def test_every_verb_of_a_dead_device_ends_with_its_kind_of_error(
    boot, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: faults.Fault
) -> None:
    farm = boot(1)
    (device,) = adb.discover(tools).devices
    assert isinstance(device, AdbDevice)
    (tmp_path / "model.onnx").write_bytes(b"12345")
    blob = store.blob_of(tmp_path / "model.onnx")
    package = write_app(tmp_path)
    cut_all_deadlines(monkeypatch)
    device._session.features()
    farm[0].faults.add(fault)
    for name, verb in verbs(device, blob, package).items():
        started = time.monotonic()
        kind = kind_of_trouble(verb)
        assert kind in KINDS or (kind == "" and name in UNHARMED), (name, kind)
        assert time.monotonic() - started < WITHIN_S, name
    farm[0].faults.clear()


def test_discovery_with_a_dead_device_ends_and_says_so(boot, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    boot(1, [faults.Silent(on="")])
    cut_all_deadlines(monkeypatch)
    (item,) = adb.discover(tools).unusable
    assert "does not answer" in item.reason


def test_a_session_s_command_is_an_error_and_no_half_answer(
    boot, adb_server: PrivateServer, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = boot(1)
    (device,) = adb.discover(tools).devices
    assert isinstance(device, AdbDevice)
    session: Session = device._session
    farm[0].faults.add(faults.Drop(on="echo begun", after_s=0.2))
    with pytest.raises(AdbFailed) as caught:
        session.run(["sh", "-c", "echo begun; sleep 5; echo done"], 3)
    assert caught.value.kind in ("closed", "offline", "not_found")
    session.recover(10)
