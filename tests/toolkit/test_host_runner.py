"""The bench app in Python: whole sessions in their own process on a real tiny model, and its parts."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_builds import make_golden

from mobile_harness.wire import messages
from mobile_harness.wire.messages import Beat, Env, Error, Hello, Memory, ParityReading, Phase, Result, Samples, Warn
from mobile_harness.wire.transcript import Collector, Transcript, latencies_ns, merge, read_file
from toolkit.core import discovery, isolation, store
from toolkit.core.errors import DataError
from toolkit.core.process import Finished
from toolkit.core.tools import Tools
from toolkit.host_runner import machine, order, parity, timing
from toolkit.host_runner.channel import Channel

RUN = "00c0ffee"
PLAN = {
    "warmup_min_s": 0.1, "warmup_min_runs": 10, "warmup_max_s": 1.0, "min_runs": 100, "min_seconds": 0.3,
    "max_seconds": 3.0, "threads": 1, "accelerator": "cpu", "seed": 0, "sessions": 3, "new_field": True,
}  # fmt: skip


def word(plain: Any) -> str:
    return "--palmtop=" + base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def play(tools: Tools, wanted: dict[str, Any]) -> tuple[Finished, Transcript]:
    argv = [sys.executable, "-m", "toolkit.host_runner", word(wanted)]
    done = tools.run(argv, deadline_s=120, env=isolation.CHILD_ENVIRONMENT)
    live = Collector(RUN)
    for line in done.stdout.splitlines():
        live.feed(line)
    out = Path(wanted["out"])
    return done, merge(live, read_file(out.read_bytes()) if out.exists() else None)


def wish(build: Path, tmp_path: Path, /, **changes: Any) -> dict[str, Any]:
    plain = {
        "run": RUN, "target": "onnx", "model": str(build), "model_sha256": store.sha256_of(build), "golden": None,
        "out": str(tmp_path / "out.jsonl"), "plan": PLAN,
    }  # fmt: skip
    return {**plain, **changes}


@pytest.mark.parametrize("target", ["tflite", "onnx", "coreml"])
def test_every_target_names_the_runtime_that_a_session_needs(target: str) -> None:
    """Runs of unlike runtime versions are not compared: an empty version would let them pass as alike."""
    module = discovery.load("toolkit.targets", target)
    known = {tool.name: tool.version for tool in module.toolchain()}
    assert module.RUNTIME
    assert all(known[name][0].isdigit() for name in module.RUNTIME)


def test_a_session_tells_all_phases_in_their_order(tools: Tools, onnx_model: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.npz"
    isolation.isolate(tools, 120, make_golden, onnx_model, "onnx", golden)
    done, told = play(tools, wish(onnx_model, tmp_path, golden=str(golden)))
    assert (done.code, told.verified, told.live_gaps, told.fault) == (0, True, 0, "")
    hello = told.records[0].body
    assert isinstance(hello, Hello)
    assert (hello.major, hello.run, "onnxruntime" in hello.runtime) == (1, RUN, True)
    assert hello.runtime_ver[0].isdigit()
    phases = [(item.name, item.edge) for item in told.bodies(Phase)]
    names = ("load_cold", "parity", "load_warm", "first", "warmup", "measure")
    assert phases == [(name, edge) for name in names for edge in ("begin", "end")]
    ends = {item.name: item for item in told.bodies(Phase) if item.edge == "end"}
    assert all(ends[name].took_ns for name in names if name != "parity")
    assert (ends["load_cold"].took_ns or 0) > (ends["load_warm"].took_ns or 0)
    (reading,) = told.bodies(ParityReading)
    assert (reading.output, reading.max_abs, reading.n, reading.top1) == ("y", 0.0, 3, 1.0)
    assert reading.cos == pytest.approx(1)
    (result,) = told.bodies(Result)
    values = latencies_ns(told.bodies(Samples), "measure")
    assert len(values) == result.n >= 100
    assert result.runs >= result.n * result.stride
    assert (result.min, result.p50) == (min(values), sorted(values)[math.ceil(len(values) / 2) - 1])
    memory = {item.at: item for item in told.bodies(Memory)}
    assert memory["before_load"].rss_kb < (memory["after_load"].peak_kb or 0)
    assert memory["end"].rss_kb <= (memory["end"].peak_kb or 0)
    assert [item.at for item in told.bodies(Env)] == ["start", "end"]
    assert told.bodies(Warn) == ()
    assert not any(isinstance(record.body, messages.Unknown) or record.extra for record in told.records)


def test_without_golden_samples_it_says_so_and_measures(tools: Tools, onnx_model: Path, tmp_path: Path) -> None:
    done, told = play(tools, wish(onnx_model, tmp_path))
    assert done.code == 0
    assert [item.code for item in told.bodies(Warn)] == ["random_inputs"]
    assert told.bodies(ParityReading) == ()
    assert len(told.bodies(Result)) == 1


def wrong_shape(golden: Path) -> None:
    np.savez(golden, **{"in/x": np.zeros((2, 1, 3, 8, 8), np.float32), "out/y": np.zeros((2, 1, 5), np.float32)})


def wrong_output(golden: Path) -> None:
    np.savez(golden, **{"in/x": np.zeros((2, 1, 3, 16, 16), np.float32), "out/z": np.zeros((2, 1, 5), np.float32)})


def no_archive(golden: Path) -> None:
    golden.write_bytes(b"PK nothing")


@pytest.mark.parametrize("write", [wrong_shape, wrong_output, no_archive])
def test_golden_samples_that_do_not_fit_end_before_any_timing(
    write: Any, tools: Tools, onnx_model: Path, tmp_path: Path
) -> None:
    write(tmp_path / "golden.npz")
    done, told = play(tools, wish(onnx_model, tmp_path, golden=str(tmp_path / "golden.npz")))
    (error,) = told.bodies(Error)
    assert (done.code, error.code, error.where, error.fatal) == (1, "check_failed", "parity", True)
    assert told.verified
    assert told.bodies(Samples) == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model_sha256": "0" * 64}, "model_hash"),
        ({"model": "/nowhere/model.onnx"}, "model_missing"),
        ({"target": "onxn"}, "bad_args"),
        ({"plan": {**PLAN, "accelerator": "npu"}}, "accelerator_unavailable"),
    ],
)
def test_what_it_cannot_measure_is_refused_with_a_word(
    changes: dict[str, Any], code: str, tools: Tools, onnx_model: Path, tmp_path: Path
) -> None:
    done, told = play(tools, wish(onnx_model, tmp_path, **changes))
    (error,) = told.bodies(Error)
    assert (done.code, error.code, told.verified) == (1, code, True)
    assert len(error.msg) <= 400


def test_a_model_that_does_not_load_is_told(tools: Tools, tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no model at all")
    done, told = play(tools, wish(model, tmp_path))
    (error,) = told.bodies(Error)
    assert (done.code, error.code, error.where) == (1, "load_failed", "load_cold")


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--palmtop="], ["--palmtop=!!"], [word([1])], [word({"run": RUN})], [word({"run": "x", "plan": PLAN})],
        [word(1), word(1)],
        [word({"run": "XYZ", "target": "onnx", "model": "m", "model_sha256": "", "out": "o", "plan": PLAN})],
        [word({"run": RUN, "target": "onnx", "model": "m", "model_sha256": "", "out": "o", "plan": 7})],
    ],
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(order.BadOrder):
        order.read(arguments)


def test_a_refused_order_ends_with_code_two_and_words(tools: Tools) -> None:
    done = tools.run([sys.executable, "-m", "toolkit.host_runner"], deadline_s=60)
    assert (done.code, "give the order once" in done.stderr) == (2, True)


def test_unknown_keys_of_an_order_are_ignored(tmp_path: Path) -> None:
    found = order.read([word({**wish(Path(__file__), tmp_path), "mood": "fine"})])
    assert (found.plan.min_runs, found.golden, found.target) == (100, None, "onnx")


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    with (tmp_path / "live").open("wb") as live:
        made = Channel(RUN, tmp_path / "out.jsonl", live)
        yield made
        made.close("ok")


def plan(**changes: float) -> order.Plan:
    kept = {key: value for key, value in PLAN.items() if key not in ("sessions", "new_field")}
    return order.Plan(**{**kept, **changes})  # type: ignore[arg-type]


class Clock:
    """Time that passes only while the model runs, so that what the loops decide can be foretold."""

    def __init__(self, *costs_ns: int) -> None:
        self.now = 0
        self.calls = 0
        self.costs = costs_ns

    def call(self) -> None:
        self.now += self.costs[min(self.calls, len(self.costs) - 1)]
        self.calls += 1

    def read(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    def made(*costs_ns: int) -> Clock:
        clock = Clock(*costs_ns)
        monkeypatch.setattr(timing, "_now", clock.read)
        return clock

    return made  # type: ignore[return-value]


def test_warm_up_waits_until_three_blocks_stand_still(clock: Any, channel: Channel) -> None:
    ramp = [int(10e6 * 0.98**step) for step in range(60)]
    time = clock(*ramp)
    warmed = timing.warm_up(time.call, plan(warmup_min_s=0.1, warmup_max_s=10), channel)
    assert warmed.converged
    assert warmed.runs == 120
    assert warmed.typical_ns == ramp[-1]


def test_warm_up_ends_at_its_cap_unconverged(clock: Any, channel: Channel) -> None:
    time = clock(*[int(1e6 * 1.01**step) for step in range(400)])
    warmed = timing.warm_up(time.call, plan(warmup_min_s=0.1, warmup_max_s=0.5), channel)
    assert not warmed.converged
    assert warmed.took_ns == pytest.approx(0.5e9, rel=0.1)


def test_warm_up_of_a_slow_model_is_cut_inside_a_block(clock: Any, channel: Channel) -> None:
    warmed = timing.warm_up(clock(int(1e9)).call, plan(warmup_max_s=3.0), channel)
    assert (warmed.runs, warmed.converged) == (3, False)


@pytest.mark.parametrize(
    ("cost_ns", "runs", "stride"),
    [(10_000_000, 100, 1), (1_000_000, 302, 1), (100_000_000, 30, 1), (10_000_000_000, 1, 1), (4_000, 75_002, 5)],
)
def test_measuring_takes_its_runs_and_seconds_and_its_cap(
    cost_ns: int, runs: int, stride: int, clock: Any, channel: Channel
) -> None:
    time = clock(cost_ns)
    series = timing.Series(channel)
    done = timing.measure(time.call, plan(), cost_ns, series, lambda count: None)
    assert (done.runs, done.stride) == (pytest.approx(runs, abs=20), stride)
    assert series.summary()["n"] == done.runs // stride
    assert series.summary()["p99"] == cost_ns


def test_calls_after_writing_are_not_timed(clock: Any, channel: Channel) -> None:
    time = clock(1_000_000)
    series = timing.Series(channel)
    done = timing.measure(time.call, plan(min_seconds=1.0), 1e6, series, lambda count: None)
    assert time.calls - done.runs == 3
    assert time.calls == done.calls


def test_beats_come_from_the_work_when_they_are_due(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "live").open("wb") as live:
        channel = Channel(RUN, tmp_path / "out.jsonl", live)
        channel.progress("warmup", 1, 0)
        monkeypatch.setattr("toolkit.host_runner.channel.BEAT_NS", 0)
        channel.progress("warmup", 2, 0)
        channel.close("ok")
    found = read_file((tmp_path / "out.jsonl").read_bytes())
    assert found.verified
    assert found.records[0].body == Beat(phase="warmup", done=2)


def test_a_result_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").touch()
    with (tmp_path / "live").open("wb") as live, pytest.raises(FileExistsError):
        Channel(RUN, tmp_path / "out.jsonl", live)


def test_distances_see_shape_nan_and_scale() -> None:
    near = parity.Distance()
    near.add(np.array([[1.0, 2.0]]), np.array([[1.0, 2.5]]))
    near.add(np.array([[3.0, 1.0]]), np.array([[1.0, 3.0]]))
    assert (near.max_abs, near.top1, near.samples) == (2.0, 0.5, 2)
    nan = parity.Distance()
    nan.add(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))
    nan.add(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert math.isnan(nan.max_abs)
    shape = parity.Distance()
    shape.add(np.zeros((2, 1)), np.zeros((1, 2)))
    assert shape.max_abs == math.inf
    picture = parity.Distance()
    picture.add(np.zeros((2, 2)), np.zeros((2, 2)))
    assert (picture.top1, picture.cosine) == (None, 1.0)


def test_golden_arrays_must_agree_on_the_number_of_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", **{"in/x": np.zeros((2, 1)), "out/y": np.zeros((3, 1))})
    with pytest.raises(DataError, match="different numbers"):
        parity.read(tmp_path / "g.npz")
    np.savez(tmp_path / "o.npz", **{"in/x": np.array([{}], dtype=object), "out/y": np.zeros((1, 1))})
    with pytest.raises(DataError, match="cannot be read"):
        parity.read(tmp_path / "o.npz")


def test_the_machine_tells_memory_and_processor_shares() -> None:
    assert machine.rss_kb() <= machine.peak_rss_kb()
    before = machine.CpuTimes(total=100, idle=50, steal=1, own=10)
    after = machine.CpuTimes(total=110, idle=52, steal=2, own=14)
    assert machine.shares(before, after) == machine.CpuShares(other=pytest.approx(0.3), steal=pytest.approx(0.1))
    assert machine.shares(before, before) is None
    assert machine.cpu_times().total > 0
