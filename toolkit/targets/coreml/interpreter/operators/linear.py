"""Matrix products."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering


def linear(layer: Layer) -> None:
    """``linear``: x times the transpose of weights [out, in], plus bias [out]."""
    x, weight = layer.tensor("x"), layer.tensor("weight")
    bias = layer.tensor("bias") if layer.has("bias") else None
    if len(layer.type("x").shape) == 2:
        layer.emit("Gemm", x, weight, *([bias] if bias else []), transB=1)
        return
    turned = layer.step("Transpose", weight, perm=[1, 0])
    if bias is None:
        layer.emit("MatMul", x, turned)
        return
    layer.emit("Add", layer.step("MatMul", x, turned), bias)


def matmul(layer: Layer) -> None:
    """``matmul`` with numpy's broadcasting, either side transposed on request."""
    layer.emit("MatMul", _side(layer, "x"), _side(layer, "y"))


def einsum(layer: Layer) -> None:
    """``einsum`` by its equation."""
    names = [layer.graph.tensor(value) for value in layer.values("values")]
    layer.emit("Einsum", *names, equation=layer.word("equation"))


def _side(layer: Layer, key: str) -> str:
    rank = len(layer.type(key).shape)
    if rank < 2 or not layer.flag(f"transpose_{key}", False):
        return layer.tensor(key)
    return layer.step("Transpose", layer.tensor(key), perm=[*range(rank - 2), rank - 1, rank - 2])


LOWERINGS: dict[str, Lowering] = {"einsum": einsum, "linear": linear, "matmul": matmul}
