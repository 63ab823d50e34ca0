"""A bench app that does nothing but talk: ``scripted.py MODE MEMO --palmtop=...``; the mode says how it ends.

It speaks through the real channel of the host runner, so what arrives is what a runner sends; only the figures are made
up. ``MEMO`` is a file that counts how often it was started.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.host_runner.channel import Channel

LATENCIES = [100_000 + (index * 37) % 900 for index in range(250)]


class Live(io.RawIOBase):
    """Standard output that loses the frames of some records."""

    def __init__(self, lost: range) -> None:
        self.lost = lost
        self.out = os.fdopen(os.dup(1), "wb")

    def write(self, data: Any) -> int:
        if int(bytes(data).split()[2]) not in self.lost:
            self.out.write(data)
        return len(data)

    def flush(self) -> None:
        self.out.flush()


def rest(seconds: float) -> None:
    threading.Event().wait(seconds)


def summary(values: list[int]) -> dict[str, Any]:
    ordered = sorted(values)
    digest = hashlib.sha256(b"".join(value.to_bytes(8, "little", signed=True) for value in values)).hexdigest()
    rank = {share: ordered[-(-share * len(ordered) // 100) - 1] for share in (50, 90, 99)}
    return {
        "n": len(values), "p50": rank[50], "p90": rank[90], "p99": rank[99], "min": ordered[0],
        "mean": sum(values) / len(values), "samples_sha256": digest, "runs": len(values), "stride": 1,
    }  # fmt: skip


def hello(channel: Channel, order: dict[str, Any], **changes: Any) -> None:
    fields = {
        "proto": "1.0", "run": order["run"], "app": "scripted", "app_ver": "1", "runtime": "none", "runtime_ver": "1",
        "model_sha256": order["model_sha256"], "os": "test", "device": "test", "pid": os.getpid(), "page_size": 4096,
        "clock": "test", "caps": [],
    }  # fmt: skip
    channel.say("hello", **{**fields, **changes})


def before_timing(channel: Channel, max_abs: float = 0.0) -> None:
    channel.say("mem", at="before_load", rss_kb=1000, peak_kb=1000)
    for name in ("load_cold", "parity", "load_warm", "first"):
        channel.say("phase", name=name, edge="begin")
        if name == "parity":
            channel.say("parity", output_index=0, output="y", max_abs=max_abs, cos=1.0, n=3, top1=1.0)
        channel.say("phase", name=name, edge="end", took_ns=1_000_000)
        if name == "load_cold":
            channel.say("mem", at="after_load", rss_kb=1500, peak_kb=1600)
    channel.say("phase", name="warmup", edge="begin")
    channel.say("phase", name="warmup", edge="end", took_ns=5_000_000, runs=40, converged=True)
    channel.say("phase", name="measure", edge="begin")


def timing(channel: Channel, **changes: Any) -> None:
    for start in range(0, len(LATENCIES), 100):
        part = LATENCIES[start : start + 100]
        steps = [part[0], *(b - a for a, b in itertools.pairwise(part))]
        channel.say("samples", phase="measure", first_index=start, dns=steps)
    channel.say("phase", name="measure", edge="end", took_ns=25_000_000, runs=250)
    channel.say("mem", at="end", rss_kb=1700, peak_kb=1800)
    channel.say("result", **{**summary(LATENCIES), **changes})


def whole(channel: Channel, order: dict[str, Any]) -> None:
    hello(channel, order)
    before_timing(channel)
    timing(channel)
    channel.close("ok")


Order = dict[str, Any]


def silent(order: Order, memo: int) -> None:
    rest(60)


def exits(order: Order, memo: int) -> None:
    sys.stderr.write("nothing here works\n")
    sys.exit(7)


def garbage(order: Order, memo: int) -> None:
    noise = os.urandom(300_000) + b"\n@PT1 " * 2000 + b"x" * 200_000
    os.write(1, noise)
    Path(order["out"]).write_bytes(noise)


def ok(order: Order, memo: int, lost: range = range(0)) -> None:
    channel = open_channel(order, lost)
    hello(channel, order)
    before_timing(channel)
    timing(channel)
    channel.close("ok")


def gaps(order: Order, memo: int) -> None:
    ok(order, memo, range(3, 6))


def mute(order: Order, memo: int) -> None:
    ok(order, memo, range(10_000))


def bye_then_hang(order: Order, memo: int) -> None:
    ok(order, memo)
    rest(60)


def truncated(order: Order, memo: int) -> None:
    ok(order, memo)
    out = Path(order["out"])
    out.write_bytes(out.read_bytes()[:2000])


def corrupt(order: Order, memo: int) -> None:
    ok(order, memo)
    out = Path(order["out"])
    out.write_bytes(out.read_bytes().replace(b'"p50"', b'"p51"'))


def no_file(order: Order, memo: int) -> None:
    ok(order, memo)
    Path(order["out"]).unlink()


def major(order: Order, memo: int) -> None:
    hello(open_channel(order), order, proto="2.0")
    rest(60)


def model(order: Order, memo: int) -> None:
    hello(open_channel(order), order, model_sha256="f" * 64)
    rest(60)


def unequal(order: Order, memo: int) -> None:
    channel = open_channel(order)
    hello(channel, order)
    before_timing(channel, max_abs=30.0)
    timing(channel)
    channel.close("ok")


def liar(order: Order, memo: int) -> None:
    channel = open_channel(order)
    hello(channel, order)
    before_timing(channel)
    timing(channel, p50=1)
    channel.close("ok")


def error(order: Order, memo: int) -> None:
    channel = open_channel(order)
    hello(channel, order)
    channel.say("error", code="load_failed", msg="no such operator: Frobnicate", where="load_cold", fatal=True)
    channel.close("error")


def hang(order: Order, memo: int) -> None:
    channel = open_channel(order)
    hello(channel, order)
    before_timing(channel)
    rest(60)


def crash(order: Order, memo: int) -> None:
    channel = open_channel(order)
    hello(channel, order)
    before_timing(channel)
    sys.stderr.write("about to fall\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def flaky(order: Order, memo: int) -> None:
    (crash if memo == 0 else ok)(order, memo)


def newer_runtime(order: Order, memo: int) -> None:
    channel = open_channel(order)
    hello(channel, order, runtime_ver=str(memo))
    before_timing(channel)
    timing(channel)
    channel.close("ok")


def open_channel(order: Order, lost: range = range(0)) -> Channel:
    return Channel(order["run"], Path(order["out"]), Live(lost))  # type: ignore[arg-type]


MODES: tuple[Callable[[Order, int], None], ...] = (
    silent, exits, garbage, ok, gaps, mute, bye_then_hang, truncated, corrupt, no_file, major, model, unequal, liar,
    error, hang, crash, flaky, newer_runtime,
)  # fmt: skip


def main() -> None:
    mode, memo, word = sys.argv[1], sys.argv[2], sys.argv[3].removeprefix("--palmtop=")
    started = 0
    if memo:
        path = Path(memo)
        started = int(path.read_text()) if path.exists() else 0
        path.write_text(str(started + 1))
    play = {function.__name__: function for function in MODES}[mode]
    play(json.loads(base64.urlsafe_b64decode(word)), started)


if __name__ == "__main__":
    main()
