"""Write out subgraphs: the branches of ``If``, every turn of ``Loop`` and ``Scan``.

ML Programs here hold no control flow. A loop whose turns can be counted while lowering becomes its turns one after the
other; a branch whose condition is known becomes itself; of the two branches of any other, both are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_TURNS = 512
"""Turns of a loop that are written out; more are refused, as each repeats all operations of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One copy of a subgraph: what it defines bears names of its own, what it captures keeps its name."""

    nodes: tuple[Any, ...]
    constants: Mapping[str, Any]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanForm:
    """How a ``Scan`` node takes its inputs apart and puts its outputs together.

    ``states`` is the number of its state variables. Directions are 1 for backward.
    """

    states: int
    input_axes: tuple[int, ...]
    backward_inputs: tuple[bool, ...]
    output_axes: tuple[int, ...]
    backward_outputs: tuple[bool, ...]


def copied(graph: Any, prefix: str, given: Sequence[str]) -> Turn:
    """Return a copy of a subgraph whose inputs are the tensors ``given``."""
    from onnx import NodeProto

    names = {name: f"{prefix}/{name}" for name in _defined(graph)}
    names.update(zip((item.name for item in graph.input), given, strict=True))
    nodes = []
    for index, node in enumerate(graph.node):
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}/{node.name or f'{node.op_type}_{index}'}"
        _rename(copy, names)
        nodes.append(copy)
    return Turn(
        nodes=tuple(nodes),
        constants={names[item.name]: item for item in graph.initializer},
        outputs=tuple(names.get(item.name, item.name) for item in graph.output),
    )


def scan_form(attributes: Mapping[str, Any], arguments: int) -> ScanForm:
    """Read the attributes of a ``Scan`` node of that many arguments, opset 9 and later."""
    scanned = int(attributes["num_scan_inputs"])
    states = arguments - scanned
    made = len(attributes["body"].output) - states

    def listed(key: str, count: int) -> tuple[int, ...]:
        return tuple(int(item) for item in attributes.get(key, [0] * count))

    return ScanForm(
        states=states,
        input_axes=listed("scan_input_axes", scanned),
        backward_inputs=tuple(map(bool, listed("scan_input_directions", scanned))),
        output_axes=listed("scan_output_axes", made),
        backward_outputs=tuple(map(bool, listed("scan_output_directions", made))),
    )


def captured(attribute: Any) -> Iterator[str]:
    """Yield the tensors that the subgraphs of an attribute mention, at any depth."""
    for graph in (attribute.g, *attribute.graphs):
        yield from (item.name for item in graph.output)
        for node in graph.node:
            yield from node.input
            for inner in node.attribute:
                yield from captured(inner)


def _defined(graph: Any) -> Iterator[str]:
    """Yield the names that a subgraph gives, those of its own subgraphs included."""
    for item in (*graph.input, *graph.initializer):
        yield item.name
    for node in graph.node:
        yield from (name for name in node.output if name)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _defined(inner)


def _rename(node: Any, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names)
            for item in (*graph.input, *graph.output, *graph.initializer):
                item.name = names.get(item.name, item.name)
