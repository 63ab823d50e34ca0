"""GELU as exporters write it, ``0.5 x (1 + erf(x / sqrt 2))`` (Hendrycks and Gimpel, 2016), found in a graph.

The five nodes have three usual orders; whoever finds them can treat them as the one operator that they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

Node = Any
"""An operator with ``op_type`` and lists of tensor names ``input`` and ``output``, such as an ``onnx.NodeProto``."""
ValueOf = Callable[[str], float | None]
"""The value of a constant of one element, by name; None for every other tensor."""

_CLOSE = 1e-3


@dataclass(frozen=True, slots=True)
class Gelu:
    """The nodes that make ``output`` of ``source`` and that nothing else reads from, the last one last."""

    source: str
    output: str
    nodes: tuple[Node, ...]


def find(nodes: Sequence[Node], value_of: ValueOf, shown: AbstractSet[str]) -> Iterator[Gelu]:
    """Yield each GELU among nodes whose inner tensors nothing else reads and that are not among the ``shown``."""
    web = _Web(nodes, value_of, shown)
    for node in nodes:
        found = web.gelu(node) if node.op_type == "Erf" else None
        if found is not None:
            yield found


class _Web:
    """Who makes and who reads each tensor."""

    def __init__(self, nodes: Sequence[Node], value_of: ValueOf, shown: AbstractSet[str]) -> None:
        self._value_of = value_of
        self._shown = shown
        self._makers = {name: node for node in nodes for name in node.output}
        self._readers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def gelu(self, erf: Node) -> Gelu | None:
        scaled = self._makers.get(erf.input[0])
        if scaled is None or scaled.op_type not in ("Div", "Mul"):
            return None
        factor = math.sqrt(2) if scaled.op_type == "Div" else math.sqrt(0.5)
        source = self._beside(scaled, factor, ordered=scaled.op_type == "Div")
        raised = self._only_reader(erf.output[0])
        if source is None or raised is None or raised.op_type != "Add" or self._beside(raised, 1.0) is None:
            return None
        products = self._products(raised.output[0], source)
        if products is None or self._only_reader(scaled.output[0]) is not erf:
            return None
        nodes = (scaled, erf, raised, *products)
        return Gelu(source, nodes[-1].output[0], nodes)

    def _products(self, tensor: str, source: str) -> tuple[Node, ...] | None:
        """Follow the product of a tensor with the source and a half, in any order."""
        left = {"source", "half"}
        nodes: list[Node] = []
        while left:
            node = self._only_reader(tensor)
            if node is None or node.op_type != "Mul":
                return None
            other = node.input[1] if node.input[0] == tensor else node.input[0]
            factors, inner = self._factors(other, source)
            if not factors or not factors <= left:
                return None
            left -= factors
            nodes += [*inner, node]
            tensor = node.output[0]
        return tuple(nodes)

    def _factors(self, tensor: str, source: str) -> tuple[set[str], list[Node]]:
        if tensor == source:
            return {"source"}, []
        if self._is(tensor, 0.5):
            return {"half"}, []
        maker = self._makers.get(tensor)
        halved = maker is not None and maker.op_type == "Mul" and self._beside(maker, 0.5) == source
        if maker is not None and halved and len(self._readers.get(tensor, [])) == 1 and tensor not in self._shown:
            return {"source", "half"}, [maker]
        return set(), []

    def _beside(self, node: Node, value: float, *, ordered: bool = False) -> str | None:
        """Return the operand of a node whose other operand is a constant of one value."""
        first, second = node.input
        if self._is(second, value):
            return str(first)
        return str(second) if not ordered and self._is(first, value) else None

    def _is(self, name: str, value: float) -> bool:
        found = self._value_of(name)
        return found is not None and abs(found - value) < _CLOSE

    def _only_reader(self, tensor: str) -> Node | None:
        readers = self._readers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self._shown else None
