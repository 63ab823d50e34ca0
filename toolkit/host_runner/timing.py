"""Warm-up until latency stands still, then the series. Only the call itself lies between two clock readings."""

from __future__ import annotations

import hashlib
import itertools
import statistics
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from toolkit.host_runner.channel import Channel
from toolkit.host_runner.order import Plan

Call = Callable[[], object]

BLOCK_RUNS = 20
BLOCK_NS = 50_000_000
STILL_BLOCKS = 3
STILL = 0.01
STORED_MAX = 16_384
"""Latencies kept of a session; of a model so fast that there would be more, every n-th run is kept."""
FLUSH_NS = 250_000_000
_BUFFER = 4096
_RECORD = 100

_now = time.perf_counter_ns


def timed(call: Call) -> int:
    """Return the nanoseconds of one call."""
    start = _now()
    call()
    return _now() - start


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """How the warm-up went; ``typical_ns`` is the median of its last block."""

    runs: int
    took_ns: int
    converged: bool
    typical_ns: float


def warm_up(call: Call, plan: Plan, channel: Channel) -> Warmed:
    """Run at least the plan's time and runs, then until the medians of three blocks in a row lie within 1 %.

    A block is 20 runs or 50 ms, whichever is longer. The plan's cap ends it unconverged.
    """
    start = _now()
    least, most = start + int(plan.warmup_min_s * 1e9), start + int(plan.warmup_max_s * 1e9)
    medians: list[float] = []
    runs, now, still = 0, start, False
    while now < most and not (still and now >= least and runs >= plan.warmup_min_runs):
        block: list[int] = []
        block_end = now + BLOCK_NS
        while now < most and (len(block) < BLOCK_RUNS or now < block_end):
            block.append(timed(call))
            now = _now()
        runs += len(block)
        medians.append(statistics.median(block))
        still = len(block) >= BLOCK_RUNS and _still(medians[-STILL_BLOCKS:])
        channel.progress("warmup", runs, 0)
    typical = medians[-1] if medians else float(timed(call))
    return Warmed(runs=runs, took_ns=now - start, converged=still, typical_ns=max(typical, 1.0))


def _still(medians: list[float]) -> bool:
    return len(medians) == STILL_BLOCKS and max(medians) <= (1 + STILL) * min(medians)


class Series:
    """Latencies on their way out: a preallocated buffer that is emptied between calls, never inside one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = array("q", bytes(8 * _BUFFER))
        self._filled = 0
        self._kept = array("q")

    def keep(self, latency_ns: int) -> bool:
        """Store a latency; returns whether the buffer is full."""
        self._buffer[self._filled] = latency_ns
        self._filled += 1
        return self._filled == _BUFFER

    def flush(self) -> None:
        """Say what is in the buffer, the first of each record as it is and the rest as differences."""
        for start in range(0, self._filled, _RECORD):
            part = self._buffer[start : min(start + _RECORD, self._filled)]
            steps = [part[0], *(b - a for a, b in itertools.pairwise(part))]
            self._channel.say("samples", phase="measure", first_index=len(self._kept) + start, dns=steps)
        self._kept.extend(self._buffer[: self._filled])
        self._filled = 0

    def summary(self) -> dict[str, int | float | str]:
        """Return the fields of ``result`` that speak of the latencies; percentiles are nearest-rank."""
        ordered = sorted(self._kept)
        digest = hashlib.sha256()
        for value in self._kept:
            digest.update(value.to_bytes(8, "little", signed=True))
        ranks = {f"p{share}": ordered[max(ceil(share * len(ordered) / 100), 1) - 1] for share in (50, 90, 99)}
        return {
            "n": len(ordered),
            **ranks,
            "min": ordered[0],
            "mean": statistics.fmean(ordered),
            "samples_sha256": digest.hexdigest(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How the measurement went: the timed runs, of which every ``stride``-th was kept, and all calls, timed or not."""

    runs: int
    stride: int
    calls: int
    took_ns: int


def measure(call: Call, plan: Plan, typical_ns: float, series: Series, progress: Callable[[int], None]) -> Measured:
    """Time calls until the plan has its runs and its seconds, or its cap is reached.

    Results go out every 250 ms; the call after that is not timed, so that caches hold the model again.
    """
    stride = max(1, ceil(plan.min_seconds * 1e9 / typical_ns / STORED_MAX))
    start = now = _now()
    enough, most = start + int(plan.min_seconds * 1e9), start + int(plan.max_seconds * 1e9)
    flush_at, runs, untimed = start + FLUSH_NS, 0, 0
    while not runs or (now < most and (runs < plan.min_runs * stride or now < enough)):
        before = _now()
        call()
        now = _now()
        runs += 1
        full = runs % stride == 0 and series.keep(now - before)
        if full or now >= flush_at:
            series.flush()
            progress(runs)
            call()
            untimed += 1
            flush_at = _now() + FLUSH_NS
    if runs < stride:
        series.keep(now - before)
    series.flush()
    return Measured(runs=runs, stride=stride, calls=runs + untimed, took_ns=now - start)
