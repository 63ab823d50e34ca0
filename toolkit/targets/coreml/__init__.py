"""Core ML: ML Programs (``.mlpackage``) for iOS, written, quantized and executed on any host.

This package is a :class:`toolkit.core.ports.Target`. Executing means lowering the program to ONNX, operator by
operator, and running that with ONNX Runtime: its figures are those of a Core ML program executed on the host.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from toolkit.core.artifacts import ToolVersion
from toolkit.core.ports import Feeds, Observe
from toolkit.targets.coreml.convert import convert
from toolkit.targets.coreml.half import HALF_MAX
from toolkit.targets.coreml.inspection import inspect, requirements
from toolkit.targets.coreml.learned import learned_weights
from toolkit.targets.coreml.linear import correct_biases, linear_layers, reweigh
from toolkit.targets.coreml.quantize import not_expressible, quantize
from toolkit.targets.coreml.session import HOST_LABEL, open_session, tap

__all__ = [
    "FORMS",
    "HOST_LABEL",
    "LARGEST_ACTIVATION",
    "RELATED_SUFFIXES",
    "RUNTIME",
    "SUFFIX",
    "calibrate",
    "convert",
    "correct_biases",
    "inspect",
    "learned_weights",
    "linear_layers",
    "not_expressible",
    "open_session",
    "quantize",
    "requirements",
    "reweigh",
    "tap",
    "toolchain",
]

SUFFIX = ".mlpackage"
RELATED_SUFFIXES = (".mlmodel", ".mlmodelc")
"""Core ML's older and compiled formats, which are refused by name."""
RUNTIME = {"onnxruntime": "onnxruntime"}
FORMS = ("saved_model", "onnx")
LARGEST_ACTIVATION = HALF_MAX
SHARES = {"convert": 1.5, "quantize": 2.5}

_LIBRARIES = ("coremltools", "onnx", "onnxruntime", "tensorflow")


def calibrate(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """Run the float32 program over the samples on this host; see :meth:`toolkit.core.ports.Target.calibrate`.

    Raises:
        DataError: a sample does not fit the model.
        ModelError: the program cannot be executed on the host.
    """
    tap(model, samples, observe)


def toolchain() -> tuple[ToolVersion, ...]:
    """Name the libraries that have a part in converting, quantizing and executing."""
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in _LIBRARIES)
