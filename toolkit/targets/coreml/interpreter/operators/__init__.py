"""One small lowering function per MIL operator, a file per family."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Lowering
from toolkit.targets.coreml.interpreter.operators import (
    activation,
    arrangement,
    attention,
    classification,
    constexpr,
    convolution,
    detection,
    elementwise,
    gather,
    linear,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    scatter,
    shape,
    slicing,
)

FAMILIES = (
    activation,
    arrangement,
    attention,
    classification,
    constexpr,
    convolution,
    detection,
    elementwise,
    gather,
    linear,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    scatter,
    shape,
    slicing,
)

LOWERINGS: dict[str, Lowering] = {
    operator: lowering for family in FAMILIES for operator, lowering in family.LOWERINGS.items()
}
"""Lowering functions by MIL operator name."""
