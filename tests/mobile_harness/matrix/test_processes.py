"""A real ``palmtop bench`` that is killed, interrupted or met by another: what is stored, repeated and left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mobile_harness.history import History, locate
from mobile_harness.records import RunRecord
from mobile_harness.transports import _adb_place
from mobile_harness.virtual_device.farm import Farm
from toolkit.core import process
from toolkit.core.clock import SystemClock

Start = Callable[..., Farm]
Words = Callable[..., list[str]]
LONG = {"sessions": 2, "min_seconds": 0.3}
PATIENCE_S = 200.0
ONE = ("--build", "onnx-float32")


class Bench:
    """A process, and what its history says of its run."""

    def __init__(self, child: Any, store: Path, errors: Path) -> None:
        self.process = child
        self.errors = errors
        self._store = store

    def record(self) -> RunRecord:
        return History(locate(str(self._store))).read("latest")

    def wait_for_sessions(self, count: int) -> RunRecord:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if self._store.exists() and History(locate(str(self._store))).runs():
                record = self.record()
                if len(taken(record)) >= count:
                    return record
            assert self.process.poll() is None, self.errors.read_text()
            SystemClock().sleep(0.05)
        raise AssertionError(self.errors.read_text())


def taken(record: RunRecord) -> dict[tuple[str, int], object]:
    """Return every stored session by its cell and its index."""
    return {(cell.id, session.index): session for cell in record.cells for session in cell.sessions}


@pytest.fixture
def launch(palmtop: Words, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as open_ones:

        def begin(*words: object, **plan: object) -> Bench:
            errors = tmp_path / "errors.txt"
            file = open_ones.enter_context(errors.open("wb"))
            argv = palmtop(*words, **(LONG | plan))
            child = open_ones.enter_context(process.start(argv, stderr_fd=file.fileno()))
            return Bench(child, tmp_path / "history.sqlite", errors)

        yield begin


def files_on(farm: Farm, number: int) -> list[str]:
    """Return what lies in our folder of a device."""
    home = farm[number].system.files.host_path(_adb_place.ROOT)
    return sorted(str(path) for path in home.rglob("*")) if home.exists() else []


def running_on(farm: Farm, number: int) -> list[str]:
    return [item.argv[0] for item in farm[number].system.processes.all() if "palmtop" in item.argv[0]]


def settings_of(farm: Farm, number: int) -> dict[str, str]:
    return {key: value for (space, key), value in farm[number].system.settings.items() if space == "global"}


def test_killed_in_the_middle_it_loses_nothing_and_repeats_nothing(
    start: Start, folder: Path, launch: Callable[..., Bench]
) -> None:
    farm = start(2)
    first = launch("bench", folder, "--device", "virtual")
    first.wait_for_sessions(3)
    first.process.kill()
    first.process.wait(10)
    before = first.record()
    assert {cell.failure.kind for cell in before.cells if cell.failure} <= {"interrupted"}
    half = taken(before)
    assert 3 <= len(half) < 8
    again = launch("bench", folder, "--resume", before.id)
    assert again.process.wait(PATIENCE_S) == 0, again.errors.read_text()
    after = again.record()
    assert after.id == before.id
    whole = taken(after)
    assert set(whole) == {(cell.id, index) for cell in after.cells for index in range(2)}
    assert {key: whole[key] for key in half} == half, "a session that was stored is never taken again"
    assert {cell.outcome for cell in after.cells} == {"measured"}
    for number in range(2):
        assert files_on(farm, number) == []
        assert settings_of(farm, number) == {}


def test_an_interrupt_leaves_the_device_clean_and_the_run_resumable(
    start: Start, folder: Path, launch: Callable[..., Bench]
) -> None:
    farm = start(1)
    bench = launch("bench", folder, *ONE, "--device", "virtual", min_seconds=2.0, max_seconds=4.0)
    bench.wait_for_sessions(1)
    assert files_on(farm, 0)
    assert settings_of(farm, 0) == dict(_adb_place.CHANGES)
    os.kill(bench.process.pid, signal.SIGINT)
    assert bench.process.wait(PATIENCE_S) == 130
    said = bench.errors.read_text()
    record = bench.record()
    assert re.search(rf"Error: interrupted; `palmtop bench .* --resume {record.id}` goes on", said)
    assert "Traceback" not in said
    assert (files_on(farm, 0), running_on(farm, 0), settings_of(farm, 0)) == ([], [], {})
    again = launch("bench", folder, "--resume", record.id)
    assert again.process.wait(PATIENCE_S) == 0, again.errors.read_text()
    assert taken(record).items() <= taken(again.record()).items()


def test_a_run_that_is_being_measured_is_refused_to_a_second_process(
    start: Start, folder: Path, launch: Callable[..., Bench], palmtop: Words, tmp_path: Path
) -> None:
    start(1)
    bench = launch("bench", folder, *ONE, "--device", "virtual", sessions=3, min_seconds=2.0, max_seconds=4.0)
    record = bench.wait_for_sessions(1)
    second = process.run(palmtop("bench", folder, "--resume", record.id, "--json"), deadline_s=PATIENCE_S)
    assert second.code == 3
    error = json.loads(second.stdout)["error"]
    assert f"Another palmtop is measuring the run {record.id} now" in error["message"]
    assert bench.process.poll() is None, "the first goes on"
