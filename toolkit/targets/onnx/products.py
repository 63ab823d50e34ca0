"""Matrix products with constant weights, replaced by ones that take integers: dynamic 8-bit, or 4 and 8 bits in blocks.

The dynamic form is a DynamicQuantizeLinear and a MatMulInteger with one scale for each column of the weight; ONNX
Runtime fuses them into one kernel. The form with blocks is ``com.microsoft.MatMulNBits`` (ONNX Runtime's contrib
operators), which unpacks weights block by block as it multiplies, so that no float copy of them is ever made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.ports import Array
from toolkit.targets.onnx import graph
from toolkit.targets.onnx.graph import Model, Node

CONTRIB = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies by a constant: ``weight`` float32 [inputs, outputs], ``bias`` a tensor's name or empty."""

    node: Node
    weight: Array
    bias: str


def product_of(node: Node, constants: Mapping[str, Any]) -> Product | None:
    """Return a MatMul or Gemm with a constant right-hand matrix in the one form that both replacements take, or None.

    A Gemm is one if its left-hand side is not transposed and its factors are 1 (:func:`.graph.prepare` folds them
    into constants where it can).
    """
    from onnx import TensorProto

    weight = constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
    if weight is None or weight.data_type != TensorProto.FLOAT or len(weight.dims) != 2:
        return None
    values = graph.array_of(weight)
    if node.op_type == "MatMul":
        return Product(node, values, "")
    factors = (graph.attribute(node, "alpha", 1.0), graph.attribute(node, "beta", 1.0))
    if graph.attribute(node, "transA", 0) or factors != (1.0, 1.0):
        return None
    bias = node.input[graph.BIAS] if len(node.input) > graph.BIAS else ""
    return Product(node, values.T if graph.attribute(node, "transB", 0) else values, bias)


def make_dynamic(model: Model, product: Product, *, per_channel: bool) -> None:
    """Replace a product by one that quantizes its input at run time; symmetric weights."""
    from onnx import TensorProto, helper

    node = product.node
    fed, out = node.input[0], node.output[0]
    span = np.abs(product.weight.astype(np.float64)).max(axis=0 if per_channel else None) / 127
    step = np.where(span < np.finfo(np.float32).tiny, 1, span).astype(np.float32)
    integers = np.clip(np.rint(product.weight / step), -127, 127).astype(np.int8)
    quantized = [graph.own_name(fed, part) for part in ("int8", "scale", "zero")]
    known = {name for other in model.graph.node for name in other.output}
    nodes = []
    if quantized[0] not in known:
        nodes.append(helper.make_node("DynamicQuantizeLinear", [fed], quantized, quantized[0]))
    matrix, scale = graph.own_name(out, "weight"), graph.own_name(out, "weight_scale")
    graph.add_constant(model, matrix, integers)
    graph.add_constant(model, scale, np.asarray(step))
    summed, plain, both = (graph.own_name(out, part) for part in ("sum", "float", "scale"))
    scaled = graph.own_name(out, "product") if product.bias else out
    nodes += [
        helper.make_node("MatMulInteger", [quantized[0], matrix, quantized[2]], [summed], node.name),
        helper.make_node("Cast", [summed], [plain], plain, to=TensorProto.FLOAT),
        helper.make_node("Mul", [quantized[1], scale], [both], both),
        helper.make_node("Mul", [plain, both], [scaled], scaled),
    ]
    if product.bias:
        nodes.append(helper.make_node("Add", [scaled, product.bias], [out], graph.own_name(out, "bias")))
    _replace(model, node, nodes)


def make_blocked(model: Model, product: Product, bits: int, block_size: int) -> None:
    """Replace a product by a MatMulNBits of 4 or 8 bits, one symmetric scale for ``block_size`` inputs."""
    from onnx import helper

    node, out = product.node, product.node.output[0]
    packed, scales = to_blocks(product.weight, bits, block_size)
    names = [graph.own_name(out, part) for part in ("weight", "weight_scale")]
    graph.add_constant(model, names[0], packed)
    graph.add_constant(model, names[1], scales.reshape(-1))
    inputs, outputs = product.weight.shape
    multiplied = graph.own_name(out, "product") if product.bias else out
    nodes = [
        helper.make_node(
            "MatMulNBits",
            [node.input[0], *names],
            [multiplied],
            node.name,
            domain=CONTRIB,
            K=inputs,
            N=outputs,
            bits=bits,
            block_size=block_size,
        )
    ]
    if product.bias:
        nodes.append(helper.make_node("Add", [multiplied, product.bias], [out], graph.own_name(out, "bias")))
    graph.use_domain(model, CONTRIB)
    _replace(model, node, nodes)


def block_bytes(product: Product, bits: int, block_size: int) -> tuple[int, int]:
    """Return the bytes of a blocked weight and of its scales."""
    inputs, outputs = product.weight.shape
    blocks = -(-inputs // block_size) * outputs
    return blocks * block_size * bits // 8, blocks * 4


def to_blocks(weight: Array, bits: int, block_size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pack a matrix as MatMulNBits wants it.

    Args:
        weight: float32 [inputs, outputs].
        bits: 4 or 8; values are stored unsigned, ``2 ** (bits - 1)`` standing for zero.
        block_size: inputs that share a scale, ``max|w| / (2 ** (bits - 1) - 1)``; the last block is filled with zeros.

    Returns:
        uint8 [outputs, blocks, block_size * bits / 8], two 4-bit values a byte, the earlier in the low half; and
        float32 [outputs, blocks].
    """
    inputs, outputs = weight.shape
    count = -(-inputs // block_size)
    filled = np.zeros((count * block_size, outputs), np.float64)
    filled[:inputs] = weight
    blocks = filled.T.reshape(outputs, count, block_size)
    zero = 2 ** (bits - 1)
    span = np.abs(blocks).max(axis=-1) / (zero - 1)
    scales = np.where(span < np.finfo(np.float32).tiny, 1, span).astype(np.float32)
    values = (np.clip(np.rint(blocks / scales[..., None]), -zero, zero - 1) + zero).astype(np.uint8)
    return (values[..., 0::2] | (values[..., 1::2] << 4)) if bits == 4 else values, scales


def _replace(model: Model, node: Node, nodes: list[Node]) -> None:
    kept = [other for other in model.graph.node if other.name != node.name]
    graph.replace(model.graph.node, [*kept, *nodes])
