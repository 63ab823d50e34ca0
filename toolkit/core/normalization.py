"""Normalisations that exporters wrote out as arithmetic: ``(x - mean) / sqrt(mean of squares)`` and its variants.

Squares, their sums and the roots of these reach from next to nothing to hundreds of thousands within one tensor, which
eight bits turn into noise. Whoever quantizes can find the nodes here and leave them in float, as it does with a
normalisation that is one operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Node = Any
"""An operator with ``op_type`` and lists of tensor names ``input`` and ``output``, such as an ``onnx.NodeProto``."""
ValueOf = Callable[[str], float | None]
"""The value of a constant of one element, by name; None for every other tensor."""

_SUMS = frozenset({"ReduceSum", "ReduceMean", "ReduceMax"})
_MOVES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Cast", "Identity"})
_BETWEEN = frozenset({"Mul", "Add", "Sub", "Div", "Max", "Clip", "Neg", "Abs", "Relu"}) | _SUMS | _MOVES
"""What may stand between a square and the root of what became of it."""
_AFTER = frozenset({"Reciprocal", "Mul", "Div", "Sub"}) | _MOVES
_SQUARES = frozenset({"ReduceSumSquare", "ReduceL2"})


def find(nodes: Sequence[Node], is_constant: Callable[[str], bool], value_of: ValueOf) -> tuple[Node, ...]:
    """Return the nodes of every such normalisation, in the graph's order.

    These are the squares, means that are squared, all that leads from them to a root, and what follows a root or a mean
    up to where it meets the values that are normalised.
    """
    web = _Web(nodes, is_constant, value_of)
    found: set[int] = set()
    for node in nodes:
        if web.is_root(node):
            before = web.from_squares(node.input[0])
            if before:
                found |= before | {id(node)} | web.after(node)
                found |= set().union(*(web.mean_of(square) for square in nodes if id(square) in before))
    return tuple(node for node in nodes if id(node) in found)


class _Web:
    """Who makes and who reads each tensor."""

    def __init__(self, nodes: Sequence[Node], is_constant: Callable[[str], bool], value_of: ValueOf) -> None:
        self._is_constant = is_constant
        self._value_of = value_of
        self._makers = {name: node for node in nodes for name in node.output}
        self._readers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def is_root(self, node: Node) -> bool:
        return node.op_type == "Sqrt" or (node.op_type == "Pow" and self._power(node) in (0.5, -0.5))

    def from_squares(self, tensor: str) -> set[int]:
        """Return the nodes on every way from a square to a tensor; empty where there is none."""
        ways: dict[str, set[int]] = {}
        for name in self._backwards(tensor):
            node = self._makers[name]
            if self._is_square(node):
                ways[name] = {id(node)}
            else:
                inner = set().union(*(ways.get(source, set()) for source in node.input))
                ways[name] = inner | {id(node)} if inner else set()
        return ways.get(tensor, set())

    def _backwards(self, tensor: str) -> Iterator[str]:
        """Yield the tensors between squares and this one, makers before readers."""
        done: set[str] = set()
        stack = [(tensor, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                yield name
                continue
            node = self._makers.get(name)
            if node is None or name in done or not (self._is_square(node) or node.op_type in _BETWEEN):
                continue
            done.add(name)
            stack.append((name, True))
            if not self._is_square(node):
                stack += [(source, False) for source in node.input]

    def after(self, root: Node) -> set[int]:
        """Return the nodes that carry a root's value to the values it normalises, and the one where they meet."""
        found: set[int] = set()
        tensors = [root.output[0]]
        while tensors:
            tensor = tensors.pop()
            for node in self._readers.get(tensor, []):
                if node.op_type not in _AFTER or id(node) in found:
                    continue
                found.add(id(node))
                alone = all(name == tensor or self._is_constant(name) for name in node.input)
                if alone or node.op_type in _MOVES:
                    tensors.append(node.output[0])
        return found

    def mean_of(self, square: Node) -> set[int]:
        """Return what makes the mean that a node squares, and what carries it on; empty where it squares no mean.

        A variance that is the mean of squares less the square of the mean is the small difference of large numbers.
        """
        node = self._makers.get(square.input[0]) if self._is_square(square) else None
        while node is not None and node.op_type not in _SUMS:
            others = [name for name in node.input if not self._is_constant(name)]
            follows = node.op_type in _MOVES or (node.op_type in ("Mul", "Div") and len(others) == 1)
            node = self._makers.get(others[0]) if follows and others else None
        return set() if node is None else {id(node)} | self.after(node)

    def _is_square(self, node: Node) -> bool:
        if node.op_type == "Mul":
            return bool(node.input[0] == node.input[1])
        return node.op_type in _SQUARES or (node.op_type == "Pow" and self._power(node) == 2)

    def _power(self, node: Node) -> float | None:
        return self._value_of(node.input[1])
