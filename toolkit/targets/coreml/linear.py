"""The convolutions and products of an ML Program with constant weights, as they compute; new biases and weights."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.linear import LinearLayer, Window
from toolkit.core.ports import Array
from toolkit.targets.coreml.half import HALF_MAX
from toolkit.targets.coreml.integers import Stored, data_name, stored_weights
from toolkit.targets.coreml.interpreter.graph import Graph, Layer
from toolkit.targets.coreml.interpreter.operators import LOWERINGS
from toolkit.targets.coreml.interpreter.operators.convolution import movement
from toolkit.targets.coreml.interpreter.program import Operation, Value, layer_name, main_function, read_package
from toolkit.targets.coreml.interpreter.weights import BlobFile
from toolkit.targets.coreml.messages import read_specification
from toolkit.targets.coreml.package import Package, open_package

_OPERATORS = ("conv", "linear")
_FLOATS = {"fp16": np.float16, "fp32": np.float32}


def linear_layers(model: Path) -> tuple[LinearLayer, ...]:
    """Return the layers in the order of execution, compressed weights expanded; see :class:`toolkit.core.ports.Target`.

    Raises:
        ModelError: it is no ML Program, or is damaged.
    """
    _, program = read_package(model)
    return tuple(_layers(program.operations))


def correct_biases(model: Path, shifts: Mapping[str, Array], out: Path) -> None:
    """Write a copy of a package in which biases have other values, in the precision that they had.

    Args:
        model: a float or quantized package.
        shifts: by layer name, float64 [outputs]; only layers that :func:`linear_layers` shows with a bias.
        out: where to write.

    Raises:
        ModelError: it is no ML Program, or is damaged.
    """
    _, program = read_package(model)
    biases = {item.name: item.inputs["bias"][0] for item in program.operations if item.name in shifts}
    moved = {layer: _moved(value, shifts[layer]) for layer, value in biases.items()}
    shutil.copytree(model, out)
    _Writer(open_package(out)).give(moved)


def reweigh(model: Path, weights: Mapping[str, Array], out: Path) -> None:
    """Write a copy of a package in which layers have other integer weights.

    Args:
        model: a quantized package.
        weights: by layer name, float32 on the grid that :func:`linear_layers` shows.
        out: where to write.

    Raises:
        ModelError: it is no ML Program, or is damaged.
    """
    _, program = read_package(model)
    stored = stored_weights(program.operations)
    tensors = {item.name: item.inputs["weight"][0].name for item in program.operations if item.name in weights}
    raw = {layer: stored[tensor].bytes_of(weights[layer]) for layer, tensor in tensors.items()}
    shutil.copytree(model, out)
    _Writer(open_package(out)).reweigh(raw)


def _layers(operations: tuple[Operation, ...]) -> Iterator[LinearLayer]:
    graph, stored = Graph(), stored_weights(operations)
    for operation in operations:
        if operation.operator.startswith("constexpr_"):
            LOWERINGS[operation.operator](Layer(operation, graph))
        elif operation.operator in _OPERATORS:
            layer = Layer(operation, graph)
            if layer.knows("weight"):
                yield _linear(layer, np.asarray(layer.array("weight"), np.float32), stored)


def _linear(layer: Layer, weight: Array, stored: Mapping[str, Stored]) -> LinearLayer:
    is_conv = layer.operation.operator == "conv"
    bias = layer.operation.inputs.get("bias", ())
    held = stored.get(layer.value("weight").name)
    can_change = bool(bias) and bias[0].constant is not None and bias[0].type.shape == (len(weight),)
    return LinearLayer(
        name=layer.operation.name,
        source=layer.value("x").name,
        weight=weight,
        bias=np.asarray(bias[0].constant, np.float32) if can_change else None,
        groups=layer.integer("groups", 1) if is_conv else 1,
        window=_window(layer) if is_conv else None,
        grid=held.grid if held is not None else None,
    )


def _window(layer: Layer) -> Window:
    strides, dilations, pads = movement(layer)
    axes = len(strides)
    return Window(
        strides=tuple(strides), dilations=tuple(dilations), before=tuple(pads[:axes]), after=tuple(pads[axes:])
    )


def _moved(value: Value, shift: Array) -> Array:
    kind = _FLOATS[value.type.dtype]
    wide = np.asarray(value.constant, np.float64) + shift
    return np.asarray((np.clip(wide, -HALF_MAX, HALF_MAX) if kind is np.float16 else wide).astype(kind))


class _Writer:
    """Changes constants of a package in place."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._model = read_specification(package)
        function = self._model.mlProgram.functions[main_function(self._model)]
        self._block = function.block_specializations[function.opset]
        self._constants = {item.outputs[0].name: item for item in self._block.operations if item.type == "const"}
        self._readers = Counter(name for operation in self._block.operations for name in _names_read(operation))
        self._blobs = Counter(map(_place, _values_of(self._model)))

    def give(self, biases: Mapping[str, Array]) -> None:
        """Give each layer a bias of its own; one that others read too stays, beside its copy."""
        copies: list[Any] = []
        for operation in self._block.operations:
            values = biases.get(layer_name(operation)) if operation.type in _OPERATORS else None
            if values is not None:
                self._store(self._own(operation, copies), values)
        everything = [*copies, *self._block.operations]
        del self._block.operations[:]
        self._block.operations.extend(everything)
        self._package.specification.write_bytes(self._model.SerializeToString())

    def _own(self, layer: Any, copies: list[Any]) -> Any:
        """Return the value of a layer's bias that nothing else reads."""
        binding = layer.inputs["bias"].arguments[0]
        if binding.WhichOneof("binding") == "value":
            return binding.value
        constant = self._constants[binding.name]
        if self._readers[binding.name] > 1:
            copy = type(constant)()
            copy.CopyFrom(constant)
            copy.outputs[0].name = binding.name = f"{binding.name}_of_{layer.outputs[0].name}"
            copy.attributes["name"].CopyFrom(constant.attributes["name"])
            copy.attributes["name"].immediateValue.tensor.strings.values[:] = [binding.name]
            self._blobs[_place(copy.attributes["val"])] += 1
            copies.append(copy)
            constant = copy
        return constant.attributes["val"]

    def _store(self, held: Any, values: Array) -> None:
        """Give a constant other values of its type: where they lie if nothing else does, else in the program."""
        if self._in_its_place(held, values.tobytes()):
            return
        held.ClearField("blobFileValue")
        held.ClearField("immediateValue")
        if values.dtype == np.float16:
            held.immediateValue.tensor.bytes.values = values.tobytes()
        else:
            held.immediateValue.tensor.floats.values.extend(values.tolist())

    def _in_its_place(self, held: Any, raw: bytes) -> bool:
        """Write over a constant in the file of weights, unless it is in the program or another one lies there, too."""
        blob = held.blobFileValue
        if held.WhichOneof("value") != "blobFileValue" or self._blobs[_place(held)] != 1:
            return False
        path = self._package.weight_file(blob.fileName)
        start = BlobFile(path).start_of(blob.offset, len(raw))
        with path.open("r+b") as file:
            file.seek(start)
            file.write(raw)
        return True

    def reweigh(self, integers: Mapping[str, bytes]) -> None:
        """Give layers other integers, as their type of MIL keeps them."""
        makers = {item.outputs[0].name: item for item in self._block.operations if item.type.startswith("constexpr_")}
        for operation in self._block.operations:
            raw = integers.get(layer_name(operation)) if operation.type in _OPERATORS else None
            if raw is not None:
                held = self._data_of(makers[operation.inputs["weight"].arguments[0].name])
                if not self._in_its_place(held, raw):
                    held.ClearField("blobFileValue")
                    held.ClearField("immediateValue")
                    held.immediateValue.tensor.bytes.values = raw
        self._package.specification.write_bytes(self._model.SerializeToString())

    def _data_of(self, maker: Any) -> Any:
        """Return the value of the integers that an operation makes floats of."""
        name = data_name(maker.type)
        if name in maker.attributes:
            return maker.attributes[name]
        binding = maker.inputs[name].arguments[0]
        if binding.WhichOneof("binding") == "value":
            return binding.value
        return self._constants[binding.name].attributes["val"]


def _names_read(operation: Any) -> Iterator[str]:
    for argument in operation.inputs.values():
        for item in argument.arguments:
            if item.WhichOneof("binding") == "name":
                yield item.name


def _values_of(model: Any) -> Iterator[Any]:
    """Yield every value that an operation holds itself, be it a constant's or an argument."""
    for function in model.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for operation in block.operations:
                yield from operation.attributes.values()
                for argument in operation.inputs.values():
                    yield from (item.value for item in argument.arguments if item.WhichOneof("binding") == "value")


def _place(held: Any) -> tuple[str, int]:
    return held.blobFileValue.fileName, held.blobFileValue.offset
