"""Sensitivity of every layer by simulation, against one real build and evaluation a layer with ONNX Runtime.

    python benchmarks/sensitivity.py MODEL DATA [--samples 4,8,16] [--truth 32] [--shape NAME=1,3,224,224]

Two peers build and evaluate one layer after the other. The *call* is ONNX Runtime's ``quantize_static`` with
``nodes_to_quantize``, which calibrates on the same samples each time, and a session with default optimisations; it is
timed on a few layers, spread over the model, and multiplied. The *loop* is the same made as quick as it gets, on every
layer: ranges are calibrated once, and the QDQQuantizer behind that call quantizes a copy in memory. All see the same
samples. Times are of the processor, since other work on the machine does not count there; palmtop's hold its child
process from its start to its end, imports included, the peers' no imports. Claims (docs/benchmarks.md): at least 10
times faster than the call, and at least 8 of the 10 worst layers in common with the real builds over ``--truth``
samples.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

TOP = 10
FEW = 3
"""Layers that the public call is timed on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--samples", default="4,8,16")
    parser.add_argument("--truth", type=int, default=32)
    parser.add_argument("--calibrate", type=int, default=100)
    parser.add_argument("--shape", action="append", default=[])
    options = parser.parse_args()
    base = calibrated(options)
    truth = real_builds(base, options.truth)
    best = ranking({name: row["sqnr_db"] for name, row in truth["layers"].items()})
    print(f"{options.model.name}: {len(truth['layers'])} layers, real builds over {options.truth} samples")
    print("| samples | simulation | call, all layers | faster | loop, all layers | faster | top 10 in common | gap |")
    print("|---|---|---|---|---|---|---|---|")
    for count in map(int, options.samples.split(",")):
        found, seconds = simulated(base, count)
        loop = truth["build_s"] + truth["evaluate_s"] / options.truth * count
        call = public_call(base, count) * len(truth["layers"])
        own = {cost.layer: cost.output_sqnr_db for cost in found.costs}
        common = len(set(ranking(own)[:TOP]) & set(best[:TOP]))
        finite = [
            name for name in best[:TOP] if math.isfinite(own[name]) and math.isfinite(truth["layers"][name]["sqnr_db"])
        ]
        gap_db = max((abs(own[name] - truth["layers"][name]["sqnr_db"]) for name in finite), default=0.0)
        print(
            f"| {count} | {seconds:.1f} s | {call:.0f} s | {call / seconds:.1f}x | {loop:.1f} s "
            f"| {loop / seconds:.1f}x | {common} of {min(TOP, len(own))} | {gap_db:.2f} dB |",
            flush=True,
        )
        if count == max(map(int, options.samples.split(","))):
            show(found, truth, best)


def show(found, truth, best) -> None:
    print("\n| layer | operator | simulated | real |\n|---|---|---|---|")
    costs = {cost.layer: cost for cost in found.costs}
    for name in best[:TOP]:
        cost = costs[name]
        print(
            f"| {name} | {cost.operator} | {cost.output_sqnr_db:.1f} dB | {truth['layers'][name]['sqnr_db']:.1f} dB |"
        )


def ranking(sqnr: dict[str, float]) -> list[str]:
    return sorted(sqnr, key=lambda name: (sqnr[name], name))


def calibrated(options):
    from toolkit.core.artifacts import Preprocess
    from toolkit.core.tools import system_tools
    from toolkit.stages import calibrator, importer
    from toolkit.stages.requests import QuantizeRequest

    shapes = {}
    for item in options.shape:
        name, _, sizes = item.rpartition("=")
        shapes[name] = tuple(map(int, sizes.split(",")))
    request = QuantizeRequest(
        model=options.model,
        out=Path("never-written"),
        data=options.data,
        targets=("onnx",),
        recipes=("static-int8",),
        samples=options.calibrate,
        preprocess=Preprocess(),
        shapes=shapes,
    )
    tools = system_tools()
    made = calibrator.calibrate(importer.convert(importer.import_model(request, tools), tools), tools)
    if not made.models:
        raise SystemExit(made.failed[0].error)
    return made.models[0][1]


def job_of(base, count: int):
    from toolkit.core.recipe import load_recipe
    from toolkit.search.simulation import SimulationJob
    from toolkit.stages import data

    source = base.base.source.signature
    return SimulationJob(
        model=base.base.blob.path,
        artefact=base.base.signature,
        source=source,
        recipe=load_recipe("static-int8"),
        ranges=base.ranges.path,
        data=data.refer(base.data.location, source, base.data.preprocess, count),
    )


def simulated(base, count: int):
    """Run palmtop's simulation in a child process, as the product does; seconds of the processor."""
    from toolkit.core import isolation
    from toolkit.core.events import silent
    from toolkit.core.tools import system_tools
    from toolkit.search import simulation

    job = job_of(base, count)
    before = spent()
    found = isolation.isolate(system_tools(), 7200, simulation.simulate, job, silent)
    return found, spent() - before


def spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def real_builds(base, count: int) -> dict:
    """Build and evaluate every layer alone with ONNX Runtime's own quantizer."""
    import onnxruntime
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    from toolkit.core import signature
    from toolkit.search.simulation_graph import FloatGraph, layers_of
    from toolkit.stages import work

    job = job_of(base, count)
    learned = json.loads(job.ranges.read_text())
    pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in learned.items()}
    ranges = TensorsData(CalibrationMethod.MinMax, {k: (np.array(a), np.array(b)) for k, (a, b) in pairs.items()})
    feeds = [signature.bind(batch.feeds, job.artefact) for batch in work.batches_of(job.data, job.source)]
    floats = session(onnxruntime, job.model.read_bytes())
    expected = [floats.run(None, feed) for feed in feeds]
    graph = FloatGraph(job.model)
    rows, build_s, evaluate_s = {}, 0.0, 0.0
    for layer in layers_of(graph):
        started = time.process_time()
        made = quantized(job.model, {graph.nodes[index].output[0] for index in layer.nodes}, ranges)
        loaded = session(onnxruntime, made)
        built = time.process_time()
        rows[layer.name] = {"sqnr_db": sqnr(loaded, feeds, expected)}
        build_s += built - started
        evaluate_s += time.process_time() - built
    return {"layers": rows, "build_s": build_s, "evaluate_s": evaluate_s}


def public_call(base, count: int) -> float:
    """Seconds of the processor that one layer takes with the public call, over a few layers."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from toolkit.core import signature
    from toolkit.search.simulation_graph import FloatGraph, layers_of
    from toolkit.stages import work

    job = job_of(base, count)
    feeds = [signature.bind(batch.feeds, job.artefact) for batch in work.batches_of(job.data, job.source)]
    floats = session(onnxruntime, job.model.read_bytes())
    expected = [floats.run(None, feed) for feed in feeds]
    graph = FloatGraph(job.model)
    layers = layers_of(graph)
    chosen = [layers[(2 * step + 1) * len(layers) // (2 * FEW)] for step in range(FEW)]
    with tempfile.TemporaryDirectory() as folder:
        named, out = Path(folder) / "named.onnx", Path(folder) / "one.onnx"
        model = onnx.load_model(str(job.model))
        for index, node in enumerate(model.graph.node):
            node.name = f"node_{index}"
        onnx.save(model, str(named))
        places = {node.output[0]: node.name for node in model.graph.node if node.output}
        started = time.process_time()
        for layer in chosen:
            wanted = [places[graph.nodes[index].output[0]] for index in layer.nodes]
            quantize_static(
                str(named),
                str(out),
                Reader(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=wanted,
            )
            sqnr(session(onnxruntime, out.read_bytes()), feeds, expected)
        return (time.process_time() - started) / len(chosen)


class Reader:
    """Samples as ONNX Runtime's calibrators want them."""

    def __init__(self, feeds) -> None:
        self._feeds = iter(feeds)

    def get_next(self):
        return next(self._feeds, None)


def session(onnxruntime, model: bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def quantized(path: Path, outputs: set[str], ranges) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.shape_inference.infer_shapes(onnx.load_model(str(path)))
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
    chosen = [node for node in model.graph.node if node.output[0] in outputs]
    mark = model.metadata_props.add()
    mark.key, mark.value = "onnx.infer", "onnxruntime.quant"
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[node.name for node in chosen],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in chosen}),
        extra_options={"WeightSymmetric": True, "QDQOpTypePerChannelSupportToAxis": {"MatMul": -1}},
    )
    quantizer.quantize_model()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "one.onnx"
        quantizer.model.save_model_to_file(str(out), False)
        return out.read_bytes()


def sqnr(loaded, feeds, expected) -> float:
    """The worst of the float outputs, over all samples."""
    signal, noise = {}, {}
    for feed, wanted in zip(feeds, expected, strict=True):
        for place, (want, value) in enumerate(zip(wanted, loaded.run(None, feed), strict=True)):
            if want.dtype.kind == "f":
                signal[place] = signal.get(place, 0.0) + float(np.sum(np.square(want, dtype=np.float64)))
                noise[place] = noise.get(place, 0.0) + float(np.sum(np.square(want - value, dtype=np.float64)))
    return min(10 * math.log10(signal[p] / noise[p]) if noise[p] else math.inf for p in signal)


if __name__ == "__main__":
    main()
