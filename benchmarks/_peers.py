"""What other tools make of the same float model and the same calibration data at their defaults, one function a tool.

Each runs in a child process and writes one artefact. Their settings are those of the tools' own guides for a full
integer build, nothing tuned: ONNX Runtime's `quantize_static`, TensorFlow's converter with a representative data set,
LiteRT's quantizer with its recipe `static_wi8_ai8`, onnxsim's `--tflite-int8` (which calibrates on random numbers), and
coremltools' `linear_quantize_weights` (weights alone: its activations want a Mac).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery, signature
from toolkit.core.artifacts import DataRef, Signature
from toolkit.stages import data as datasets


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Quantize `model`, whose tensors are those of `bound`, to `out`, calibrated on `data` by the names of `source`."""

    model: Path
    bound: Signature
    source: Signature
    data: DataRef
    out: Path


def _feeds(job: Job) -> Iterator[dict[str, Any]]:
    for sample in datasets.stream(job.data, job.source):
        yield signature.bind(sample.feeds, job.bound)


def onnx_runtime(job: Job) -> None:
    """`onnxruntime.quantization.quantize_static` at its defaults."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    stream = _feeds(job)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            return next(stream, None)

    quantize_static(str(job.model), str(job.out), Reader())


def tflite_converter(job: Job) -> None:
    """`tf.lite.TFLiteConverter` with `Optimize.DEFAULT` and a representative data set."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(job.model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _feeds(job)
    job.out.write_bytes(converter.convert())


def litert_quantizer(job: Job) -> None:
    """LiteRT's quantizer with its recipe `static_wi8_ai8`, calibrated as it does by itself."""
    from litert_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(job.model), recipe.static_wi8_ai8())
    ranges = made.calibrate({"serving_default": list(_feeds(job))})  # it reads them more than once
    made.quantize(ranges).export_model(str(job.out))


def onnxsim_int8(job: Job) -> None:
    """onnxsim's full integer TFLite, calibrated on random numbers as it does by itself."""
    import onnx
    from onnxsim import tflite_export

    from toolkit.targets.tflite.flatbuffer import rename

    content = tflite_export.convert_to_tflite(onnx.load(job.model), int8_quantize=True)
    job.out.write_bytes(rename(content, job.source.inputs, job.source.outputs))


def coremltools_weights(job: Job) -> None:
    """`coremltools.optimize.coreml.linear_quantize_weights` at its defaults."""
    import coremltools as ct
    from coremltools.optimize import coreml as cto

    model = ct.models.MLModel(str(job.model), skip_model_load=True)
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(mode="linear_symmetric"))
    cto.linear_quantize_weights(model, config).save(str(job.out))


PEERS: dict[str, Callable[[Job], None]] = {
    "ONNX Runtime quantize_static": onnx_runtime,
    "TFLite converter": tflite_converter,
    "LiteRT quantizer": litert_quantizer,
    "onnxsim INT8": onnxsim_int8,
    "coremltools weights": coremltools_weights,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run an artefact of a target over labelled data and write the metric's value of every sample to `out`.

    `bound` says which source tensor each of its tensors stands for, by name; `output` is the source's output that is
    scored (empty: its only one), `metric` is `top1` or `module:function`.
    """

    target: str
    model: Path
    bound: Signature
    source: Signature
    data: DataRef
    output: str
    metric: str
    out: Path


def outcomes(job: Run) -> None:
    """Do the run."""
    from toolkit.core import metrics
    from toolkit.stages import scorer

    session = discovery.load("toolkit.targets", job.target).open_session(job.model, 1)
    own = _named(session.signature, job.bound)
    function = scorer.function_of(job.metric) if ":" in job.metric else None
    values = []
    for sample in datasets.stream(job.data, job.source):
        answers = signature.unbind(session.run(signature.bind(sample.feeds, own)), own)
        if function is not None:
            values.append(function(answers, sample.label))
            continue
        scores = answers[job.output or next(iter(answers))].reshape(1, -1)
        values.append(metrics.top_k_hits(scores, np.array([sample.label], np.int64), 1)[0])
    np.save(job.out, np.array(values, np.float64))


def _named(own: Signature, bound: Signature) -> Signature:
    """Give an artefact's tensors the meaning of those of the float artefact that have the same names."""
    known = {spec.name: spec for spec in (*bound.inputs, *bound.outputs)}

    def meaning(spec: Any) -> Any:
        partner = known[spec.name]
        return replace(spec, source_name=partner.source_name or partner.name, perm=partner.perm)

    return Signature(inputs=tuple(map(meaning, own.inputs)), outputs=tuple(map(meaning, own.outputs)))
