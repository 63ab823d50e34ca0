"""Quantization of activations: ``clip(round(x / scale) + zero_point)`` and back."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering


def quantize(layer: Layer) -> None:
    """``quantize`` to int8 or uint8, per tensor or along an axis."""
    _affine(layer, "QuantizeLinear", layer.word("output_dtype"))


def dequantize(layer: Layer) -> None:
    """``dequantize`` from int8 or uint8."""
    _affine(layer, "DequantizeLinear", layer.type("input").dtype)


def _affine(layer: Layer, operator: str, dtype: str) -> None:
    if dtype not in ("int8", "uint8"):
        raise layer.refusal(f"is of {dtype}; int8 and uint8 are executed")
    scale = layer.array("scale").astype(np.float32)
    zero = layer.array("zero_point") if layer.has("zero_point") else np.zeros((), dtype)
    zero = np.broadcast_to(zero, scale.shape).astype(dtype)
    names = [layer.graph.fresh(layer.operation.name) for _ in range(2)]
    parts = [layer.graph.constant(part, name) for part, name in zip((scale, zero), names, strict=True)]
    attributes = {"axis": layer.integer("axis", 0)} if scale.ndim else {}
    layer.emit(operator, layer.tensor("input"), *parts, **attributes)


LOWERINGS: dict[str, Lowering] = {"dequantize": dequantize, "quantize": quantize}
