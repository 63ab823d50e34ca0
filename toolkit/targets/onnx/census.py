"""What ONNX Runtime makes of a file at load: the optimised graph, dumped and counted.

Default optimisations fuse and replace operators, and may quantize what the file keeps in float, so what the file says
is not what runs.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import Census
from toolkit.core.errors import ModelError
from toolkit.targets.onnx import graph, runtime
from toolkit.targets.onnx.graph import Model, Node

DYNAMIC = frozenset(
    ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM")
)
INTEGER_WEIGHTED = frozenset(("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"))
"""Operators of an optimised graph whose weights are 8-bit integers."""

_ROUND, _WIDEN = "QuantizeLinear", "DequantizeLinear"
_PLUMBING = frozenset((_ROUND, _WIDEN, "DynamicQuantizeLinear", "Constant", "Cast", "ReorderInput", "ReorderOutput"))
_INTEGER, _FLOAT, _OTHER = "integer", "float", "other"
_MAKES_NUMBERS = frozenset(("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression", "Equal", "Less"))


def take(model: Path) -> tuple[Census, Model]:
    """Load a file with default optimisations and count what came out; return the optimised graph too."""
    with tempfile.TemporaryDirectory(prefix="palmtop-") as folder:
        dumped = Path(folder) / "optimised.onnx"
        runtime.dump(model, dumped)
        optimised = graph.read_unchecked(dumped)
    return count(optimised), optimised


def count(optimised: Model) -> Census:
    """Count an optimised graph."""
    kinds = _kinds(optimised)
    words = [word for node in optimised.graph.node if (word := _computes_in(node, kinds))]
    tensors: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for word, size in _weights(optimised):
        tensors[word] += 1
        sizes[word] += size
    return Census(
        runtime=f"onnxruntime {runtime.load_library().__version__}",
        weight_tensors=dict(sorted(tensors.items())),
        weight_bytes=dict(sorted(sizes.items())),
        layers=dict(sorted(Counter(words).items())),
        islands=_islands(optimised, kinds),
    )


def check(written: Model, optimised: Model, floats: Iterable[str]) -> None:
    """Hold what runs against what was written.

    Raises:
        ModelError: a layer that stays float runs on integers, or a product in blocks is none any more.
    """
    kept = set(floats)
    for node in optimised.graph.node:
        if node.op_type in INTEGER_WEIGHTED and node.name in kept:
            raise ModelError(
                f"ONNX Runtime turns the layer {node.name!r}, which stays float, into a {node.op_type} at load.",
                hint="Keep its neighbours in float too.",
            )
    blocked, left = (sum(n.op_type == "MatMulNBits" for n in model.graph.node) for model in (written, optimised))
    if left < blocked:
        raise ModelError(f"Of {blocked} matrix products in blocks ONNX Runtime executes {left} as such.")


def _weights(optimised: Model) -> Iterable[tuple[str, int]]:
    """Yield word and bytes of each weight; signed and unsigned are one, as ONNX Runtime turns them into each other."""
    from onnx import TensorProto, helper

    packed = {
        node.input[1]: f"int{graph.attribute(node, 'bits', 4)}"
        for node in optimised.graph.node
        if node.op_type == "MatMulNBits"
    }
    for init in optimised.graph.initializer:
        values = 1
        for size in init.dims:
            values *= size
        if len(init.dims) < 2 or values < 2 or init.data_type in (TensorProto.INT64, TensorProto.BOOL):
            continue
        word = packed.get(init.name) or str(helper.tensor_dtype_to_np_dtype(init.data_type)).removeprefix("u")
        bits = 4 if init.data_type in (TensorProto.INT4, TensorProto.UINT4) else 8 * _item_bytes(init.data_type)
        yield word, -(-values * bits // 8)


def _item_bytes(data_type: int) -> int:
    from onnx import helper

    return int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _kinds(optimised: Model) -> dict[str, str]:
    """Say of each tensor whether it holds integers that stand for floats, floats, or other numbers."""
    from onnx import TensorProto

    elements = {value.name: value.type.tensor_type.elem_type for value in optimised.graph.input}
    kinds = {
        name: _FLOAT if element in (TensorProto.FLOAT, TensorProto.FLOAT16) else _OTHER
        for name, element in elements.items()
    }
    kinds |= {name: _INTEGER for name, element in elements.items() if element in (TensorProto.UINT8, TensorProto.INT8)}
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16)
    constants = {init.name: init.data_type in floats for init in optimised.graph.initializer}
    for node in optimised.graph.node:
        kind = _made_by(node, kinds, constants)
        kinds |= dict.fromkeys(filter(None, node.output), kind)
    return kinds


def _made_by(node: Node, kinds: Mapping[str, str], constants: Mapping[str, bool]) -> str:
    fed = [kinds[name] for name in node.input if name in kinds]
    operator = str(node.op_type)
    if operator in _MAKES_NUMBERS:
        return _OTHER
    if operator == _ROUND or operator.startswith("QLinear"):
        return _INTEGER
    if operator == "QGemm":  # without a scale of the output it gives floats
        return _INTEGER if len(node.input) > 7 and node.input[7] else _FLOAT
    if operator == "Cast":
        return _FLOAT if graph.attribute(node, "to", 1) in (1, 10) else _OTHER
    if operator == _WIDEN or operator in DYNAMIC:
        return _FLOAT
    if operator == "Gather" and node.input[0] in constants:
        return _FLOAT if constants[node.input[0]] else _INTEGER
    if not fed:
        return _OTHER
    return _INTEGER if fed[0] == _INTEGER else _FLOAT if _FLOAT in fed else fed[0]


def _computes_in(node: Node, kinds: Mapping[str, str]) -> str:
    if node.op_type in _PLUMBING:
        return ""
    if node.op_type in DYNAMIC:
        return "dynamic"
    touched = {kinds[name] for name in (*node.input, *node.output) if name in kinds}
    if _INTEGER in touched or node.op_type == "QGemm":
        return _INTEGER
    return _FLOAT if _FLOAT in touched else ""


def _islands(optimised: Model, kinds: Mapping[str, str]) -> int:
    """Count the connected groups of float operators that read what was dequantized and make what is quantized."""
    widened = {node.output[0] for node in optimised.graph.node if node.op_type == _WIDEN and node.input[0] in kinds}
    rounded = {node.input[0] for node in optimised.graph.node if node.op_type == _ROUND}
    groups = _Groups()
    for position, node in enumerate(optimised.graph.node):
        bridge = node.op_type in ("ReorderInput", "ReorderOutput")
        if bridge or _computes_in(node, kinds) in (_FLOAT, "dynamic"):
            for name in (*node.input, *node.output):
                if kinds.get(name) == _FLOAT and name not in widened:
                    groups.join(position, name)
                if name in widened:
                    groups.mark(position, "read")
            if any(name in rounded for name in node.output):
                groups.mark(position, "made")
    return groups.marked(("read", "made"))


class _Groups:
    """Disjoint sets of nodes and tensors, each with marks."""

    def __init__(self) -> None:
        self._parents: dict[Any, Any] = {}
        self._marks: list[tuple[Any, str]] = []

    def join(self, one: Any, other: Any) -> None:
        self._parents[self._root(one)] = self._root(other)

    def mark(self, one: Any, word: str) -> None:
        self._marks.append((one, word))

    def marked(self, words: tuple[str, ...]) -> int:
        """Return how many sets bear every one of the words."""
        found: dict[Any, set[str]] = {}
        for one, word in self._marks:
            found.setdefault(self._root(one), set()).add(word)
        return sum(set(words) <= marks for marks in found.values())

    def _root(self, one: Any) -> Any:
        self._parents.setdefault(one, one)
        while self._parents[one] != one:
            one = self._parents[one]
        return one
