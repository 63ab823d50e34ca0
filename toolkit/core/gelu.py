"""GELU as exporters write it, ``0.5 x (1 + erf(x / sqrt 2))`` (Hendrycks and Gimpel, 2016), found in a graph.

The five nodes have three usual orders; whoever finds them can treat them as the one operator that they are. So it is
with the paper's approximation by a tanh, ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``, in any order.
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
_PROBES = (-2.5, -0.7, 0.3, 1.1, 3.0)
_MOST_NODES = 12


@dataclass(frozen=True, slots=True)
class Gelu:
    """The nodes that make ``output`` of ``source`` and that nothing else reads from, the last one last.

    ``approximate`` is the form with a tanh.
    """

    source: str
    output: str
    nodes: tuple[Node, ...]
    approximate: bool = False


def find(nodes: Sequence[Node], value_of: ValueOf, shown: AbstractSet[str]) -> Iterator[Gelu]:
    """Yield each GELU among nodes whose inner tensors nothing else reads and that are not among the ``shown``."""
    web = _Web(nodes, value_of, shown)
    for node in nodes:
        search = {"Erf": web.gelu, "Tanh": web.tanh_gelu}.get(node.op_type)
        found = search(node) if search is not None else None
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

    def tanh_gelu(self, tanh: Node) -> Gelu | None:
        """Collect what lies around a tanh, and compute it for a few numbers, which tells the GELU apart."""
        scaled = self._makers.get(tanh.input[0])
        inputs = scaled.input if scaled is not None else ()
        raised = next((self._makers.get(name) for name in inputs if self._value_of(name) is None), None)
        if raised is None or raised.op_type != "Add":
            return None
        for source in raised.input:
            inner = self._between(source, tanh.input[0])
            found = self._with_products(source, [*inner, tanh]) if inner else None
            if found is not None:
                return found
        return None

    def _with_products(self, source: str, nodes: list[Node]) -> Gelu | None:
        """Follow the only readers behind a tanh until what they compute is a GELU of the source."""
        while len(nodes) < _MOST_NODES:
            tensor = nodes[-1].output[0]
            node = self._only_reader(tensor)
            if node is None or node.op_type not in ("Add", "Mul"):
                return None
            beside = [self._between(source, name) for name in node.input if name != tensor]
            if any(part is None for part in beside):
                return None
            nodes = [*nodes, *(inner for part in beside for inner in part or ()), node]
            if all(abs(self._computed(node.output[0], source, x) - _tanh_gelu(x)) < _CLOSE for x in _PROBES):
                return self._closed(Gelu(source, node.output[0], tuple(nodes), approximate=True))
        return None

    def _closed(self, found: Gelu) -> Gelu | None:
        """Return it if nothing else reads its inner tensors."""
        own = {id(node) for node in found.nodes}
        inner = [name for node in found.nodes[:-1] for name in node.output]
        alone = all(id(reader) in own for name in inner for reader in self._readers.get(name, []))
        return found if alone and not self._shown & set(inner) else None

    def _between(self, source: str, tensor: str) -> list[Node] | None:
        """Return the few nodes of arithmetic from a source and constants to a tensor; None where more is needed."""
        nodes: dict[int, Node] = {}
        stack = [tensor]
        while stack:
            name = stack.pop()
            if name == source or self._value_of(name) is not None:
                continue
            node = self._makers.get(name)
            if node is None or node.op_type not in ("Mul", "Add", "Pow") or len(nodes) > _MOST_NODES:
                return None
            nodes[id(node)] = node
            stack += node.input
        return list(nodes.values())[::-1]

    def _computed(self, tensor: str, source: str, x: float) -> float:
        """Compute a tensor of what :meth:`_between` and :meth:`_with_products` went over, for one number."""
        if tensor == source:
            return x
        constant = self._value_of(tensor)
        if constant is not None:
            return constant
        node = self._makers[tensor]
        first, *others = (self._computed(name, source, x) for name in node.input)
        if node.op_type == "Tanh":
            return math.tanh(first)
        if node.op_type == "Pow":
            return float(first ** int(others[0]))
        return first + others[0] if node.op_type == "Add" else first * others[0]

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


def _tanh_gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
