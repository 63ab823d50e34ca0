"""The convolutions and products of an ONNX graph with constant weights, as they compute; new biases and weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.equalization import Link
from toolkit.core.linear import Grid, LinearLayer, Window, grid_of
from toolkit.core.ports import Array
from toolkit.targets.onnx import graph
from toolkit.targets.onnx.graph import Model, Node

_OPERATORS = ("Conv", "Gemm", "MatMul")
_PASSES = ("Relu", "LeakyRelu", "PRelu", "Clip")
"""Operators that work element by element and let a positive factor pass; a Clip at zero up to its other bound."""
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")
"""Operators that do the same channel by channel, the channels being on axis 1: those of a Conv."""
_FLATTENS = ("Flatten", "Reshape", "Squeeze")
_HIGH = 2
_CENTRED = {"SAME_UPPER", "SAME_LOWER"}


def layers_of(model: Model) -> tuple[LinearLayer, ...]:
    """Return the layers in the order of the graph; weights behind a DequantizeLinear or Cast are what comes out."""
    known = _Constants(model)
    found = (_layer(node, known) for node in model.graph.node if node.op_type in _OPERATORS)
    return tuple(layer for layer in found if layer is not None)


def links(model: Model) -> tuple[Link, ...]:
    """Return the pairs of layers of a prepared float graph between which factors of channels can move."""
    known = _Constants(model)
    layers = {layer.name: layer for layer in layers_of(model)}
    readers: dict[str, list[Node]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    hidden = graph.captured(model.graph.node) | {output.name for output in model.graph.output}
    able = (node for node in model.graph.node if node.name in layers and _shows_bias(node, layers[node.name]))
    found = (_link(node, readers, known, hidden) for node in able)
    return tuple(link for link in found if link is not None and link.second in layers)


def rewrite(model: Model, layers: Iterable[LinearLayer]) -> None:
    """Give layers of a prepared float graph other weights and biases, in place."""
    changed = {layer.name: layer for layer in layers}
    for node in model.graph.node:
        layer = changed.get(node.name)
        if layer is None:
            continue
        flat = node.op_type == "MatMul" or (node.op_type == "Gemm" and not graph.attribute(node, "transB", 0))
        values = {1: layer.weight.T if flat else layer.weight}
        if layer.bias is not None:
            values[graph.BIAS] = layer.bias
        for index, array in values.items():
            own = graph.own_name(node.input[index], f"of/{node.name}")
            graph.add_constant(model, own, np.asarray(array, np.float32))
            node.input[index] = own
    graph.drop_unused(model)


def _shows_bias(node: Node, layer: LinearLayer) -> bool:
    """Whether all that a layer adds would be scaled with its weights; not so a bias that its LinearLayer leaves out."""
    return layer.bias is not None or not any(node.input[graph.BIAS :])


@dataclass(slots=True)
class _Way:
    """What lies between a layer and the next: ``pooled`` to one place a channel, ``flat`` after that."""

    first: Node
    tensor: str
    cap: float = math.inf
    pooled: bool = False
    flat: bool = False

    def ends_at(self, layer: Node) -> bool:
        """Whether a layer reads its input's channels where the first one wrote its outputs.

        A Conv has them on axis 1, products on the last, which is where they end up once one place is left a channel.
        """
        if self.first.op_type == layer.op_type:
            return not self.flat
        return bool(self.flat and layer.op_type != "Conv")

    def passes(self, node: Node, known: _Constants) -> bool:
        """Go on through a node if factors of channels do."""
        if node.op_type in _FLATTENS and self.pooled:
            self.flat = True
            return True
        if node.op_type in _POOLS:
            self.pooled = self.pooled or node.op_type == "GlobalAveragePool"
            return self.first.op_type == "Conv" and not self.flat
        if node.op_type == "Clip":
            return self._is_capped(node, known)
        return node.op_type in _PASSES and (node.op_type != "PRelu" or known.floats(node.input[1]) is not None)

    def _is_capped(self, clip: Node, known: _Constants) -> bool:
        """Take a Clip's bound; only where channels are on axis 1, as whoever asks for their largest values assumes."""
        low, high = (known.bound(clip, place) for place in (1, _HIGH))
        fits = low == 0 and high > 0 and math.isinf(self.cap) and not self.flat and self.first.op_type != "MatMul"
        if fits:
            self.cap, self.tensor = high, clip.output[0]
        return fits


def _link(node: Node, readers: Mapping[str, list[Node]], known: _Constants, hidden: set[str]) -> Link | None:
    """Follow what a layer makes to the next layer, if nothing else sees it on the way."""
    name = node.output[0]
    way = _Way(node, name)
    while name not in hidden and len(readers.get(name, [])) == 1:
        reader = readers[name][0]
        if reader.input[0] != name:
            return None
        if reader.op_type in _OPERATORS:
            fits = way.ends_at(reader)
            return Link(first=node.name, second=reader.name, tensor=way.tensor, cap=way.cap) if fits else None
        if not way.passes(reader, known):
            return None
        name = reader.output[0]
    return None


def correct_biases(model: Model, shifts: Mapping[str, Array]) -> None:
    """Add to the biases of layers in place; integer ones move by the nearest whole steps of their scale.

    Args:
        model: a float or quantized graph.
        shifts: by layer name, float64 [outputs]; only layers that :func:`layers_of` shows with a bias.
    """
    known = _Constants(model)
    for node in model.graph.node:
        if node.name not in shifts:
            continue
        name = node.input[graph.BIAS]
        maker = known.widened.get(name)
        if maker is None:
            values = known.floats(name)
            assert values is not None, "a layer with a bias has one"
            own = graph.own_name(name, f"of/{node.name}")
            graph.add_constant(model, own, (values + shifts[node.name]).astype(np.float32))
            node.input[graph.BIAS] = own
        else:
            _move_integers(model, known, maker, shifts[node.name])
    graph.drop_unused(model)


def _move_integers(model: Model, known: _Constants, maker: Node, shift: Array) -> None:
    steps = graph.array_of(known.constants[maker.input[0]])
    scale = graph.array_of(known.constants[maker.input[1]]).astype(np.float64)
    limits = np.iinfo(steps.dtype)
    moved = np.clip(steps + np.rint(shift / scale), limits.min, limits.max).astype(steps.dtype)
    own = graph.own_name(maker.input[0], "moved")
    graph.add_constant(model, own, moved)
    maker.input[0] = own


def reweigh(model: Model, weights: Mapping[str, Array]) -> None:
    """Give layers of a build other integer weights in place.

    Args:
        model: a quantized graph.
        weights: by layer name, float32 on the grid that :func:`layers_of` shows.
    """
    known = _Constants(model)
    for node in model.graph.node:
        held = known.stored(node.input[1]) if node.name in weights else None
        if held is None:
            continue
        wanted = weights[node.name] if _is_outputs_first(node) else weights[node.name].T
        own = graph.own_name(held.name, "rounded")
        moved = np.clip(np.rint(wanted / held.scale) + held.zero, *graph.limits_of(held.integers))
        graph.add_constant(model, own, moved.astype(held.integers.dtype))
        held.reader.input[0] = own
    graph.drop_unused(model)


def _is_outputs_first(node: Node) -> bool:
    return node.op_type == "Conv" or (node.op_type == "Gemm" and bool(graph.attribute(node, "transB", 0)))


@dataclass(frozen=True, slots=True)
class _Stored:
    """A weight's integers: ``(integers - zero) * scale``, those two spread to its rank; ``reader`` reads them first."""

    name: str
    reader: Node
    integers: Array
    scale: Array
    zero: Array


class _Constants:
    """The constants of a graph, and those that a node right behind them turns into floats."""

    def __init__(self, model: Model) -> None:
        self.constants: dict[str, Any] = graph.initializers(model)
        self.widened: dict[str, Node] = {
            node.output[0]: node
            for node in model.graph.node
            if node.op_type in ("DequantizeLinear", "Cast") and node.input[0] in self.constants
        }
        self._scalers = {node.output[0]: node for node in model.graph.node if node.op_type in ("Sub", "Mul")}
        self.uses = Counter(name for node in model.graph.node for name in node.input)

    def floats(self, name: str) -> Array | None:
        """Return a constant's values as floats, None where it is none."""
        if name in self.constants:
            values = graph.array_of(self.constants[name])
            return values if values.dtype == np.float32 else None
        maker = self.widened.get(name)
        if maker is None:
            return self._scaled(name)
        if not self.constants.keys() >= set(maker.input):
            return None
        stored, *grid = (graph.array_of(self.constants[part]) for part in maker.input)
        if maker.op_type == "Cast":
            return stored.astype(np.float32)
        axis = graph.attribute(maker, "axis", 1)
        scale, zero = (_spread(part, axis, stored.ndim) for part in (*grid, np.zeros(1))[:2])
        return np.asarray((stored.astype(np.float64) - zero.astype(np.float64)) * scale, np.float32)

    def _scaled(self, name: str) -> Array | None:
        """Return what a Sub or Mul of integers and their grid makes."""
        maker = self._scalers.get(name)
        if maker is None or maker.input[1] not in self.constants:
            return None
        steps, part = self.floats(maker.input[0]), self.floats(maker.input[1])
        if steps is None or part is None:
            return None
        return np.asarray(steps - part if maker.op_type == "Sub" else steps * part)

    def stored(self, name: str) -> _Stored | None:
        """Return a weight's integers, where one layer alone reads them."""
        alone = self.uses[name] == 1
        maker, scaler = self.widened.get(name), self._scalers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear" and alone:
            return self._linear(maker)
        if scaler is None or scaler.op_type != "Mul" or not alone:
            return None
        return self._scaled_integers(scaler)

    def _linear(self, maker: Node) -> _Stored | None:
        """Return what a DequantizeLinear reads."""
        if not self.constants.keys() >= set(maker.input) or self.uses[maker.input[0]] != 1:
            return None
        integers, *grid = (graph.array_of(self.constants[part]) for part in maker.input)
        axis = graph.attribute(maker, "axis", 1)
        scale, zero = (_full(part.astype(np.float64), axis, integers.ndim) for part in (*grid, np.zeros(1))[:2])
        return _Stored(maker.input[0], maker, integers, scale, zero)

    def _scaled_integers(self, scaler: Node) -> _Stored | None:
        """Return what a Mul makes of a Cast's integers, with or without a Sub of their zero point between."""
        scale, below = self.floats(scaler.input[1]), self._scalers.get(scaler.input[0])
        zero = None if below is None else self.floats(below.input[1])
        cast = self.widened.get(scaler.input[0] if below is None else below.input[0])
        if scale is None or cast is None or cast.op_type != "Cast" or (below is not None and zero is None):
            return None
        integers = graph.array_of(self.constants[cast.input[0]])
        ways = [cast.input[0], cast.output[0], *([] if below is None else [below.output[0]])]
        if integers.dtype.kind not in "iu" or any(self.uses[way] != 1 for way in ways):
            return None
        parts = (np.asarray(part, np.float64) for part in (scale, np.zeros(1) if zero is None else zero))
        scale, zero = (_full(part, 0, integers.ndim) for part in parts)
        return _Stored(cast.input[0], cast, integers, scale, zero)

    def bound(self, clip: Node, place: int) -> float:
        """Return a bound of a Clip, NaN where it is computed."""
        if len(clip.input) <= place or not clip.input[place]:
            return math.inf if place == _HIGH else -math.inf
        values = self.floats(clip.input[place])
        return math.nan if values is None else float(values.reshape(-1)[0])

    def can_change(self, name: str, outputs: int) -> bool:
        """Whether a tensor is a bias, one number an output, that may be given other values for one layer alone."""
        values = self.floats(name)
        if values is None or values.shape != (outputs,):
            return False
        maker = self.widened.get(name)
        if maker is None:
            return True
        return maker.op_type == "DequantizeLinear" and self.uses[name] == self.uses[maker.input[0]] == 1


def _spread(part: Array, axis: int, rank: int) -> Array:
    return part.reshape([-1 if index == axis % rank else 1 for index in range(rank)]) if part.size > 1 else part


def _full(part: Array, axis: int, rank: int) -> Array:
    """Spread scales or zero points to a rank: one number, a number an index of an axis, or spread already."""
    if part.size == 1:
        return part.reshape((1,) * rank)
    return part if part.ndim == rank else _spread(part, axis, rank)


def _layer(node: Node, known: _Constants) -> LinearLayer | None:
    weight = known.floats(node.input[1])
    if weight is None:
        return None
    groups, window = 1, None
    if node.op_type == "Conv":
        groups, window = graph.attribute(node, "group", 1), _window(node, weight)
        if window is None:
            return None
    else:
        factors = {graph.attribute(node, "alpha", 1.0), graph.attribute(node, "beta", 1.0)}
        if weight.ndim != 2 or graph.attribute(node, "transA", 0) or factors != {1.0}:
            return None
        weight = weight if graph.attribute(node, "transB", 0) else weight.T
    bias = node.input[graph.BIAS] if len(node.input) > graph.BIAS and node.op_type != "MatMul" else ""
    usable = bias and known.can_change(bias, len(weight))
    return LinearLayer(
        name=node.name,
        source=node.input[0],
        weight=weight,
        bias=known.floats(bias) if usable else None,
        groups=groups,
        window=window,
        grid=_grid(node, known),
    )


def _grid(node: Node, known: _Constants) -> Grid | None:
    held = known.stored(node.input[1])
    if held is None:
        return None
    grid = grid_of(held.integers, held.scale, held.zero, graph.limits_of(held.integers))
    if _is_outputs_first(node):
        return grid
    return Grid(*(part.T for part in (grid.step, grid.lowest, grid.highest)))


def _window(node: Node, weight: Array) -> Window | None:
    """Return how a Conv's kernel moves; None where that depends on the size of its input."""
    axes = weight.ndim - 2
    if graph.attribute(node, "auto_pad", b"NOTSET").decode() in _CENTRED:
        return None
    pads = tuple(graph.attribute(node, "pads", [0] * 2 * axes))
    return Window(
        strides=tuple(graph.attribute(node, "strides", [1] * axes)),
        dilations=tuple(graph.attribute(node, "dilations", [1] * axes)),
        before=pads[:axes],
        after=pads[axes:],
    )
