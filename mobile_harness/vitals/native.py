"""What the native benchmark tools print: LiteRT's ``benchmark_model`` and ``benchmark_litert_model``, ONNX Runtime's
``onnxruntime_perf_test``.

They give no series, only figures of their own making, so a figure keeps its ``runner`` and is never compared across.
Percentiles of fewer runs than they need are dropped, with the reason: tools print them whatever the count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.vitals import placement, reading
from mobile_harness.vitals.reading import Unreadable

Runner = Literal["benchmark_model", "benchmark_litert_model", "onnxruntime_perf_test"]
Needed = Callable[[float], int]
"""From a percentile's share to the fewest runs that it is published from: :func:`mobile_harness.stats.needed`."""

TARGETS: Final[dict[Runner, str]] = {
    "benchmark_litert_model": "tflite",
    "benchmark_model": "tflite",
    "onnxruntime_perf_test": "onnx",
}
RUNTIMES: Final = {"tflite": "LiteRT", "onnx": "ONNX Runtime"}
WHERE: Final = {
    "tflite": "LiteRT publishes benchmark_model for Android (ai.google.dev/edge/litert/next/benchmark); from its "
    "sources: `bazel build -c opt --config=android_arm64 //litert/tools:benchmark_model`.",
    "onnx": "onnxruntime_perf_test is in no release: `./build.sh --android --android_abi arm64-v8a "
    "--android_api 29 --config Release` in ONNX Runtime's sources makes it.",
}
_US: Final = 1e3
_MS: Final = 1e6
_JSON_MAX = 1 << 20
_PAIR = re.compile(r"([a-z][a-z0-9]{0,15})=(\S{1,64})")
_RUNS = re.compile(r"\(([0-9]{1,12}) runs?\)")
_ORT_PERCENTILE = re.compile(r"P([0-9]{2,4}) Latency")
_FAILURES = (
    "ERROR",
    "Benchmarking failed",
    "Failed to ",
    "failed to ",
    "Error",
    "CANNOT LINK",
    "not found",
    "inaccessible",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """``share`` of the runs took at most ``value_ns``."""

    share: float
    value_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a tool says of one run of itself; None where it is silent. Times are nanoseconds, memory kB of 1024 bytes.

    ``memory_kb`` is the growth since the tool's start, ``peak_memory_kb`` the most the whole process held.
    ``dropped`` says which percentiles were printed and not taken.
    """

    runner: Runner
    runs: int | None
    average_ns: int
    minimum_ns: int | None
    maximum_ns: int | None
    deviation_ns: int | None
    load_ns: int | None
    first_ns: int | None
    warmup_ns: int | None
    warmup_runs: int | None
    memory_kb: int | None
    peak_memory_kb: int | None
    percentiles: tuple[Percentile, ...]
    dropped: tuple[str, ...]
    placement: placement.Log


def _published(
    found: Mapping[float, int | None], runs: int | None, needed: Needed
) -> tuple[tuple[Percentile, ...], tuple[str, ...]]:
    kept, dropped = [], []
    for share, value in sorted(found.items()):
        least = needed(max(share, 1 - share))
        if value is None:
            continue
        if runs is not None and runs >= least:
            kept.append(Percentile(share=share, value_ns=value))
        else:
            dropped.append(f"p{100 * share:g} needs {least} runs, there are {'not known' if runs is None else runs}")
    return tuple(kept), tuple(dropped)


def _why(tool: str, text: str, missing: str) -> Unreadable:
    """Return the answer for a run without figures: the tool's own complaint where it has one."""
    for line in reading.lines(text):
        if any(word in line for word in _FAILURES):
            return Unreadable(what=tool, reason=reading.shown(line))
    return reading.unreadable(tool, text, missing)


def read_benchmark_model(text: str, needed: Needed) -> Figures | Unreadable:
    """Return the figures of LiteRT's classic tool, of any age, also behind a logger's prefixes.

    Its first line of counts is the warm-up, the second the measurement; later ones are the profiler's. A log that was
    cut before the second still has an average if the closing summary stands there.
    """
    counts: list[Mapping[str, float]] = []
    timings: Mapping[str, float] = {}
    memory: dict[str, int] = {}
    for line in reading.lines(text):
        if "inference timings in us:" in line.lower():
            timings = timings or _timings(line)
        elif " footprint " in line:
            memory.update(_footprint(line))
        elif "count=" in line and "Timings (" not in line and "Memory (" not in line and len(counts) < 2:
            counts.append(_counts(line))
    warmup, measured = (counts[0], counts[1]) if len(counts) == 2 else (counts[0] if counts else {}, {})
    average = _us(measured.get("avg", measured.get("curr", timings.get("inference"))))
    if average is None or measured.get("count") == 0:
        return _why("benchmark_model", text, "figures of a measurement")
    runs = round(measured["count"]) if "count" in measured else None
    shares = {share: _us(measured.get(name)) for name, share in (("p5", 0.05), ("median", 0.5), ("p95", 0.95))}
    kept, dropped = _published(shares, runs, needed)
    return Figures(
        runner="benchmark_model",
        runs=runs,
        average_ns=average,
        minimum_ns=_us(measured.get("min")),
        maximum_ns=_us(measured.get("max")),
        deviation_ns=_us(measured.get("std")),
        load_ns=_us(timings.get("init")),
        first_ns=_us(timings.get("first inference")),
        warmup_ns=_us(timings.get("warmup", warmup.get("avg", warmup.get("curr")))),
        warmup_runs=round(warmup["count"]) if "count" in warmup else None,
        memory_kb=memory.get("overall"),
        peak_memory_kb=memory.get("peak"),
        percentiles=kept,
        dropped=dropped,
        placement=placement.read_log(text),
    )


def _us(value: float | None) -> int | None:
    return reading.nanoseconds(value, _US)


def _counts(line: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, word in _PAIR.findall(line[line.find("count=") :]):
        if (value := reading.number(word)) is not None and 0 <= value < 1e15:
            found.setdefault(name, value)
    return found


def _timings(line: str) -> dict[str, float]:
    """Return ``Init: 4108, Warmup (avg): 3.1e+06, …`` under small names: init, first inference, warmup, inference."""
    found: dict[str, float] = {}
    start = line.lower().find("inference timings in us:") + len("inference timings in us:")
    for part in line[start:].split(","):
        name, colon, word = part.rpartition(":")
        value = reading.number(word.strip().partition(" ")[0])
        if colon and value is not None:
            found.setdefault(name.strip().lower().removesuffix("(avg)").strip(), value)
    if "no stats" in found:
        found.setdefault("inference", found["no stats"])
    return found


def _footprint(line: str) -> dict[str, int]:
    """Return kilobytes from the lines on memory, which are in MB of 1024 kB."""
    if "via periodic monitoring:" in line:
        peak = reading.number(line.rpartition(":")[2])
        return {"peak": round(peak * 1024)} if peak is not None and 0 <= peak < 1e9 else {}
    if "(MB): init=" not in line:
        return {}
    found = {name: reading.number(word) for name, word in _PAIR.findall(line)}
    overall = found.get("overall")
    if overall is None or not 0 <= overall < 1e9:
        return {}
    return {"peak" if "Peak memory footprint" in line else "overall": round(overall * 1024)}


_LITERT = {
    "Model initialization": "init_ms", "Warmup (first)": "warmup_first_ms", "Warmup (avg)": "warmup_avg_ms",
    "Inference (avg)": "avg_ms", "Inference (min)": "min_ms", "Inference (max)": "max_ms",
    "Inference (median)": "median_ms", "Inference (std)": "std_ms", "Inference (p5)": "p5_ms",
    "Inference (p95)": "p95_ms",
}  # fmt: skip


def read_benchmark_litert_model(text: str, needed: Needed) -> Figures | Unreadable:
    """Return the figures of the CompiledModel tool from its printed block. Its throughput, in MB/s, is left out."""
    times: dict[str, int | None] = {}
    runs: dict[str, int] = {}
    inside = False
    for line in reading.lines(text):
        inside = inside or "BENCHMARK RESULTS" in line
        label, _, rest = line.partition(":")
        name = _LITERT.get(label.strip().removeprefix("INFO: "))
        if inside and name is not None:
            times.setdefault(name, reading.duration_ns(rest))
            if match := _RUNS.search(rest):
                runs.setdefault(name, int(match[1]))
    figures = _litert(times, (runs.get("avg_ms"), runs.get("warmup_avg_ms")), needed, placement.read_log(text))
    return figures or _why("benchmark_litert_model", text, "'BENCHMARK RESULTS' with an average")


def read_benchmark_litert_json(text: str, needed: Needed) -> Figures | Unreadable:
    """Return the figures of the CompiledModel tool from its JSON result."""
    what = "benchmark_litert_model --json"
    if len(text) > _JSON_MAX:
        return Unreadable(what=what, reason=f"it is longer than {_JSON_MAX} characters")
    try:
        whole = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        return Unreadable(what=what, reason=reading.shown(f"no JSON: {error}"))
    latency = whole.get("latency") if isinstance(whole, dict) else None
    if not isinstance(whole, dict) or not isinstance(latency, dict):
        return Unreadable(what=what, reason="no object 'latency'")
    times = {name: reading.nanoseconds(_figure(latency.get(name)), _MS) for name in _LITERT.values()}
    runs = tuple(_count(latency.get(name)) for name in ("num_runs", "num_warmup_runs"))
    fully = whole.get("fully_accelerated")
    log = placement.Log(shares=(), declined=(), fully_accelerated=fully if isinstance(fully, bool) else None)
    return _litert(times, (runs[0], runs[1]), needed, log) or Unreadable(what=what, reason="no average latency")


def _figure(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def _count(value: object) -> int | None:
    figure = _figure(value)
    return int(figure) if figure is not None and figure == int(figure) and figure >= 0 else None


def _litert(
    times: Mapping[str, int | None], runs: tuple[int | None, int | None], needed: Needed, log: placement.Log
) -> Figures | None:
    average = times.get("avg_ms")
    if average is None or runs[0] == 0:
        return None
    shares = {0.05: times.get("p5_ms"), 0.5: times.get("median_ms"), 0.95: times.get("p95_ms")}
    kept, dropped = _published(shares, runs[0], needed)
    return Figures(
        runner="benchmark_litert_model",
        runs=runs[0],
        average_ns=average,
        minimum_ns=times.get("min_ms"),
        maximum_ns=times.get("max_ms"),
        deviation_ns=times.get("std_ms"),
        load_ns=times.get("init_ms"),
        first_ns=times.get("warmup_first_ms"),
        warmup_ns=times.get("warmup_avg_ms"),
        warmup_runs=runs[1],
        memory_kb=None,
        peak_memory_kb=None,
        percentiles=kept,
        dropped=dropped,
        placement=log,
    )


_ORT = {
    "Session creation time cost": "load", "First inference time cost": "first",
    "Average inference time cost total": "average", "Average inference time cost": "average",
    "Total inference requests": "runs", "Peak working set size": "peak", "Min Latency": "min", "Max Latency": "max",
}  # fmt: skip


def read_onnxruntime_perf_test(text: str, needed: Needed) -> Figures | Unreadable:
    """Return the figures of ONNX Runtime's tool, in its newer words (``X: 1 ms``) or older (``X is 1 sec``)."""
    found: dict[str, str] = {}
    shares: dict[float, int | None] = {}
    for line in reading.lines(text):
        label, colon, rest = line.partition(":")
        if not colon:
            label, _, rest = line.partition(" is ")
        label = label.strip()
        if name := _ORT.get(label):
            found.setdefault(name, rest.strip())
        elif match := _ORT_PERCENTILE.fullmatch(label):
            shares.setdefault(int(match[1]) / 10 ** len(match[1]), reading.duration_ns(rest))
    average = reading.duration_ns(found.get("average", ""))
    if average is None:
        return _why("onnxruntime_perf_test", text, "'Average inference time cost'")
    runs = reading.integer(found.get("runs", ""))
    known = {share: value for share, value in shares.items() if 0 < share < 1}
    kept, dropped = _published(known, runs, needed)
    peak = reading.integer(found.get("peak", "").removesuffix("bytes"))
    return Figures(
        runner="onnxruntime_perf_test",
        runs=runs,
        average_ns=average,
        minimum_ns=reading.duration_ns(found.get("min", "")),
        maximum_ns=reading.duration_ns(found.get("max", "")),
        deviation_ns=None,
        load_ns=reading.duration_ns(found.get("load", "")),
        first_ns=reading.duration_ns(found.get("first", "")),
        warmup_ns=None,
        warmup_runs=None,
        memory_kb=None,
        peak_memory_kb=peak // 1024 if peak is not None and peak >= 0 else None,
        percentiles=kept,
        dropped=dropped,
        placement=placement.read_log(text),
    )
