"""Runs to report on: what a quantized digits model leaves behind on a host, and the awkward cases around it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import random
from collections.abc import Callable

from mobile_harness.records import Cell, DeviceInfo, Doubt, Failure, Parity, RunPlan, RunRecord, Session, Warmup
from mobile_harness.records.state import Cooled, Energy, Placement, Temperature, Thermal, Unavailable, Vitals
from mobile_harness.reports import html
from mobile_harness.reports._document import document_of
from toolkit.core.artifacts import (
    KeptFloat,
    LayerError,
    Preprocess,
    Requirements,
    Score,
    Signature,
    TensorSpec,
    ToolVersion,
)
from toolkit.core.manifest import (
    BuildEntry,
    DataEntry,
    ErrorEntry,
    FailedBuild,
    Manifest,
    NotExpressible,
    SourceEntry,
)

PLAN = RunPlan(
    name="quick",
    sessions=5,
    warmup_min_s=0.5,
    warmup_min_runs=10,
    warmup_max_s=10.0,
    min_runs=100,
    min_seconds=2.0,
    max_seconds=10.0,
    threads=2,
    accelerator="cpu",
    seed=7,
    session_deadline_s=120.0,
)

HOST = DeviceInfo(
    transport="host",
    serial="host",
    platform="linux",
    model="Xeon E5-2686 v4",
    soc="x86_64",
    os_version="Debian 12",
    abis=("x86_64",),
    ram_mb=7_802,
    kind="host",
)


def phone(model: str, soc: str, *, serial: str, platform: str = "android") -> DeviceInfo:
    return DeviceInfo(
        transport="adb" if platform == "android" else "devicectl",
        serial=serial,
        platform=platform,  # type: ignore[arg-type]
        model=model,
        soc=soc,
        os_version="15" if platform == "android" else "18.2",
        abis=("arm64-v8a",),
        ram_mb=8_192,
        kind="phone",
    )


PIXEL = phone("Pixel 8", "Tensor G3", serial="34211FDJH00123")
GALAXY = phone("SM-S921N", "s5e9945", serial="R3CX10ABCDE")
IPHONE = phone("iPhone 15 Pro", "A17 Pro", serial="00008130-001A2B3C", platform="ios")
EMULATOR = dataclasses.replace(
    PIXEL, serial="emulator-5554", model="sdk_gphone64_x86_64", kind="emulator", soc="ranchu"
)

IMAGE = TensorSpec(name="image", dtype="float32", shape=(1, 28, 28, 1))
DIGIT = TensorSpec(name="digit", dtype="float32", shape=(1, 10))
EMBEDDING = TensorSpec(name="embedding", dtype="float32", shape=(1, 64))
SIGNATURE = Signature(inputs=(IMAGE,), outputs=(DIGIT, EMBEDDING))


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def score(value: float, low: float, high: float, verdict: str, more: int | None = None) -> Score:
    return Score(
        metric="top1",
        float_value=0.984,
        value=value,
        drop=0.984 - value,
        ci_low=low,
        ci_high=high,
        n=1000,
        confidence=0.95,
        max_drop=0.01,
        method="paired (Newcombe)",
        verdict=verdict,  # type: ignore[arg-type]
        more_samples=more,
    )


LITERT = Requirements(runtime="LiteRT", runtime_min="2.14", android_api_min=23, ios_min="12.0")
ORT = Requirements(runtime="ONNX Runtime", runtime_min="1.18", android_api_min=24, ios_min="13.0")
COREML = Requirements(runtime="Core ML", runtime_min="7", ios_min="16.0")
RUNTIMES = {
    "tflite": (LITERT, "litert-quantizer", "0.11.0"),
    "onnx": (ORT, "onnxruntime", "1.32.0"),
    "coreml": (COREML, "coremltools", "9.0"),
}


def build(target: str, recipe: str, size: int, scored: Score | None, sqnr: tuple[float, float]) -> BuildEntry:
    requirements, tool, version = RUNTIMES[target]
    suffix = {"tflite": ".tflite", "onnx": ".onnx", "coreml": ".mlpackage"}[target]
    exact = math.isinf(sqnr[0])
    return BuildEntry(
        id=f"{target}-{recipe}",
        target=target,
        recipe=recipe,
        path=f"{target}-{recipe}{suffix}",
        sha256=sha(f"{target}-{recipe}"),
        size_bytes=size,
        signature=SIGNATURE,
        kept_float=(KeptFloat(layer="softmax", reason="no INT8 kernel for its range"),)
        if recipe == "static-int8"
        else (),
        requirements=requirements,
        toolchain=(ToolVersion(name=tool, version=version),),
        tensor_errors={
            "digit": ErrorEntry(sqnr_db=sqnr[0], cosine=1.0 if exact else 0.9997, max_abs=0.0 if exact else 0.0312),
            "embedding": ErrorEntry(sqnr_db=sqnr[1], cosine=1.0 if exact else 0.9983, max_abs=0.0 if exact else 0.214),
        },
        score=scored,
        golden=f"{target}-{recipe}.golden.npz",
        golden_sha256=sha(f"golden {target}-{recipe}"),
        verdict=scored.verdict if scored else None,
        layer_errors=() if recipe == "float32" else layer_errors(target, sqnr[0]),
    )


def layer_errors(target: str, best: float) -> tuple[LayerError, ...]:
    """Fourteen layers, named as each converter names them; the first one is exact."""
    names = {
        "tflite": "digits_1/re_lu_{0}/Relu6;digits_1/batch_normalization_{0}/add;digits_1/conv_{0}/convolution",
        "onnx": "PartitionedCall/PartitionedCall/digits_1/batch_normalization_{0}/batchnorm/add_1:0",
        "coreml": "PartitionedCall_PartitionedCall_digits_1_batch_normalization_{0}_batchnorm_add_1",
    }
    operators = {"tflite": "CONV_2D", "onnx": "Conv", "coreml": "conv"}
    found = [
        LayerError(
            layer=names[target].format(index), operator=operators[target], sqnr_db=round(best - 9 + 0.75 * index, 1)
        )
        for index in range(13)
    ]
    return (*found, LayerError(layer="transpose_1", operator="transpose", sqnr_db=math.inf))


SAME = score(0.984, 0.0, 0.0, "pass")
BUILDS = (
    build("coreml", "float32", 214_112, SAME, (math.inf, math.inf)),
    build("coreml", "weight-int8", 71_020, score(0.983, -0.0012, 0.0035, "pass"), (44.8, 41.9)),
    build("onnx", "float32", 201_544, SAME, (126.4, 124.0)),
    build("onnx", "static-int8", 66_310, score(0.978, -0.0008, 0.0131, "undecided", 1_640), (33.1, 28.7)),
    build("tflite", "float32", 198_760, SAME, (122.9, 121.3)),
    build("tflite", "static-int8", 64_904, score(0.9815, -0.0021, 0.0074, "pass"), (36.2, 31.4)),
)

MANIFEST = Manifest(
    palmtop="0.1.0",
    source=SourceEntry(
        name="digits",
        path="digits.keras",
        sha256=sha("digits.keras"),
        format="keras",
        signature=SIGNATURE,
    ),
    preprocess=Preprocess(resize=(28, 28), colour="gray", scale=1 / 255, mean=(0.1307,), std=(0.3081,)),
    calibration=DataEntry(
        data="digits-calibration.npz", format="npz", sha256=sha("calibration"), samples=500, method="minmax"
    ),
    verification=DataEntry(data="digits-held-out.npz", format="npz", sha256=sha("held out"), samples=1000),
    toolchain=(
        ToolVersion(name="keras", version="3.15.0"),
        ToolVersion(name="tensorflow", version="2.21.0"),
        ToolVersion(name="onnx", version="1.23.2"),
    ),
    builds=BUILDS,
    not_expressible=(
        NotExpressible(target="coreml", recipe="static-int8", reason="activations need calibration on macOS"),
    ),
    failed=(
        FailedBuild(
            target="onnx",
            recipe="weight-int8",
            error="The quantizer crashed on layer block_3/depthwise (signal 11).",
            log="logs/onnx-weight-int8.log",
        ),
    ),
    inputs_key=sha("inputs")[:32],
)


def session(index: int, median_ns: int, *, runs: int, peak_kb: int, seed: int) -> Session:
    rng = random.Random(seed * 100 + index)
    centre = median_ns * rng.gauss(1.0, 0.015)
    series = tuple(int(centre * (1 + abs(rng.gauss(0, 0.03)) + (rng.random() < 0.02) * 0.6)) for _ in range(runs))
    return Session(
        index=index,
        load_cold_ns=int(median_ns * 38 * rng.uniform(0.95, 1.1)),
        load_warm_ns=int(median_ns * 21 * rng.uniform(0.95, 1.1)),
        first_ns=int(median_ns * 3.4 * rng.uniform(0.9, 1.2)),
        warmup=Warmup(runs=60, elapsed_ns=60 * median_ns, converged=index != 3),
        latency_ns=series,
        rss_before_load_kb=41_200,
        rss_after_load_kb=41_200 + peak_kb // 9,
        peak_rss_kb=peak_kb + rng.randrange(300),
        parity=Parity(ok=True, max_abs=0.0, cosine=1.0, samples=16, tolerance=0.01),
        live_gaps=0,
        started_utc=f"2026-11-22T10:1{index}:00Z",
    )


MEDIANS = {
    "coreml-float32": 1_310_000,
    "coreml-weight-int8": 1_330_000,
    "onnx-float32": 402_000,
    "onnx-static-int8": 371_000,
    "tflite-float32": 318_000,
    "tflite-static-int8": 187_000,
}
PEAKS = {"coreml": 96_100, "onnx": 88_400, "tflite": 61_700}


def cell(
    entry: BuildEntry,
    device: DeviceInfo = HOST,
    *,
    sessions: int = 5,
    runs: int = 400,
    speed: float = 1.0,
    doubts: tuple[Doubt, ...] = (),
) -> Cell:
    runtime, _, version = RUNTIMES[entry.target]
    median = int(MEDIANS.get(entry.id, 500_000) * speed)
    seed = int(sha(f"{entry.id} {device.serial}")[:6], 16)
    made = tuple(session(index, median, runs=runs, peak_kb=PEAKS[entry.target], seed=seed) for index in range(sessions))
    return Cell(
        id=f"{entry.id}@{device.serial}",
        run_id="20261122-1010-5f2a",
        device=device,
        build_id=entry.id,
        build_sha256=entry.sha256,
        target=entry.target,
        recipe=entry.recipe,
        size_bytes=entry.size_bytes,
        plan=PLAN,
        outcome="measured",
        runner="palmtop host runner" if device.kind == "host" else "palmtop app",
        runtime=runtime.runtime,
        runtime_version=version,
        sessions=made,
        doubts=doubts,
        started_utc="2026-11-22T10:10:00Z",
        ended_utc="2026-11-22T10:10:40Z",
    )


def failed_cell(entry: BuildEntry, device: DeviceInfo = HOST, *, kind: str = "app_crash") -> Cell:
    return dataclasses.replace(
        cell(entry, device, sessions=0),
        outcome="failed",
        failure=Failure(
            kind=kind,
            message="The runner ended with signal 11 while loading the model.",
            hint="Run `palmtop predict` on the build to see it alone.",
        ),
    )


def run_of(cells: tuple[Cell, ...], manifest: Manifest = MANIFEST) -> RunRecord:
    return RunRecord(
        id="20261122-1010-5f2a",
        palmtop="0.1.0",
        created_utc="2026-11-22T10:10:00Z",
        build_dir="digits-builds",
        manifest=manifest,
        plan=PLAN,
        cells=cells,
        toolchain=(ToolVersion(name="palmtop", version="0.1.0"), ToolVersion(name="python", version="3.11.2")),
    )


def demo_run() -> RunRecord:
    """Three runtimes on the host: one cell failed, one build not measured, doubts, two outputs."""
    _, coreml_int8, onnx_float, onnx_int8, tflite_float, tflite_int8 = BUILDS
    place = Doubt(kind="on_host", message="Taken on this host, not on a phone: it ranks no build for any phone.")

    def apart(percent: int) -> Doubt:
        words = f"Session medians lie {percent} % apart; differences below that mean nothing."
        return Doubt(kind="session_spread", message=words)

    def cold(sessions: str) -> Doubt:
        return Doubt(
            kind="warm_up", message=f"Warm-up did not settle in {sessions} of 5 sessions: it was still moving."
        )

    return run_of(
        (
            cell(coreml_int8, doubts=(place, apart(8))),
            cell(onnx_float, doubts=(place, apart(89))),
            failed_cell(onnx_int8),
            cell(tflite_float, doubts=(place,)),
            cell(tflite_int8, doubts=(place, cold("1"), apart(22))),
        )
    )


def lab_run() -> RunRecord:
    """The same builds on three phones, an emulator and the host."""
    speeds = {HOST.serial: 1.0, PIXEL.serial: 2.1, GALAXY.serial: 1.4, IPHONE.serial: 0.8, EMULATOR.serial: 3.0}
    cells = (
        cell(entry, device, speed=speeds[device.serial])
        for device in (HOST, PIXEL, GALAXY, IPHONE, EMULATOR)
        for entry in BUILDS
        if (entry.target == "coreml") == (device.platform == "ios") or device is HOST
    )
    return run_of(tuple(cells))


def empty_run() -> RunRecord:
    """No builds, no cells."""
    return run_of((), dataclasses.replace(MANIFEST, builds=(), not_expressible=(), failed=(), calibration=None))


def failed_run() -> RunRecord:
    """Every cell failed."""
    return run_of(tuple(failed_cell(entry) for entry in BUILDS))


def with_builds(change: Callable[[BuildEntry], BuildEntry]) -> RunRecord:
    """The host run with all builds changed in one way."""
    builds = tuple(map(change, BUILDS))
    return run_of(tuple(map(cell, builds)), dataclasses.replace(MANIFEST, builds=builds))


def unscored_run() -> RunRecord:
    """Verified without labels: errors of outputs, verdicts, no score."""
    return with_builds(lambda entry: dataclasses.replace(entry, score=None, verdict="pass"))


def unverified_run() -> RunRecord:
    """Never verified: no errors, no score, no verdict."""

    def unverified(entry: BuildEntry) -> BuildEntry:
        return dataclasses.replace(
            entry, score=None, verdict=None, tensor_errors={}, golden=None, golden_sha256=None, layer_errors=()
        )

    return with_builds(unverified)


def one_session_run() -> RunRecord:
    """A single short session a cell: no interval, no percentiles."""
    return run_of(tuple(cell(entry, sessions=1, runs=8) for entry in BUILDS))


def extreme_run() -> RunRecord:
    """Exact and hopeless outputs, an unbounded interval, a metric that is no fraction, a stand-in runtime."""

    def extreme(entry: BuildEntry) -> BuildEntry:
        assert entry.score is not None
        values = {"float_value": 12.5, "value": 12.75, "drop": -0.25, "ci_low": -math.inf, "ci_high": math.inf, "n": 4}
        words = {"metric": "mean_error", "method": "paired bootstrap (BCa)", "verdict": "undecided"}
        unbounded = dataclasses.replace(entry.score, **values, **words)
        errors = {
            "exact": ErrorEntry(sqnr_db=math.inf, cosine=1.0, max_abs=0.0),
            "broken": ErrorEntry(sqnr_db=-math.inf, cosine=0.0, max_abs=math.inf),
        }
        return dataclasses.replace(entry, score=unbounded, verdict="undecided", tensor_errors=errors)

    run = with_builds(extreme)
    cells = [
        dataclasses.replace(
            item,
            sessions=tuple(dataclasses.replace(session, notes=("stand_in_runtime",)) for session in item.sessions),
            doubts=(Doubt(kind="", message="Executed by a stand-in."),),
        )
        if item.target == "coreml"
        else item
        for item in run.cells
    ]
    return dataclasses.replace(run, cells=tuple(cells))


def _vitals(celsius: float, status: int) -> Vitals:
    skin = Temperature(name="VIRTUAL-SKIN", part="skin", celsius=celsius, status=status)
    thermal = Thermal(status=status, overridden=False, source="current", temperatures=(skin,), skipped=0)
    return Vitals(at_ns=0, thermal=thermal)


def warm_run() -> RunRecord:
    """Two phones that tell of heat, memory, placement and energy; the larger the build, the more it throttles."""
    cells = []
    for device in (PIXEL, GALAXY):
        for at, entry in enumerate(BUILDS[2:]):
            plain = cell(entry, device, sessions=3, runs=600)
            sessions = tuple(_warmed(item, 33.0 + at, 0.0004 * (4 - at)) for item in plain.sessions)
            energy = Energy(
                method="power_monitors" if device is PIXEL else "charge_counter",
                per_inference_uj=2_900.0 - 480 * at,
                idle_uw=612_000.0,
                pairs=5,
                spread=0.041,
                resolution_uj=3.1,
                declined=() if device is PIXEL else ("power_monitors: the device has none",),
            )
            none = Unavailable(reason="the battery is charging: its gauge tells nothing of the load")
            cells.append(dataclasses.replace(plain, sessions=sessions, energy=none if at == 3 else energy))
    return run_of(tuple(cells))


def _warmed(item: Session, start_c: float, climb: float) -> Session:
    times = tuple(int(value * (1 + climb * max(at - 200, 0))) for at, value in enumerate(item.latency_ns))
    placement = Placement(
        requested="gpu", delegated_nodes=31, total_nodes=64, partitions=2, fallback=False, evidence="31 of 64 nodes"
    )
    return dataclasses.replace(
        item,
        latency_ns=times,
        cooled=Cooled(waited_s=41.5, reached=item.index != 1, reason="", vitals=_vitals(start_c, 0)),
        after=_vitals(start_c + 3.5 + 10 * climb, 1 if climb > 0.001 else 0),
        pss_after_load_kb=52_000,
        pss_end_kb=58_000 + 100 * item.index,
        mean_mhz=(1_704.0, 2_367.5),
        placement=placement,
    )


RUNS: dict[str, Callable[[], RunRecord]] = {
    "demo": demo_run,
    "lab": lab_run,
    "warm": warm_run,
    "empty": empty_run,
    "failed": failed_run,
    "unscored": unscored_run,
    "unverified": unverified_run,
    "one_session": one_session_run,
    "extreme": extreme_run,
}


def big_run(count: int = 1000) -> RunRecord:
    """Many cells: every build on as many phones as it takes."""
    devices = [phone(f"Phone {index:03d}", "SoC", serial=f"S{index:05d}") for index in range(math.ceil(count / 6))]
    cells = [cell(entry, device, sessions=5, runs=100) for device in devices for entry in BUILDS]
    return run_of(tuple(cells[:count]))


HOSTILE = (
    "<script>alert('x')</script><img src=x onerror=alert(1)>|`*_[a](javascript:alert(1))"
    "\x1b[31m\u202e\"'{{7*7}}]]>&=1+1@team https://evil.example"
)


def hostile(value: object) -> object:
    """Return a value with the same hostile text in every field that holds free text; words with a type stay."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(hostile(item) for item in value)
    if isinstance(value, dict):
        return {f"{HOSTILE} {at}": hostile(item) for at, item in enumerate(value.values())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = {"kind", "outcome", "verdict", "platform", "layout", "colour", "part", "method", "source"}
        kept |= {"metric", "unit", "status", "side", "gate_kinds", "gate_metrics", "counts"}
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value)(
            **{
                name: item if name in kept and not _free(value, name) else hostile(item)
                for name, item in fields.items()
            }
        )
    return value


_FREE = {(Failure, "kind"), (Doubt, "kind"), (Score, "method"), (Score, "metric"), (DataEntry, "method")}
"""Fields of these names that are free text all the same."""


def _free(value: object, name: str) -> bool:
    return (type(value), name) in _FREE or (isinstance(value, Manifest) and name == "source")


def hostile_run() -> RunRecord:
    """The warm run with the same hostile text in every field that holds free text."""
    made = hostile(warm_run())
    assert isinstance(made, RunRecord)
    return made


@functools.cache
def page(run: str) -> str:
    """The HTML page of a run, drawn once for all tests: charts take most of a second."""
    made = hostile_run() if run == "hostile" else RUNS[run]()
    return html.render(document_of(made))
