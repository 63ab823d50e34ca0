"""Whole sessions through the loop: real child processes that follow the protocol or break it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_builds import SHORT, scripted

from mobile_harness import parity, plans
from mobile_harness.measurer.loop import Cancelled, Watch, take
from mobile_harness.measurer.machine import Finish
from mobile_harness.measurer.session import Frame, figures
from mobile_harness.records import Failure, Session
from mobile_harness.transports.base import DeviceFailed, Job
from mobile_harness.transports.host import HostDevice
from toolkit.core.clock import SystemClock

JOB = Job(run="00c0ffee", target="onnx", model="m", model_sha256="ab" * 32, golden="g", plan=plans.load("quick"))
EXPECTED = (parity.Expected(output="y", dtype="float32", scale=10.0, samples=3),)
FRAME = Frame(index=2, started_utc="2026-11-23T00:00:00Z", expected=EXPECTED)


def watch() -> Watch:
    return Watch(clock=SystemClock(), cancelled=threading.Event(), progress=lambda phase, done: None)


@pytest.fixture
def devices() -> Iterator[list[HostDevice]]:
    made: list[HostDevice] = []
    yield made
    for device in made:
        device.cleanup()


def session(mode: str, devices: list[HostDevice]) -> tuple[Finish, Session | Failure]:
    device = scripted(mode)
    devices.append(device)
    finish = take(device, JOB, SHORT, watch())
    return finish, figures(finish, FRAME)


def test_a_whole_session_becomes_figures(devices: list[HostDevice]) -> None:
    finish, got = session("ok", devices)
    assert finish.outcome == "COMPLETE"
    assert isinstance(got, Session)
    assert len(got.latency_ns) == got.runs == 250
    assert (got.index, got.load_cold_ns, got.first_ns, got.warmup.runs) == (2, 1_000_000, 1_000_000, 40)
    assert (got.rss_before_load_kb, got.rss_after_load_kb, got.peak_rss_kb) == (1000, 1500, 1800)
    assert (got.parity.ok, got.parity.samples, got.parity.tolerance) == (True, 3, 10 / 128)
    assert got.live_gaps == 0


@pytest.mark.parametrize("mode", ["gaps", "mute", "bye_then_hang"])
def test_the_file_suffices(mode: str, devices: list[HostDevice]) -> None:
    finish, got = session(mode, devices)
    assert isinstance(got, Session)
    assert (finish.outcome == "COMPLETE") == (mode == "bye_then_hang")
    assert (got.live_gaps > 0) == (mode != "bye_then_hang")


@pytest.mark.parametrize(
    ("mode", "outcome", "kind", "words"),
    [
        ("crash", "CRASHED", "app_crash", "signal SIGSEGV in phase measure"),
        ("exits", "CRASHED", "app_crash", "exit code 7 in phase start"),
        ("garbage", "CRASHED", "app_crash", "exit code 0 in phase start"),
        ("hang", "HUNG", "hung", "no sign of life"),
        ("truncated", "PARTIAL", "result_corrupt", "does not end with the record"),
        ("corrupt", "PARTIAL", "result_corrupt", "checksum does not hold"),
        ("no_file", "PARTIAL", "result_corrupt", "there is no result file"),
        ("major", "REFUSED", "refused", "palmtop-bench 2.0"),
        ("model", "REFUSED", "refused", "another model"),
        ("error", "COMPLETE", "load_failed", "Frobnicate"),
        ("unequal", "COMPLETE", "parity", "off by up to 30"),
        ("liar", "COMPLETE", "protocol", "p50 is not that of its latencies"),
    ],
)  # fmt: skip
def test_each_way_to_fail_is_told_apart(
    mode: str, outcome: str, kind: str, words: str, devices: list[HostDevice]
) -> None:
    finish, got = session(mode, devices)
    assert finish.outcome == outcome
    assert isinstance(got, Failure)
    assert (got.kind, words in got.message) == (kind, True), got.message


def test_last_words_are_kept(devices: list[HostDevice]) -> None:
    _, got = session("crash", devices)
    assert isinstance(got, Failure)
    assert "about to fall" in got.hint


def test_without_golden_samples_figures_say_so(devices: list[HostDevice]) -> None:
    device = scripted("ok")
    devices.append(device)
    got = figures(take(device, JOB, SHORT, watch()), Frame(index=0, started_utc="", expected=()))
    assert isinstance(got, Session)
    assert (got.parity.ok, got.parity.samples) == (False, 0)


def test_a_cancelled_session_leaves_no_process(devices: list[HostDevice]) -> None:
    device = scripted("hang")
    devices.append(device)
    cancelled = threading.Event()
    timer = threading.Timer(1.0, cancelled.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        take(device, JOB, SHORT, Watch(clock=SystemClock(), cancelled=cancelled, progress=lambda phase, done: None))
    timer.join()
    assert time.monotonic() - started < 10
    assert not device.poll(0.1).running


def test_a_runner_that_is_not_there_cannot_launch(tmp_path: Path) -> None:
    device = HostDevice(SystemClock(), (str(tmp_path / "nowhere"),))
    try:
        with pytest.raises(DeviceFailed, match="does not start") as caught:
            take(device, JOB, SHORT, watch())
        assert caught.value.kind == "cannot_launch"
    finally:
        device.cleanup()
