from __future__ import annotations

import pytest

from mobile_harness.stats import needed
from mobile_harness.vitals.native import (
    Figures,
    Percentile,
    read_benchmark_litert_json,
    read_benchmark_litert_model,
    read_benchmark_model,
    read_onnxruntime_perf_test,
)
from mobile_harness.vitals.placement import Log, Share, judge, read_log
from mobile_harness.vitals.reading import Unreadable

NO_LOG = Log(shares=(), declined=(), fully_accelerated=None)


def test_the_classic_tool_with_its_profiler(recorded) -> None:
    assert read_benchmark_model(recorded("benchmark_model__tflite_cpu_op_profile_trim.txt"), needed) == Figures(
        runner="benchmark_model", runs=50, average_ns=2_950_340_000, minimum_ns=2_727_568_000,
        maximum_ns=3_189_954_000, deviation_ns=109_798_000, load_ns=17_187_000, first_ns=3_512_391_000,
        warmup_ns=3_512_390_000, warmup_runs=1, memory_kb=47192, peak_memory_kb=None, percentiles=(), dropped=(),
        placement=NO_LOG,
    )  # fmt: skip


def test_newer_words_behind_a_prefix(composed) -> None:
    found = read_benchmark_model(composed("benchmark_model_gpu.txt"), needed)
    assert (found.runs, found.average_ns, found.minimum_ns, found.maximum_ns) == (300, 3_333_510, 3_188_000, 4_110_000)
    assert (found.warmup_runs, found.warmup_ns, found.first_ns) == (147, 3_385_120, 6_201_000)
    assert found.load_ns == 412_883_000
    assert (found.memory_kb, found.peak_memory_kb) == (94464, 134656)
    assert found.percentiles == (
        Percentile(share=0.05, value_ns=3_215_000),
        Percentile(share=0.5, value_ns=3_321_000),
        Percentile(share=0.95, value_ns=3_466_000),
    )
    assert found.dropped == ()
    placed = judge(found.placement, "gpu")
    assert (placed.delegated_nodes, placed.total_nodes, placed.partitions, placed.fallback) == (63, 63, 1, False)


def test_a_refusal_wins_over_a_count_of_nodes(composed) -> None:
    found = read_benchmark_model(composed("benchmark_model_nnapi_fallback.txt"), needed)
    assert found.placement.declined == ("NNAPI",)
    placed = judge(found.placement, "nnapi")
    assert (placed.delegated_nodes, placed.total_nodes, placed.fallback) == (0, 31, True)
    assert placed.evidence == "NNAPI was applied and took nothing"
    on_cpu = judge(found.placement, "cpu")
    assert (on_cpu.delegated_nodes, on_cpu.fallback) == (31, False)
    assert found.percentiles == (Percentile(share=0.5, value_ns=60_400_000),)
    assert found.dropped == ("p5 needs 72 runs, there are 20", "p95 needs 72 runs, there are 20")


def test_the_oldest_words(composed) -> None:
    found = read_benchmark_model(composed("benchmark_model_2018.txt"), needed)
    assert (found.runs, found.average_ns, found.load_ns, found.warmup_ns) == (50, 80_660_100, 4_108_000, 91_471_000)
    assert (found.memory_kb, found.peak_memory_kb, found.first_ns) == (None, 12800, None)


def test_a_log_with_its_summary_alone() -> None:
    line = "Average inference timings in us: Warmup: 91471, Init: 4108, Inference: 80660.1Overall 12"
    assert isinstance(read_benchmark_model(line, needed), Unreadable)  # the number runs into the next word
    found = read_benchmark_model(line.removesuffix("Overall 12"), needed)
    assert (found.runs, found.average_ns) == (None, 80_660_100)
    summed = read_benchmark_model("Inference timings in us: Init: 1, Inference (avg): 5, Warmup (avg): 7", needed)
    assert (summed.average_ns, summed.warmup_ns) == (5_000, 7_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("INFO: STARTING!\nERROR: Failed to load model x.tflite\n", "ERROR: Failed to load model x.tflite"),
        ("count=1 curr=5\n", "no figures of a measurement; it says 'count=1 curr=5'"),
        ("count=1 curr=5\ncount=0 \nBenchmarking failed.", "Benchmarking failed."),
        ("", "no figures of a measurement: it is empty"),
        ("sh: ./benchmark_model: inaccessible or not found", "sh: ./benchmark_model: inaccessible or not found"),
    ],
)
def test_a_run_without_figures_says_why(text, reason) -> None:
    assert read_benchmark_model(text, needed) == Unreadable(what="benchmark_model", reason=reason)


def test_the_compiled_model_tool(recorded) -> None:
    printed = read_benchmark_litert_model(recorded("benchmark_litert_model_py__2.3.0_stdout.txt"), needed)
    assert printed == Figures(
        runner="benchmark_litert_model", runs=20, average_ns=820_000, minimum_ns=760_000, maximum_ns=1_020_000,
        deviation_ns=70_000, load_ns=3_460_000, first_ns=1_340_000, warmup_ns=1_160_000, warmup_runs=3,
        memory_kb=None, peak_memory_kb=None, percentiles=(Percentile(share=0.5, value_ns=790_000),),
        dropped=("p5 needs 72 runs, there are 20", "p95 needs 72 runs, there are 20"),
        placement=Log(shares=(), declined=(), fully_accelerated=True),
    )  # fmt: skip
    assert read_benchmark_litert_json(recorded("benchmark_litert_model_py__2.3.0.json"), needed) == printed


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"latency": {}}', '{"latency": {"avg_ms": NaN}}', '{"latency": {"avg_ms": true}}', "[" * 100_000,
     '{"latency": {"avg_ms": 1e400}}', '{"latency": {"avg_ms": -1}}', "9" * 5000, '{"latency": {"avg_ms": "1"}}'],
)  # fmt: skip
def test_json_that_is_no_result(text) -> None:
    assert isinstance(read_benchmark_litert_json(text, needed), Unreadable)


def test_onnx_runtime_in_newer_words(recorded) -> None:
    found = read_onnxruntime_perf_test(recorded("onnxruntime_perf_test__readme_format.txt"), needed)
    assert (found.runs, found.average_ns, found.load_ns, found.first_ns) == (1000, 5_880_530, 512_000_000, 12_000_000)
    assert (found.minimum_ns, found.maximum_ns, found.peak_memory_kb) == (55_977_700, 62_347_200, 120563)
    assert [percentile.share for percentile in found.percentiles] == [0.5, 0.9, 0.95, 0.99]
    assert found.percentiles[0].value_ns == 58_710_800
    assert found.dropped == ("p99.9 needs 3688 runs, there are 1000",)


def test_onnx_runtime_in_older_words(composed) -> None:
    found = read_onnxruntime_perf_test(composed("onnxruntime_perf_test_older.txt"), needed)
    assert (found.runs, found.average_ns, found.minimum_ns, found.maximum_ns) == (5, 20_000_000, 18_000_000, 24_000_000)
    assert (found.load_ns, found.first_ns, found.peak_memory_kb) == (250_000_000, 40_000_000, 102_400)
    assert found.percentiles == ()
    assert found.dropped[0] == "p50 needs 6 runs, there are 5"
    assert len(found.dropped) == 5
    placed = judge(found.placement, "xnnpack")
    assert (placed.delegated_nodes, placed.total_nodes, placed.fallback) == (12, 15, False)


def test_onnx_runtime_that_failed() -> None:
    assert read_onnxruntime_perf_test(
        "Failed to load model because protobuf parsing failed.", needed
    ).reason.startswith("Failed to load model")


def test_placement_of_providers() -> None:
    coreml = (
        "[W:onnxruntime:, coreml_execution_provider.cc:113 GetCapability] CoreMLExecutionProvider::GetCapability, "
        "number of partitions supported by CoreML: 55 number of nodes in the graph: 418 "
        "number of nodes supported by CoreML: 285"
    )
    placed = judge(read_log(coreml), "coreml")
    assert (placed.delegated_nodes, placed.total_nodes, placed.partitions, placed.fallback) == (285, 418, 55, False)
    alone = read_log("Node placements\n All nodes placed on [CPUExecutionProvider]. Number of nodes: 20")
    assert alone.shares == (Share(delegate="CPUExecutionProvider", nodes=20, total=20, partitions=None),)
    assert judge(alone, "nnapi").fallback
    assert not judge(alone, "cpu").fallback


def test_a_silent_log_proves_nothing() -> None:
    placed = judge(read_log("Loaded model"), "gpu")
    assert (placed.delegated_nodes, placed.total_nodes, placed.fallback) == (None, None, False)
    xnnpack = "Replacing 5 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 3 partitions"
    assert judge(read_log(xnnpack), "gpu").fallback
