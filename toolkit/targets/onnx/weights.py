"""Weight-only quantization: integers in the file, turned into floats in front of each layer, float arithmetic.

With blocks, matrix products become MatMulNBits (:mod:`.products`) and everything else gets 8 bits a channel. With
dynamic activations, matrix products become integer ones, and everything else gets 8 bits a channel.

ONNX Runtime keeps a DequantizeLinear on constants as it is and turns the weights into floats on every run: on
MobileNetV2 0.35 at 96 x 96 (one x86 thread) 2.22 ms against 0.83 ms in float. So 8-bit weights go through a Cast and a
Mul instead, which compute the same and which it folds when it loads the model: float speed, in the memory of the float
model. No Cast takes 4-bit integers before operator set 21, so those keep their DequantizeLinear; the session option
``session.disable_quant_qdq`` = 1 folds that, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError
from toolkit.core.layers import Choice
from toolkit.core.ports import Array
from toolkit.core.recipe import Recipe
from toolkit.targets.onnx import graph, products
from toolkit.targets.onnx.graph import Model, Node

TOO_SMALL = "its few weights and their scales would take more room than in float"
_NOT_DYNAMIC = "ONNX Runtime's dynamic kernels are for matrix products"
_ALL_WIDTHS_SINCE = 21
_GATHER_TABLE = 0
_DTYPES: dict[int, type[Any]] = {4: np.int8, 8: np.int8, 16: np.int16}


@dataclass(frozen=True, slots=True)
class Integers:
    """A weight in integers: ``(values - zero_point) * scale`` is the float weight.

    ``values`` int8 or int16, of the weight's shape, within ``bits``; ``scale`` float32 and ``zero_point`` of the
    values' type, of shape () or (channels,).
    """

    values: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[Any]
    bits: int = 8

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        packed = -(-self.values.size * self.bits // 8) + -(-self.zero_point.size * self.bits // 8)
        return packed + self.scale.nbytes


def to_integers(weights: Array, axis: int | None, *, symmetric: bool, bits: int = 8) -> Integers:
    """Round weights to integers, half to even, as ONNX's QuantizeLinear defines it.

    With ``top = 2 ** (bits - 1) - 1``: symmetric, ``scale = max|w| / top``, zero point 0; asymmetric, the range,
    widened to hold zero, spans [-top - 1, top].

    Args:
        weights: float32 of any shape.
        axis: one scale for each index of this axis; None for one scale in all.
        symmetric: whether the zero point is 0.
        bits: 4, 8 or 16.
    """
    others = tuple(index for index in range(weights.ndim) if axis is None or index != axis % weights.ndim)
    wide = weights.astype(np.float64)
    top = 2 ** (bits - 1) - 1
    low = np.minimum(wide.min(axis=others, keepdims=True), 0)
    high = np.maximum(wide.max(axis=others, keepdims=True), 0)
    span = np.maximum(-low, high) / top if symmetric else (high - low) / (2 * top + 1)
    scale = np.where(span < np.finfo(np.float32).tiny, 1, span).astype(np.float32)
    zero = np.zeros_like(scale) if symmetric else np.clip(np.rint(-top - 1 - low / scale), -top - 1, top)
    values = np.clip(np.rint(wide / scale) + zero, -top if symmetric else -top - 1, top).astype(_DTYPES[bits])
    shape = () if axis is None else (-1,)
    return Integers(values, scale.reshape(shape), zero.astype(_DTYPES[bits]).reshape(shape), bits)


@dataclass(frozen=True, slots=True)
class Grid:
    """How one weight is rounded: bits, the channel axis or None for one scale in all, symmetric or not."""

    bits: int
    channel: int | None
    symmetric: bool


def quantize(model: Model, recipe: Recipe, choice: Choice) -> dict[str, str]:
    """Turn the weights of a prepared model into integers, in place, and say which layers were left and why.

    A layer is left when the recipe says so, and named when it has more bits than the recipe's.

    Raises:
        ModelError: the model has no weights worth quantizing.
    """
    left_out: dict[str, str] = {}
    work = _Work(model, recipe, choice, left_out)
    for node in list(model.graph.node):
        if node.name in choice.floats:
            left_out[node.name] = f"the recipe keeps it: {choice.floats[node.name]}"
        elif not work.replaced(node):
            work.dequantized(node)
    if not work.done:
        raise ModelError(
            f"This model has no weights that would be smaller in {recipe.weight_bits} bits.",
            hint="Recipe float32 is as small.",
        )
    graph.sort(model)
    graph.drop_unused(model)
    return left_out


class _Work:
    """One model on its way, with what was shared between layers so far."""

    def __init__(self, model: Model, recipe: Recipe, choice: Choice, left_out: dict[str, str]) -> None:
        self._model = model
        self._recipe = recipe
        self._choice = choice
        self._left_out = left_out
        self._constants = graph.initializers(model)
        self._made: dict[tuple[str, Grid], str] = {}
        self.done = 0

    def replaced(self, node: Node) -> bool:
        """Replace a matrix product where the recipe asks for another operator; else say False."""
        override = self._choice.overrides.get(node.name)
        blocks = self._recipe.granularity == "block" and (override is None or override.granularity is None)
        dynamic = self._recipe.activation_mode == "dynamic"
        if not (blocks or dynamic):
            return False
        product = products.product_of(node, self._constants)
        if product is None:
            return False
        if dynamic:
            granularity = (override.granularity if override else None) or self._recipe.granularity
            products.make_dynamic(self._model, product, per_channel=granularity == "channel")
        else:
            bits = (override.weight_bits if override else None) or self._recipe.weight_bits
            packed, scales = products.block_bytes(product, bits, self._recipe.block_size)
            if packed + scales >= product.weight.nbytes:
                return False
            products.make_blocked(self._model, product, bits, self._recipe.block_size)
        self.done += 1
        return True

    def dequantized(self, node: Node) -> None:
        """Store each weight of a node as integers and turn them into floats in front of it."""
        for index, axis in _places(node, self._constants):
            name = node.input[index]
            grid = self._grid(node, axis % len(self._constants[name].dims))
            weights = graph.array_of(self._constants[name])
            integers = to_integers(weights, grid.channel, symmetric=grid.symmetric, bits=grid.bits)
            if integers.size_bytes >= weights.nbytes:
                self._left_out[node.name] = TOO_SMALL
                continue
            self.done += 1
            self._tell(node, grid)
            if node.op_type == "Gather":
                _dequantize_after(self._model, node, _store(self._model, name, grid, integers), grid.channel)
                continue
            key = (name, grid)
            if key not in self._made:
                make = unpack if grid.bits == 8 else dequantize
                self._made[key] = make(self._model, name, grid, integers)
            node.input[index] = self._made[key]

    def _grid(self, node: Node, axis: int) -> Grid:
        recipe, override = self._recipe, self._choice.overrides.get(node.name)
        bits = (override.weight_bits if override else None) or recipe.weight_bits
        granularity = (override.granularity if override else None) or recipe.granularity
        symmetric = override.symmetric if override and override.symmetric is not None else recipe.symmetric
        if granularity == "block" or node.op_type == "Gather":
            bits = 8
        return Grid(bits, None if granularity == "tensor" else axis, symmetric)

    def _tell(self, node: Node, grid: Grid) -> None:
        wanted = self._recipe.weight_bits
        if self._recipe.activation_mode == "dynamic":
            self._left_out[node.name] = f"it computes in float with {grid.bits}-bit weights: {_NOT_DYNAMIC}"
        elif grid.bits > wanted and node.name not in self._choice.overrides:
            why = "a table" if node.op_type == "Gather" else "blocks are for matrix products"
            self._left_out[node.name] = f"its weights have {grid.bits} bits, not {wanted}: {why}"


def _places(node: Node, constants: dict[str, Any]) -> Iterator[tuple[int, int]]:
    from onnx import TensorProto

    places = graph.weight_inputs(node, constants)
    if node.op_type == "Gather" and node.input[0] in constants and graph.attribute(node, "axis", 0) == 0:
        places = {_GATHER_TABLE: -1}
    for index, axis in places.items():
        constant = constants[node.input[index]]
        if constant.data_type == TensorProto.FLOAT and len(constant.dims) > 1:
            yield index, axis


def _store(model: Model, name: str, grid: Grid, integers: Integers) -> list[str]:
    stem = graph.own_name(name, f"int{grid.bits}" + ("" if grid.channel is None else f"/{grid.channel}"))
    parts: dict[str, Array] = {
        stem: integers.values,
        f"{stem}/scale": integers.scale,
        f"{stem}/zero": integers.zero_point,
    }
    known = graph.initializers(model)
    for part, values in parts.items():
        if part not in known:
            graph.add_constant(model, part, _packed(values, grid.bits) if part != f"{stem}/scale" else values)
    return list(parts)


def _packed(values: Array, bits: int) -> Array:
    if bits != 4:
        return values
    import ml_dtypes

    return values.astype(ml_dtypes.int4)


def dequantize(model: Model, name: str, grid: Grid, integers: Integers) -> str:
    """Store a weight as integers and return the name of the float tensor that a DequantizeLinear makes of it.

    Integers of 4 and 16 bits want operator set 21, or the contrib operator of ONNX Runtime that has them in any set.
    """
    from onnx import helper

    parts = _store(model, name, grid, integers)
    output = f"{parts[0]}/float"
    axis = {} if grid.channel is None else {"axis": grid.channel}
    node = helper.make_node("DequantizeLinear", parts, [output], f"{output}/node", **axis)
    if grid.bits != 8 and graph.opset_of(model) < _ALL_WIDTHS_SINCE:
        node.domain = products.CONTRIB
        graph.use_domain(model, products.CONTRIB)
    model.graph.node.append(node)
    return output


def unpack(model: Model, name: str, grid: Grid, integers: Integers) -> str:
    """Store a weight as integers and return the name of the float tensor that is made of it once, at load."""
    from onnx import TensorProto, helper

    stem = graph.own_name(name, f"int{grid.bits}" + ("" if grid.channel is None else f"/{grid.channel}"))
    shape = [1] * integers.values.ndim
    if grid.channel is not None:
        shape[grid.channel] = -1
    graph.add_constant(model, stem, integers.values)
    graph.add_constant(model, f"{stem}/scale", integers.scale.reshape(shape))
    steps, output = f"{stem}/steps", f"{stem}/float"
    model.graph.node.append(helper.make_node("Cast", [stem], [steps], f"{steps}/node", to=TensorProto.FLOAT))
    if integers.zero_point.any():
        graph.add_constant(model, f"{stem}/zero", integers.zero_point.astype(np.float32).reshape(shape))
        model.graph.node.append(helper.make_node("Sub", [steps, f"{stem}/zero"], [f"{steps}/0"], f"{steps}/0/node"))
        steps = f"{steps}/0"
    model.graph.node.append(helper.make_node("Mul", [steps, f"{stem}/scale"], [output], f"{output}/node"))
    return output


def _dequantize_after(model: Model, gather: Node, parts: list[str], channel: int | None) -> None:
    """Gather rows of integers and turn only those into float: the table itself is never expanded."""
    from onnx import helper

    rows = graph.own_name(gather.output[0], "int8")
    inputs, outputs = [rows, *parts[1:]], [gather.output[0]]
    axis = {} if channel is None else {"axis": -1}
    model.graph.node.append(helper.make_node("DequantizeLinear", inputs, outputs, f"{rows}/node", **axis))
    gather.input[_GATHER_TABLE], gather.output[0] = parts[0], rows
