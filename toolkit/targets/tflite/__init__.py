"""TFLite: float conversion by first parties, INT8 by litert-quantizer with our ranges, execution in LiteRT."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from toolkit.core.artifacts import Inspection, Requirements, Signature, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.linear import LinearLayer
from toolkit.core.ports import Session
from toolkit.targets.tflite.census import layers, take
from toolkit.targets.tflite.conversion import from_onnx, from_saved_model, from_tflite
from toolkit.targets.tflite.flatbuffer import read_all
from toolkit.targets.tflite.learned import learned_weights
from toolkit.targets.tflite.linear import correct_biases, layers_of, links, reweigh, rewrite
from toolkit.targets.tflite.quantization import not_expressible, quantize
from toolkit.targets.tflite.runtime_floor import requirements_of
from toolkit.targets.tflite.session import TfliteSession, calibrate, tap

SUFFIX = ".tflite"
RUNTIME = {"ai-edge-litert": "ai_edge_litert.interpreter"}
FORMS = ("tflite", "saved_model", "onnx")
CHANNEL_AXIS = -1
SYMMETRIC_ACTIVATION_BITS = (16,)

_CONVERTERS = {"tflite": from_tflite, "saved_model": from_saved_model, "onnx": from_onnx}
_LIBRARIES = ("tensorflow", "onnx", "onnxsim", "litert-quantizer", "ai-edge-litert")


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    """Write the float artefact, execute it and hold it against the form; see :class:`toolkit.core.ports.Target`.

    Raises:
        ModelError: an operator cannot be converted or executed (it is named), or the result computes something else.
    """
    if form not in _CONVERTERS:
        raise ModelError(f"TFLite is not made from {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    return _CONVERTERS[form](model, source, out)


def linear_layers(model: Path) -> tuple[LinearLayer, ...]:
    """Return the convolutions and products of the main graph, weights and biases dequantized.

    Raises:
        ModelError: the file is no ``.tflite`` model, or is damaged.
    """
    return layers_of(model)


def open_session(model: Path, threads: int) -> Session:
    """Load an artefact in LiteRT with XNNPACK; ``threads`` 0 is the runtime's default."""
    return TfliteSession(model, threads)


def inspect(model: Path) -> Inspection:
    """Read operators, precision, size and requirements from any ``.tflite`` file.

    Raises:
        ModelError: it is not one, or is damaged.
    """
    graphs = read_all(model)
    return Inspection(
        format="tflite",
        signature=graphs[0].signature(),
        layers=tuple(layer for graph in graphs for layer in layers(graph)),
        size_bytes=model.stat().st_size,
        requirements=requirements_of(graphs),
        census=take(model),
    )


def requirements(model: Path) -> Requirements:
    """Say the oldest runtime and Android version that can execute an artefact.

    Raises:
        ModelError: it is not a ``.tflite`` file, or is damaged.
    """
    return requirements_of(read_all(model))


def toolchain() -> tuple[ToolVersion, ...]:
    """Name the converters, the quantizer and the runtime."""
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in _LIBRARIES)


__all__ = [
    "CHANNEL_AXIS",
    "FORMS",
    "RUNTIME",
    "SUFFIX",
    "SYMMETRIC_ACTIVATION_BITS",
    "calibrate",
    "convert",
    "correct_biases",
    "inspect",
    "learned_weights",
    "linear_layers",
    "links",
    "not_expressible",
    "open_session",
    "quantize",
    "requirements",
    "reweigh",
    "rewrite",
    "tap",
    "toolchain",
]
