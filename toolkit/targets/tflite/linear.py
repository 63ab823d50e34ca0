"""The layers of a ``.tflite`` file that are linear in their input, as they compute; new biases and weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import tflite_file
from toolkit.core.equalization import Link
from toolkit.core.linear import Grid, LinearLayer, Window, grid_of
from toolkit.core.ports import Array
from toolkit.targets.tflite.flatbuffer import read_graph

_CHANNEL_AXIS = -1
_SAME = 0  # Padding.SAME of the TFLite schema
_BIAS = 2
_CAPS = {0: math.inf, 1: math.inf, 3: 6.0}
"""What the fused activations NONE, RELU and RELU6 of the TFLite schema cut off above."""
_POOLS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")
_PASSES = ("RELU", "LEAKY_RELU", "PAD")
_DEPTHWISE = "DEPTHWISE_CONV_2D"
_LIMITS = {"int8": (-128, 127), "int4": (-8, 7)}
_OPERATORS = ("CONV_2D", _DEPTHWISE, "FULLY_CONNECTED")


def layers_of(model: Path) -> tuple[LinearLayer, ...]:
    """Return the layers of the main graph in the order of execution, weights and biases dequantized.

    Raises:
        ModelError: the file is none, or is damaged.
    """
    return _File(model).layers()


def links(model: Path) -> tuple[Link, ...]:
    """Return the pairs of layers of a float file between which factors of channels can move."""
    return _File(model).links()


def rewrite(model: Path, layers: Iterable[LinearLayer], out: Path) -> None:
    """Write a copy of a float file in which layers have other weights and biases."""
    file = _File(model)
    file.replace(layers)
    file.write(out)


def correct_biases(model: Path, shifts: Mapping[str, Array], out: Path) -> None:
    """Write a copy in which biases have other values; integer ones move by the nearest whole steps of their scale.

    Args:
        model: a float or quantized file.
        shifts: by layer name, float64 [outputs]; only layers that :func:`layers_of` shows with a bias.
        out: where to write.
    """
    file = _File(model)
    file.move(shifts)
    file.write(out)


def reweigh(model: Path, weights: Mapping[str, Array], out: Path) -> None:
    """Write a copy of a build in which layers have other integer weights.

    Args:
        model: a quantized file.
        weights: by layer name, float32 on the grid that :func:`layers_of` shows.
        out: where to write.
    """
    file = _File(model)
    file.reweigh(weights)
    file.write(out)


class _File:
    """A parsed ``.tflite`` file, to be read and changed."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.tools import flatbuffer_utils

        self._kinds = {op.outputs[0]: op.kind for op in read_graph(path).operators if op.outputs}
        self._model = flatbuffer_utils.read_model(str(path))
        self._graph = self._model.subgraphs[0]
        self._readers = Counter(int(index) for op in self._graph.operators for index in op.inputs)
        self._holders = Counter(tensor.buffer for graph in self._model.subgraphs for tensor in graph.tensors)
        self._unpacked = {
            operator.outputs[0]: operator.inputs[0]
            for operator in self._graph.operators
            if self._kind(operator) == "DEQUANTIZE" and self._raw(operator.inputs[0]) is not None
        }

    def layers(self) -> tuple[LinearLayer, ...]:
        found = (self._layer(operator) for operator in self._graph.operators)
        return tuple(layer for layer in found if layer is not None)

    def links(self) -> tuple[Link, ...]:
        """See :func:`links`."""
        layers = {layer.name: layer for layer in self.layers()}
        readers: dict[int, list[Any]] = {}
        for operator in self._graph.operators:
            for index in operator.inputs:
                readers.setdefault(int(index), []).append(operator)
        able = (op for op in self._graph.operators if self._kind(op) in _OPERATORS and self._shows_bias(op, layers))
        found = (self._link(op, readers) for op in able)
        return tuple(link for link in found if link is not None and link.second in layers)

    def _shows_bias(self, operator: Any, layers: Mapping[str, LinearLayer]) -> bool:
        """Whether all that a layer adds would be scaled with its weights; not so a bias that is computed."""
        layer = layers.get(self._name(int(operator.outputs[0])))
        has_bias = len(operator.inputs) > _BIAS and int(operator.inputs[_BIAS]) >= 0
        return layer is not None and (layer.bias is not None or not has_bias)

    def _link(self, layer: Any, readers: Mapping[int, list[Any]]) -> Link | None:
        """Follow what a layer makes to the next layer, if nothing else sees it on the way."""
        index, outputs = int(layer.outputs[0]), set(map(int, self._graph.outputs))
        cap, pooled = _CAPS.get(layer.builtinOptions.fusedActivationFunction, 0.0), False
        while cap > 0 and index not in outputs and len(readers.get(index, [])) == 1:
            reader = readers[index][0]
            if int(reader.inputs[0]) != index:
                return None
            if self._kind(reader) in _OPERATORS:
                ends = self._name(int(layer.outputs[0])), self._name(int(reader.outputs[0]))
                return Link(first=ends[0], second=ends[1], tensor=ends[0], cap=cap)
            if not (self._passes(reader) or (pooled and self._kind(reader) == "RESHAPE")):
                return None
            pooled = pooled or self._kind(reader) == "MEAN"
            index = int(reader.outputs[0])
        return None

    def _passes(self, operator: Any) -> bool:
        """Whether an operator works channel by channel and lets a positive factor pass."""
        kind = self._kind(operator)
        if kind in _POOLS:
            return math.isinf(_CAPS.get(operator.builtinOptions.fusedActivationFunction, 0.0))
        if kind == "PRELU":
            return self._floats(int(operator.inputs[1])) is not None
        return kind in _PASSES or (kind == "MEAN" and self._is_spatial(operator))

    def _is_spatial(self, mean: Any) -> bool:
        axes = self._raw(int(mean.inputs[1]))
        return axes is not None and sorted(int(axis) for axis in axes.reshape(-1)) == [1, 2]

    def replace(self, layers: Iterable[LinearLayer]) -> None:
        """Give layers other weights and biases, of their own."""
        changed = {layer.name: layer for layer in layers}
        for operator in self._graph.operators:
            kind = self._kind(operator)
            layer = changed.get(self._name(operator.outputs[0])) if kind in _OPERATORS else None
            if layer is None:
                continue
            inputs = [int(index) for index in operator.inputs]
            inputs[1] = self._stored(inputs[1], np.asarray(_laid_out(layer.weight, kind), np.float32))
            if layer.bias is not None:
                inputs[_BIAS] = self._stored(inputs[_BIAS], np.asarray(layer.bias, np.float32))
            operator.inputs = inputs

    def reweigh(self, weights: Mapping[str, Array]) -> None:
        """Give layers other integer weights; only layers with a grid are asked about, and those share none."""
        for operator in self._graph.operators:
            kind = self._kind(operator)
            wanted = weights.get(self._name(operator.outputs[0])) if kind in _OPERATORS else None
            if wanted is None:
                continue
            index = int(operator.inputs[1])
            index = self._unpacked.get(index, index)
            scale, zero = self._grid(self._graph.tensors[index])
            tensor = self._graph.tensors[index]
            limits = _LIMITS[_dtype(tensor.type)]
            steps = np.clip(np.rint(_laid_out(wanted, kind) / scale) + zero, *limits).astype(np.int8)
            packed = _halves(steps) if _dtype(tensor.type) == "int4" else steps
            self._model.buffers[tensor.buffer].data = np.frombuffer(packed.tobytes(), np.uint8)

    def move(self, shifts: Mapping[str, Array]) -> None:
        """Give each layer a bias of its own: converters let equal ones share a tensor or a buffer."""
        for operator in self._graph.operators:
            name = self._name(operator.outputs[0]) if len(operator.outputs) else ""
            if name in shifts and self._kinds[operator.outputs[0]] in _OPERATORS:
                operator.inputs = [int(index) for index in operator.inputs]
                operator.inputs[_BIAS] = self._moved(int(operator.inputs[_BIAS]), shifts[name])

    def write(self, out: Path) -> None:
        out.write_bytes(tflite_file.serialize(self._model))

    def _moved(self, index: int, shift: Array) -> int:
        tensor, steps = self._graph.tensors[index], self._raw(index)
        assert steps is not None, "a layer with a bias has one"
        scale = self._grid(tensor)[0]
        if steps.dtype.kind == "f":
            moved = (steps + shift).astype(steps.dtype)
        else:
            limits = np.iinfo(steps.dtype)
            moved = np.clip(steps + np.rint(shift / scale), limits.min, limits.max).astype(steps.dtype)
        return self._stored(index, moved)

    def _stored(self, index: int, values: Array) -> int:
        """Give a constant other values and return its number; one that several layers share stays, beside its copy."""
        from ai_edge_litert import schema_py_generated as schema

        tensor, content = self._graph.tensors[index], np.frombuffer(values.tobytes(), np.uint8)
        if self._readers[index] == 1 and self._holders[tensor.buffer] == 1:
            self._model.buffers[tensor.buffer].data = content
            return index
        buffer = schema.BufferT()
        buffer.data = content
        self._model.buffers.append(buffer)
        own = schema.TensorT()
        own.__dict__.update(tensor.__dict__)
        own.buffer, own.name = len(self._model.buffers) - 1, b"%s;own/%d" % (tensor.name, len(self._graph.tensors))
        self._graph.tensors.append(own)
        return len(self._graph.tensors) - 1

    def _layer(self, operator: Any) -> LinearLayer | None:
        kind = self._kind(operator)
        if kind not in _OPERATORS or len(operator.inputs) < 2:
            return None
        stored = self._floats(int(operator.inputs[1]))
        if stored is None:
            return None
        source = int(operator.inputs[0])
        size = [int(length) for length in self._graph.tensors[source].shape]
        weight, window, groups = _outputs_first(stored, kind), None, 1
        if kind != "FULLY_CONNECTED":
            window = _window(operator.builtinOptions, weight.shape[2:], size[1:-1])
            groups = size[-1] // weight.shape[1]
        bias = self._floats(int(operator.inputs[_BIAS])) if len(operator.inputs) > _BIAS else None
        return LinearLayer(
            name=self._name(operator.outputs[0]),
            source=self._name(source),
            weight=weight,
            bias=bias if bias is not None and bias.shape == (len(weight),) else None,
            groups=groups,
            window=window,
            channel_axis=_CHANNEL_AXIS,
            grid=self._weight_grid(int(operator.inputs[1]), kind),
        )

    def _weight_grid(self, index: int, kind: str) -> Grid | None:
        """Return where a layer's integer weights may lie, None where another layer reads them, too."""
        own = self._unpacked.get(index, index)
        tensor, steps = self._graph.tensors[own], self._raw(own)
        shared = any(self._readers[one] != 1 for one in {index, own}) or self._holders[tensor.buffer] != 1
        if shared or steps is None or _dtype(tensor.type) not in _LIMITS or tensor.quantization is None:
            return None
        found = grid_of(steps, *self._grid(tensor), limits=_LIMITS[_dtype(tensor.type)])
        return Grid(*(_outputs_first(part, kind) for part in (found.step, found.lowest, found.highest)))

    def _kind(self, operator: Any) -> str:
        return self._kinds.get(int(operator.outputs[0]), "") if len(operator.outputs) else ""

    def _name(self, index: int) -> str:
        name = self._graph.tensors[index].name
        return (name if isinstance(name, str) else name.decode("utf-8")) if name else ""

    def _floats(self, index: int) -> Array | None:
        """Return a constant's values as floats, None where it is none or of another kind."""
        index = self._unpacked.get(index, index)
        raw = self._raw(index) if index >= 0 else None
        if raw is None:
            return None
        if raw.dtype.kind == "f":
            return raw.astype(np.float32)
        quantization = self._graph.tensors[index].quantization
        if quantization is None or quantization.scale is None or quantization.details is not None:
            return None
        scale, zero = self._grid(self._graph.tensors[index])
        return np.asarray((raw - zero) * scale, np.float32)

    def _grid(self, tensor: Any) -> tuple[Array, Array]:
        """Return scales and zero points, spread along the axis of the tensor that they belong to."""
        quantization = tensor.quantization
        if quantization is None or quantization.scale is None:
            return np.ones(1), np.zeros(1)
        scale = np.asarray(quantization.scale, np.float64)
        given = quantization.zeroPoint
        zero = np.zeros(len(scale)) if given is None else np.broadcast_to(np.asarray(given, np.float64), scale.shape)
        shape = [1] * len(tensor.shape)
        if scale.size > 1:
            shape[quantization.quantizedDimension] = -1
        return scale.reshape(shape), zero.reshape(shape)

    def _raw(self, index: int) -> Array | None:
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        kind, shape = _dtype(tensor.type), tuple(int(size) for size in tensor.shape)
        raw = np.frombuffer(bytes(data), np.uint8)
        if kind == "int4":
            halves = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[: math.prod(shape)]
            return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)
        return np.frombuffer(bytes(data), kind).reshape(shape) if kind else None


def _outputs_first(stored: Array, kind: str) -> Array:
    """Turn weights as TFLite lays them out into [outputs, inputs of a group, *kernel]."""
    if kind == "FULLY_CONNECTED":
        return stored
    return np.moveaxis(stored, -1, 0) if kind == _DEPTHWISE else np.moveaxis(stored, -1, 1)


def _laid_out(weight: Array, kind: str) -> Array:
    """Undo :func:`_outputs_first`."""
    if kind == "FULLY_CONNECTED":
        return weight
    return np.moveaxis(weight, 0, -1) if kind == _DEPTHWISE else np.moveaxis(weight, 1, -1)


def _halves(steps: Array) -> Array:
    """Pack 4-bit integers two a byte, the first in the lower half."""
    nibbles = np.append(steps.reshape(-1), np.zeros(steps.size % 2, np.int8)).astype(np.uint8) & 15
    return np.asarray(nibbles[::2] | nibbles[1::2] << 4, np.uint8)


def _window(options: Any, kernel: tuple[int, ...], size: list[int]) -> Window:
    strides = (int(options.strideH), int(options.strideW))
    dilations = (int(options.dilationHFactor), int(options.dilationWFactor))
    before, after = [], []
    for length, taps, step, spread in zip(size, kernel, strides, dilations, strict=True):
        reach = (-(-length // step) - 1) * step + (taps - 1) * spread + 1
        missing = max(reach - length, 0) if options.padding == _SAME else 0
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return Window(strides=strides, dilations=dilations, before=tuple(before), after=tuple(after))


def _dtype(code: int) -> str:
    from ai_edge_litert import schema_py_generated as schema

    words = {getattr(schema.TensorType, word.upper()): word for word in ("int8", "int16", "int32", "int64", "int4")}
    words |= {schema.TensorType.FLOAT32: "float32", schema.TensorType.FLOAT16: "float16"}
    return str(words.get(code, ""))
