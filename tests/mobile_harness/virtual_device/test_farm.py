"""Farms: in this process, and in one of their own that can be found and stopped."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from mobile_harness.virtual_device import background
from mobile_harness.virtual_device.farm import FarmFailed, start_farm
from mobile_harness.virtual_device.faults import KINDS, AppCrashes, Offline, planned
from toolkit.core import process
from toolkit.core.errors import SettingsError, UsageError


def test_a_farm_listens_here_only_and_leaves_nothing() -> None:
    with start_farm(3) as farm:
        folder = farm._folder
        assert folder.is_dir()
        assert len({device.port for device in farm.devices}) == 3
        for device in farm.devices:
            assert device._server.sockets[0].getsockname()[0] == "127.0.0.1"
        port = farm[0].port
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    farm.stop()


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_a_count_out_of_range(count: int) -> None:
    with pytest.raises(UsageError, match="cannot be started"):
        start_farm(count)


def test_faults_are_planned_for_one_or_all() -> None:
    found = planned(["offline", "2/app_crashes:after_frames=9"], 3)
    assert found == {None: [Offline()], 2: [AppCrashes(after_frames=9)]}
    with start_farm(3, faults=found) as farm:
        assert [device.faults.peek(AppCrashes) is not None for device in farm.devices] == [False, False, True]
        assert all(device.faults.holding(Offline) for device in farm.devices)


def test_a_fault_of_a_device_that_does_not_start_is_told() -> None:
    with pytest.raises(SettingsError, match="0 to 1"):
        planned(["2/offline"], 2)
    with pytest.raises(SettingsError, match="Unknown fault '²/offline'"):
        planned(["²/offline"], 2)
    assert not {"fault", "condition", "moment"} & KINDS.keys()


def test_a_device_that_does_not_come_online_is_named(adb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobile_harness.virtual_device.farm._ADB_S", 0.3)
    with start_farm(1, faults={0: [Offline()]}) as farm, pytest.raises(FarmFailed, match="did not take virtual-0"):
        farm.connect(adb.program, adb.port)


def test_in_the_background(adb, tmp_path: Path) -> None:
    path = tmp_path / "farm.json"
    words = ["--adb", adb.program, "--adb-port", str(adb.port), "--parent", str(os.getpid()), "--lifetime-s", "60"]
    state = background.boot(2, path, words)
    try:
        assert [place.serial for place in state.devices] == ["virtual-0", "virtual-1"]
        for place in state.devices:
            assert adb("-s", place.address, "shell", "getprop ro.serialno").stdout == f"{place.serial}\n"
        with pytest.raises(FarmFailed, match="2 virtual devices already run"):
            background.boot(1, path, words)
    finally:
        stopped = background.stop(path)
    assert stopped == state
    assert background.running(state) is None
    assert not path.exists()
    assert not [place for place in state.devices if place.address in adb("devices").stdout]
    assert background.stop(path) is None


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(FarmFailed, match="Did you mean 'offline'"):
        background.boot(1, tmp_path / "farm.json", ["--no-connect", "--fault", "ofline"])


def test_in_the_foreground_until_its_time(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mobile_harness.virtual_device", "--no-connect", "--lifetime-s", "0.1"]
    done = process.run([*argv, "--state", str(tmp_path / "s.json")], deadline_s=30)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["adb_port"] is None
    assert not (tmp_path / "s.json").exists()


def test_a_state_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for text in ("[", "[]", '{"schema": 9}', '{"schema": 1, "pid": "x"}'):
        path.write_text(text)
        with pytest.raises(SettingsError):
            background.read_state(path)


def test_a_process_number_of_another_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    background.keep(background.State(schema=1, pid=os.getpid(), started=1.0, adb_port=None, devices=()), path)
    assert background.stop(path) is None
    assert not path.exists()
