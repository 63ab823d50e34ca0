"""Pieces of a float graph as ONNX Runtime sessions, and each layer's twin on a recipe's grid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from toolkit.core.artifacts import Range
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array
from toolkit.core.recipe import Recipe
from toolkit.search.simulation_graph import FloatGraph, Layer, Node, Piece
from toolkit.search.simulation_grid import activation_grid, rounded_weights

_CONTRIB = "com.microsoft"
"""ONNX Runtime's own operators: its QuantizeLinear has 16 bits in every operator set of the standard."""
_MARK = "~palmtop"
_FLOAT32 = "float32"


class PieceSession:
    """One piece, loaded: tensors by name in, those it makes out."""

    def __init__(self, session: Any, reads: tuple[str, ...], makes: tuple[str, ...]) -> None:
        self._session = session
        self._reads = reads
        self._inner = [output.name for output in session.get_outputs()]
        self.makes = makes

    def run(self, values: Mapping[str, Array]) -> Sequence[Array]:
        """Execute once and return what it makes, in the order of ``makes``.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        try:
            made: Sequence[Array] = self._session.run(self._inner, {name: values[name] for name in self._reads})
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            raise ModelError(f"ONNX Runtime failed on the operators that make {self.makes[0]!r}: {said}") from error
        return made


class Sessions:
    """Makes sessions of pieces of one graph under one recipe."""

    def __init__(self, graph: FloatGraph, recipe: Recipe, ranges: Mapping[str, Range]) -> None:
        self._graph = graph
        self._recipe = recipe
        self._ranges = ranges
        self._types = _types(graph)
        self.dtypes = {name: dtype for name, (_, dtype, _) in self._types.items()}

    def has_range(self, tensor: str) -> bool:
        """Whether a tensor is no float, which needs no range, or has one."""
        return self.dtypes.get(tensor) != _FLOAT32 or tensor in self._ranges

    def of(self, piece: Piece) -> PieceSession:
        """Load a piece as it is, with the runtime's default optimisations."""
        nodes = [self._graph.nodes[index] for index in piece.nodes]
        raw = self._model(nodes, piece.reads, piece.makes, {})
        return PieceSession(_load(raw, optimise=True), piece.reads, piece.makes)

    def twin(self, piece: Piece) -> PieceSession:
        """Load a layer's piece on the recipe's grid.

        It makes the layer's output and, where others read it too, the layer's rounded input: in a build everyone
        reads that one. The runtime's own optimisations are off, since they would round float weights between integer
        activations once more.
        """
        from onnx import helper

        layer = piece.layer
        assert layer is not None
        nodes = [type(node)() for node in (self._graph.nodes[index] for index in layer.nodes)]
        for copy, index in zip(nodes, layer.nodes, strict=True):
            copy.CopyFrom(self._graph.nodes[index])
        rounded = layer.weight.name + _MARK
        constants: dict[str, Any] = {rounded: _tensor(rounded, self._weights(layer))}
        nodes[0].input[layer.weight.place] = rounded
        read, made = layer.reads, layer.makes
        if self._rounds(layer.reads):
            read = layer.reads + _MARK
            before = self._rounding(layer.reads, read, constants)
            for place, name in enumerate(nodes[0].input):
                nodes[0].input[place] = read if name == layer.reads else name
            nodes = [*before, *nodes]
        if self._rounds(layer.makes):
            made = layer.makes + _MARK
            nodes += self._rounding(layer.makes, made, constants)
        shared = read != layer.reads and len(self._graph.readers[layer.reads]) > 1
        inner = (made, read) if shared else (made,)
        raw = self._model(nodes, piece.reads, inner, constants, [helper.make_opsetid(_CONTRIB, 1)])
        makes = (layer.makes, layer.reads) if shared else (layer.makes,)
        return PieceSession(_load(raw, optimise=False), piece.reads, makes)

    def _weights(self, layer: Layer) -> Array:
        weights = np.asarray(self._graph.array(layer.weight.name), np.float32)
        return rounded_weights(weights, layer.weight.channel, self._recipe)

    def _rounds(self, tensor: str) -> bool:
        return self.dtypes.get(tensor) == _FLOAT32 and self._recipe.activation_mode != "none"

    def _rounding(self, tensor: str, out: str, constants: dict[str, Any]) -> list[Node]:
        """Return the nodes that put a tensor on its grid and take it back to float."""
        from onnx import helper

        integers, parts = f"{out}/integers", [f"{out}/scale", f"{out}/zero"]
        if self._recipe.activation_mode == "dynamic":
            return [
                helper.make_node("DynamicQuantizeLinear", [tensor], [integers, *parts]),
                helper.make_node("DequantizeLinear", [integers, *parts], [out]),
            ]
        grid = activation_grid(self._ranges[tensor], self._recipe.activation_bits)
        kind = np.uint8 if grid.bits == 8 else np.uint16
        constants[parts[0]] = _tensor(parts[0], np.array(grid.scale, np.float32))
        constants[parts[1]] = _tensor(parts[1], np.array(grid.zero_point, kind))
        return [
            helper.make_node("QuantizeLinear", [tensor, *parts], [integers], domain=_CONTRIB),
            helper.make_node("DequantizeLinear", [integers, *parts], [out], domain=_CONTRIB),
        ]

    def _model(
        self,
        nodes: Sequence[Node],
        reads: Sequence[str],
        makes: Sequence[str],
        constants: Mapping[str, Any],
        opsets: Sequence[Any] = (),
    ) -> bytes:
        import onnx

        whole = self._graph.model
        part = onnx.ModelProto(ir_version=max(whole.ir_version, 8))
        domains = {opset.domain for opset in opsets}
        part.opset_import.extend([*(item for item in whole.opset_import if item.domain not in domains), *opsets])
        part.functions.extend(whole.functions)
        part.graph.name = "piece"
        part.graph.node.extend(nodes)
        part.graph.input.extend(self._declared(name) for name in reads)
        part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in makes)
        named = dict.fromkeys(name for node in nodes for name in _names(node))
        for name in named:
            if name in constants:
                part.graph.initializer.append(constants[name])
            elif name in self._graph.constants:
                part.graph.initializer.add().CopyFrom(self._graph.constants[name])
                part.graph.initializer[-1].name = name
        return bytes(part.SerializeToString())

    def _declared(self, name: str) -> Any:
        from onnx import helper

        if name not in self._types:
            raise ModelError(f"The model cannot be cut at {name!r}, which is no tensor of numbers.")
        element, _, shape = self._types[name]
        return helper.make_tensor_value_info(name, element, shape)


def _names(node: Node) -> list[str]:
    found = list(node.input)
    for attribute in node.attribute:
        for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            found += [output.name for output in inner.output]
            for deeper in inner.node:
                found += _names(deeper)
    return found


def _tensor(name: str, values: Array) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def _types(graph: FloatGraph) -> dict[str, tuple[int, str, list[int | None]]]:
    """Return ONNX's number and numpy's word for the type of each tensor, and its shape with None for unknown sizes."""
    import onnx
    from onnx import helper

    exposed = onnx.ModelProto()
    exposed.CopyFrom(graph.model)
    known = set(graph.outputs)
    fresh = [name for node in graph.model.graph.node for name in node.output if name and name not in known]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in fresh)
    session = _load(bytes(exposed.SerializeToString()), optimise=False)
    found = {}
    for value in (*session.get_inputs(), *session.get_outputs()):
        dtype = _DTYPES.get(value.type)
        if dtype is not None:
            shape = [size if isinstance(size, int) else None for size in value.shape]
            found[value.name] = (helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dtype, shape)
    return found


_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool"} | {
    f"tensor({word})": word
    for word in ("float16", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
}
"""ONNX Runtime's words for tensor types, and numpy's."""


def _library() -> ModuleType:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    library: ModuleType = onnxruntime
    return library


def _load(model: bytes, *, optimise: bool) -> Any:
    ort = _library()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ModelError(f"ONNX Runtime cannot load a part of the model: {said}") from error
