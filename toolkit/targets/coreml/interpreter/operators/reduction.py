"""Reductions over axes, and searches along one."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, computed_dtype, onnx_type


def _reduce(operator: str) -> Lowering:
    def lowering(layer: Layer) -> None:
        axes = layer.integers("axes", range(len(layer.type("x").shape)))
        keep = int(layer.flag("keep_dims", False))
        layer.emit(operator, layer.tensor("x"), layer.ints(axes), keepdims=keep, noop_with_empty_axes=1)

    return lowering


def _search(operator: str) -> Lowering:
    def lowering(layer: Layer) -> None:
        keep = int(layer.flag("keep_dims", False))
        found = layer.step(operator, layer.tensor("x"), axis=layer.integer("axis", -1), keepdims=keep)
        layer.emit("Cast", found, to=onnx_type(computed_dtype(layer.output.dtype)))

    return lowering


def topk(layer: Layer) -> None:
    """``topk``: the k largest (smallest when ``ascending``) and where they are."""
    graph, outputs = layer.graph, layer.operation.outputs
    places = _sort(layer, layer.integer("k", 1), graph.name_of(outputs[0]))
    if len(outputs) > 1:
        graph.add("Cast", [places], [graph.name_of(outputs[1])], to=onnx_type(computed_dtype(outputs[1].type.dtype)))


def argsort(layer: Layer) -> None:
    """``argsort``: the order of the elements along an axis, largest first unless ``ascending``."""
    count = layer.type("x").shape[layer.integer("axis", -1)]
    layer.emit("Cast", _sort(layer, count, layer.graph.fresh(layer.operation.name)), to=onnx_type("int32"))


def cumsum(layer: Layer) -> None:
    """``cumsum`` along an axis."""
    layer.emit(
        "CumSum",
        layer.tensor("x"),
        layer.ints(layer.integer("axis", 0)),
        exclusive=int(layer.flag("exclusive", False)),
        reverse=int(layer.flag("reverse", False)),
    )


def _sort(layer: Layer, count: int, values: str) -> str:
    """Add the node that sorts into ``values`` and return the name of the places they were at."""
    places = layer.graph.fresh(layer.operation.name)
    layer.graph.add(
        "TopK",
        [layer.tensor("x"), layer.ints([count])],
        [values, places],
        axis=layer.integer("axis", -1),
        largest=int(not layer.flag("ascending", False)),
        sorted=1,
    )
    return places


LOWERINGS: dict[str, Lowering] = {
    "argsort": argsort,
    "cumsum": cumsum,
    "reduce_argmax": _search("ArgMax"),
    "reduce_argmin": _search("ArgMin"),
    "reduce_l1_norm": _reduce("ReduceL1"),
    "reduce_l2_norm": _reduce("ReduceL2"),
    "reduce_log_sum": _reduce("ReduceLogSum"),
    "reduce_log_sum_exp": _reduce("ReduceLogSumExp"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_mean": _reduce("ReduceMean"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_prod": _reduce("ReduceProd"),
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_sum_square": _reduce("ReduceSumSquare"),
    "topk": topk,
}
