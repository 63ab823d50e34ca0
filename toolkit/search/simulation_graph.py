"""An ONNX graph cut at its layers, so that a change in one layer costs only what comes after it.

A *layer* is an operator with constant weights together with the Relu or Clip that integer kernels fuse into it. A
*piece* is a run of operators that is executed in one go: each layer is a piece of its own, and so is what lies between
two layers, cut once more behind every tensor that a layer reads.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.core.ports import Array

Node = Any
"""An ``onnx.NodeProto``; the library is imported inside functions only."""

_WEIGHT_AXIS: Mapping[str, Mapping[int, int]] = {
    "Conv": {1: 0},
    "ConvTranspose": {1: 1},
    "MatMul": {1: -1, 0: -2},
    "Gemm": {1: 1},
    "Gather": {0: -1},
}
"""Operators with weights: the inputs that may be weights, and the axis of the output channels there."""
_FUSED = ("Relu", "Clip")
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A constant input of a layer: its place among the operator's inputs, its name, the axis of output channels."""

    place: int
    name: str
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """An operator with weights. ``reads`` is its varying input, ``makes`` what it or its activation makes.

    ``nodes`` are numbers of nodes of the graph, the operator's first.
    """

    name: str
    operator: str
    nodes: tuple[int, ...]
    reads: str
    makes: str
    weight: Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Operators that run in one go: numbers of nodes, the tensors that come from other pieces and that go to them."""

    nodes: tuple[int, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    layer: Layer | None


class FloatGraph:
    """A float ONNX file in memory, its constants apart from its operators."""

    def __init__(self, path: Path) -> None:
        import onnx

        self.model = onnx.load_model(str(path))
        self.nodes: list[Node] = []
        self.constants: dict[str, Any] = {init.name: init for init in self.model.graph.initializer}
        self.outputs = [value.name for value in self.model.graph.output]
        for node in self.model.graph.node:
            value = next((item.t for item in node.attribute if item.name == "value"), None)
            if node.op_type == "Constant" and value is not None and node.output[0] not in self.outputs:
                self.constants[node.output[0]] = value
            else:
                self.nodes.append(node)
        self.inputs = [value for value in self.model.graph.input if value.name not in self.constants]
        self.makers = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self.readers: dict[str, list[int]] = {}
        for index in range(len(self.nodes)):
            for name in self.reads(index):
                self.readers.setdefault(name, []).append(index)

    def reads(self, index: int) -> tuple[str, ...]:
        """Return the tensors that a node takes, those of graphs inside it included and constants left out."""
        named = (*self.nodes[index].input, *_captured(self.nodes[index]))
        made = dict.fromkeys(name for name in named if name and name not in self.constants)
        return tuple(name for name in made if name in self.makers or name in self.input_names)

    @property
    def input_names(self) -> set[str]:
        """The names of the model's own inputs."""
        return {value.name for value in self.inputs}

    def array(self, constant: str) -> Array:
        """Return the values of a constant."""
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self.constants[constant]))


def _captured(node: Node) -> Iterator[str]:
    for attribute in node.attribute:
        for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            yield from (output.name for output in inner.output)
            for deeper in inner.node:
                yield from deeper.input
                yield from _captured(deeper)


def layers_of(graph: FloatGraph) -> tuple[Layer, ...]:
    """Return the layers of the main graph in the file's order; names are those of ``palmtop inspect --layers``."""
    named = Counter(node.name for node in graph.nodes)
    found = []
    for index, node in enumerate(graph.nodes):
        weight = _weight_of(node, graph)
        varying = "" if weight is None else _varying_input(node, weight, graph)
        if weight is None or not varying:
            continue
        fused = _fused_behind(node, graph)
        own = node.name if node.name and named[node.name] == 1 else node.output[0]
        nodes = (index,) if fused is None else (index, fused)
        makes = graph.nodes[nodes[-1]].output[0]
        found.append(
            Layer(name=own, operator=str(node.op_type), nodes=nodes, reads=varying, makes=makes, weight=weight)
        )
    return tuple(found)


def _weight_of(node: Node, graph: FloatGraph) -> Weight | None:
    if node.domain not in ("", "ai.onnx"):
        return None
    for place, axis in _WEIGHT_AXIS.get(node.op_type, {}).items():
        constant = graph.constants.get(node.input[place]) if place < len(node.input) else None
        if constant is None or len(constant.dims) < 2 or constant.data_type != 1:
            continue
        if node.op_type == "Gather" and _number(node, "axis", 0) != 0:
            continue
        turned = node.op_type == "Gemm" and _number(node, "transB", 0) != 0
        return Weight(place=place, name=node.input[place], channel=0 if turned else axis % len(constant.dims))
    return None


def _varying_input(node: Node, weight: Weight, graph: FloatGraph) -> str:
    place = 1 - weight.place
    name = node.input[place] if place < len(node.input) else ""
    return "" if name in graph.constants else name


def _fused_behind(node: Node, graph: FloatGraph) -> int | None:
    readers = graph.readers.get(node.output[0], [])
    if len(readers) != 1 or node.output[0] in graph.outputs:
        return None
    behind = graph.nodes[readers[0]]
    constant = all(not name or name in graph.constants for name in behind.input[1:])
    return readers[0] if behind.op_type in _FUSED and constant and node.op_type != "Gather" else None


def _number(node: Node, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def pieces_of(graph: FloatGraph, layers: tuple[Layer, ...], targets: tuple[str, ...]) -> tuple[Piece, ...]:
    """Cut a graph into pieces in an order in which they can run.

    ``targets`` are tensors that some piece has to show beside those that other pieces read.
    """
    runs = list(_runs(graph, layers))
    home = {name: place for place, (nodes, _) in enumerate(runs) for index in nodes for name in _made(graph, index)}
    wanted: set[str] = set(targets)
    for place, (nodes, _) in enumerate(runs):
        wanted.update(name for index in nodes for name in graph.reads(index) if home.get(name, -1) != place)
    pieces = []
    for nodes, layer in runs:
        made = [name for index in nodes for name in _made(graph, index)]
        fed = dict.fromkeys(name for index in nodes for name in graph.reads(index) if name not in made)
        shown = tuple(name for name in made if name in wanted)
        if shown:
            pieces.append(Piece(nodes=tuple(nodes), reads=tuple(fed), makes=shown, layer=layer))
    return tuple(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Neighbouring pieces ``[start, end)`` as one, for errors that come from before and only pass through."""

    start: int
    end: int
    whole: Piece


def blocks_of(pieces: Sequence[Piece], targets: tuple[str, ...]) -> tuple[Block, ...]:
    """Join pieces to about as many blocks as each has pieces, so that the fewest runs lead from a layer to the end."""
    length = max(1, round(math.sqrt(len(pieces))))
    blocks = []
    for start in range(0, len(pieces), length):
        inner, outer = pieces[start : start + length], (*pieces[:start], *pieces[start + length :])
        made = {name for piece in inner for name in piece.makes}
        wanted = set(targets).union(*(piece.reads for piece in outer))
        whole = Piece(
            nodes=tuple(index for piece in inner for index in piece.nodes),
            reads=tuple(dict.fromkeys(name for piece in inner for name in piece.reads if name not in made)),
            makes=tuple(name for piece in inner for name in piece.makes if name in wanted),
            layer=None,
        )
        blocks.append(Block(start=start, end=start + len(inner), whole=whole))
    return tuple(blocks)


def _made(graph: FloatGraph, index: int) -> list[str]:
    return [name for name in graph.nodes[index].output if name]


def _runs(graph: FloatGraph, layers: tuple[Layer, ...]) -> Iterator[tuple[list[int], Layer | None]]:
    """Yield the nodes of each piece: a layer's own, or all that come up to the next cut."""
    borders = {layer.reads for layer in layers}
    waiting: list[int] = []
    for nodes, layer in _ordered(graph, layers):
        if layer is None:
            waiting += nodes
            if not borders.isdisjoint(_made(graph, nodes[0])):
                yield waiting, None
                waiting = []
            continue
        if waiting:
            yield waiting, None
            waiting = []
        yield nodes, layer
    if waiting:
        yield waiting, None


def _ordered(graph: FloatGraph, layers: tuple[Layer, ...]) -> Iterator[tuple[list[int], Layer | None]]:
    """Yield layers and single nodes, each after all that it reads, otherwise in the file's order.

    Raises:
        ModelError: the graph has a circle.
    """
    owner = {index: layer for layer in layers for index in layer.nodes}
    units: dict[int, tuple[list[int], Layer | None]] = {}
    for index in range(len(graph.nodes)):
        layer = owner.get(index)
        if layer is None or layer.nodes[0] == index:
            units[index] = (list(layer.nodes) if layer else [index], layer)
    unit_of = {index: first for first, (nodes, _) in units.items() for index in nodes}
    needs = {
        first: {
            unit_of[graph.makers[name]]
            for index in nodes
            for name in graph.reads(index)
            if name in graph.makers and unit_of[graph.makers[name]] != first
        }
        for first, (nodes, _) in units.items()
    }
    readers: dict[int, list[int]] = {}
    for first, sources in needs.items():
        for source in sources:
            readers.setdefault(source, []).append(first)
    ready = [first for first, sources in needs.items() if not sources]
    heapq.heapify(ready)
    done = 0
    while ready:
        first = heapq.heappop(ready)
        done += 1
        yield units[first]
        for reader in readers.get(first, ()):
            needs[reader].discard(first)
            if not needs[reader]:
                heapq.heappush(ready, reader)
    if done < len(units):
        raise ModelError("The operators of the model depend on each other in a circle.")


def float_outputs(graph: FloatGraph, dtypes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the model's float outputs; of an output of integers the nearest float tensors that it is made from."""
    found: dict[str, None] = {}
    for output in graph.outputs:
        pending, seen = [output], {output}
        while pending:
            name = pending.pop(0)
            if dtypes.get(name) in _FLOATS:
                found[name] = None
                continue
            sources = graph.reads(graph.makers[name]) if name in graph.makers else ()
            pending += [source for source in sources if source not in seen]
            seen.update(sources)
    return tuple(found)
