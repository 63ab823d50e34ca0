"""One function per ONNX operator, a file per family."""

from __future__ import annotations

from toolkit.targets.coreml.lowering.node import Lowering
from toolkit.targets.coreml.lowering.operators import (
    activation,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    padding,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    scattering,
    shape,
    spectral,
)

FAMILIES = (
    activation,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    padding,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    scattering,
    shape,
    spectral,
)

LOWERINGS: dict[str, Lowering] = {
    operator: lowering for family in FAMILIES for operator, lowering in family.LOWERINGS.items()
}
"""Lowering functions by ONNX operator name, of the default domain."""
