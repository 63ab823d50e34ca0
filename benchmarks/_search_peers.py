"""Mixed precision with other tools, as their guides have it: what is excluded by hand, or found by their own search.

All start from the same float artefact, calibrate on the same samples, choose on the same validation samples with the
metric's plain value (they have no interval) and are scored on the samples that nothing was chosen by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Signature
from toolkit.core.metrics import top_k_hits

STEPS = (0, 1, 2, 4, 8, 16)
"""How many layers are kept float, from the input on, until the validation samples are content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJob:
    """Samples as `.npy` of [n, 1, ...] for the one input, labels as [n]; `float_values` of the held-out samples."""

    model: Path
    bound: Signature
    source: Signature
    output: str
    calibration: Path
    validation: Path
    validation_labels: Path
    held_out: Path
    held_out_labels: Path
    validation_float: float
    max_drop: float
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerBuild:
    """What a tool ended with: held-out values of the metric, the file's size, and what the way there took."""

    name: str
    size_bytes: int
    values: tuple[float, ...]
    evaluations: int
    inferences: int
    seconds: float


def _rows(job: PeerJob, path: Path) -> Iterator[dict[str, Any]]:
    name = job.source.inputs[0].name
    for row in np.load(path, mmap_mode="r"):
        yield signature.bind({name: np.array(row)}, job.bound)


def _scored(target: str, model: Path, job: PeerJob, rows: Path, labels: Path) -> list[float]:
    session = discovery.load("toolkit.targets", target).open_session(model, 1)
    values = []
    for feeds, label in zip(_rows(job, rows), np.load(labels), strict=True):
        scores = signature.unbind(session.run(feeds), job.bound)[job.output].reshape(1, -1)
        values.append(float(top_k_hits(scores, np.array([label]), 1)[0]))
    return values


def _by_hand(target: str, names: str, job: PeerJob, build: Callable[[int, Path], None]) -> PeerBuild:
    """Keep ever more layers float until the validation samples lose no more than is allowed."""
    started, evaluations, inferences = time.process_time(), 0, 0
    suffix = discovery.load("toolkit.targets", target).SUFFIX
    for count in STEPS:
        out = job.scratch / f"peer{count}{suffix}"
        build(count, out)
        values = _scored(target, out, job, job.validation, job.validation_labels)
        evaluations, inferences = evaluations + 1, inferences + len(values)
        if job.validation_float - np.mean(values) <= job.max_drop:
            break
    seconds = time.process_time() - started
    held_out = _scored(target, out, job, job.held_out, job.held_out_labels)
    return PeerBuild(
        name=f"{names}, the first {count} layers float",
        size_bytes=out.stat().st_size,
        values=tuple(held_out),
        evaluations=evaluations,
        inferences=inferences,
        seconds=seconds,
    )


def onnx_runtime(job: PeerJob) -> PeerBuild:
    """ONNX Runtime: u8s8 a channel, min-max ranges taken once, `nodes_to_exclude` from the input on."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, create_calibrator
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.registry import QDQRegistry

    stream = _rows(job, job.calibration)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(stream, None)

    kinds = list(QDQRegistry)
    calibrator = create_calibrator(job.model, kinds, augmented_model_path=str(job.scratch / "augmented.onnx"))
    calibrator.collect_data(Reader())
    ranges = calibrator.compute_data()
    weighted = [node.name for node in onnx.load(job.model).graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]

    def build(count: int, out: Path) -> None:
        made = QDQQuantizer(
            onnx.load(job.model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=weighted[:count],
            op_types_to_quantize=kinds,
            extra_options={},
        )
        made.quantize_model()
        onnx.save(made.model.model, out)

    return _by_hand("onnx", "ONNX Runtime", job, build)


def litert(job: PeerJob) -> PeerBuild:
    """LiteRT's quantizer: `static_wi8_ai8`, float borders, the first operators with weights kept out by scope."""
    import re

    from litert_quantizer import algorithm_manager, qtyping, quantizer, recipe

    from toolkit.targets.tflite.census import weighted
    from toolkit.targets.tflite.flatbuffer import read_graph

    graph = read_graph(job.model)
    layers = [[graph.tensors[index].name for index in one.outputs] for one in weighted(graph)]
    ranges = quantizer.Quantizer(str(job.model), recipe.static_wi8_ai8()).calibrate(
        {"serving_default": list(_rows(job, job.calibration))}
    )
    skip = algorithm_manager.AlgorithmName.NO_QUANTIZE

    def build(count: int, out: Path) -> None:
        made = quantizer.Quantizer(str(job.model), recipe.static_wi8_ai8())
        for border in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            made.update_quantization_recipe(".*", border, algorithm_key=skip)
        for names in layers[:count]:
            scope = "".join(f"{name};" for name in names)
            every = qtyping.TFLOperationName.ALL_SUPPORTED
            made.update_quantization_recipe(rf"\A{re.escape(scope)}\Z", every, algorithm_key=skip)
        made.quantize(ranges).export_model(str(out))

    return _by_hand("tflite", "LiteRT quantizer", job, build)


def held_out_values(target: str, model: Path, job: PeerJob) -> tuple[float, ...]:
    """Return the metric's value of each held-out sample, for an artefact that another environment made."""
    return tuple(_scored(target, model, job, job.held_out, job.held_out_labels))
