"""One small lowering function per MIL operator, a file per family."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Lowering
from toolkit.targets.coreml.interpreter.operators import (
    activation,
    constexpr,
    convolution,
    elementwise,
    gather,
    linear,
    normalization,
    pooling,
    quantization,
    reduction,
    resize,
    shape,
    slicing,
)

FAMILIES = (
    activation,
    constexpr,
    convolution,
    elementwise,
    gather,
    linear,
    normalization,
    pooling,
    quantization,
    reduction,
    resize,
    shape,
    slicing,
)

LOWERINGS: dict[str, Lowering] = {
    operator: lowering for family in FAMILIES for operator, lowering in family.LOWERINGS.items()
}
"""Lowering functions by MIL operator name."""
