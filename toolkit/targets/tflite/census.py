"""Who computes in what: the precision of each operator of a TFLite graph, and what a recipe left in float."""

from __future__ import annotations

from toolkit.core.artifacts import KeptFloat, LayerFact
from toolkit.targets.tflite.flatbuffer import Graph, Operator

_WEIGHTED = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "FULLY_CONNECTED",
    "BATCH_MATMUL", "EMBEDDING_LOOKUP", "GATHER", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
)  # fmt: skip
_BORDERS = ("QUANTIZE", "DEQUANTIZE")
_NUMBERS = ("float32", "float16", "int16", "int8", "uint8", "int4", "int2")
_FLOATS = ("float32", "float16")


def layers(graph: Graph) -> tuple[LayerFact, ...]:
    """Return one fact per operator; a DEQUANTIZE of constant weights counts as part of the operator it feeds."""
    unpacked = _unpacked(graph)
    folded = set(unpacked)
    facts = []
    counted: set[int] = set()
    for operator in graph.operators:
        if operator.kind == "DEQUANTIZE" and operator.outputs[0] in folded:
            continue
        constants = [unpacked.get(i, i) for i in operator.inputs if graph.is_constant(unpacked.get(i, i))]
        fresh = [i for i in dict.fromkeys(constants) if i not in counted]
        counted.update(fresh)
        weights = _weights(graph, operator, unpacked)
        facts.append(
            LayerFact(
                name=graph.tensors[operator.outputs[0]].name if operator.outputs else operator.kind,
                operator=operator.kind,
                weight_dtype="" if weights is None else graph.tensors[weights].dtype,
                activation_dtype=_activation_dtype(graph, operator),
                weight_bytes=sum(graph.tensors[i].constant_bytes for i in fresh),
                outputs=tuple(graph.tensors[i].name for i in operator.outputs if i >= 0),
            )
        )
    return tuple(facts)


def weighted(graph: Graph) -> tuple[Operator, ...]:
    """Return the operators whose weights a recipe would quantize."""
    unpacked = _unpacked(graph)
    return tuple(
        operator
        for operator in graph.operators
        if operator.kind in _WEIGHTED and _weights(graph, operator, unpacked) is not None
    )


def kept_float(graph: Graph, *, static: bool) -> tuple[KeptFloat, ...]:
    """Return what a quantized build still holds or computes in float, in the order of execution.

    Args:
        graph: the build.
        static: whether activations should be integers too, so that any operator on float values counts.
    """
    unpacked = _unpacked(graph)
    kept = []
    for operator in graph.operators:
        reason = _reason(graph, operator, unpacked, static=static)
        if reason:
            kept.append(KeptFloat(layer=graph.tensors[operator.outputs[0]].name, reason=reason))
    return tuple(kept)


def _reason(graph: Graph, operator: Operator, unpacked: dict[int, int], *, static: bool) -> str:
    if operator.kind in _BORDERS or not operator.outputs:
        return ""
    weights = _weights(graph, operator, unpacked) if operator.kind in _WEIGHTED else None
    if weights is not None and graph.tensors[weights].dtype in _FLOATS:
        return f"litert-quantizer leaves the weights of this {operator.kind} in float"
    if static and _activation_dtype(graph, operator) in _FLOATS:
        return f"litert-quantizer has no INT8 form of {operator.kind} here, so it computes in float"
    return ""


def _unpacked(graph: Graph) -> dict[int, int]:
    """Map the output of each DEQUANTIZE of a constant to that constant."""
    return {
        operator.outputs[0]: operator.inputs[0]
        for operator in graph.operators
        if operator.kind == "DEQUANTIZE" and graph.is_constant(operator.inputs[0])
    }


def _weights(graph: Graph, operator: Operator, unpacked: dict[int, int]) -> int | None:
    """Return the largest constant operand of numbers with two axes or more; biases and shapes have fewer."""
    operands = [unpacked.get(index, index) for index in operator.inputs]
    candidates = [
        index
        for index in operands
        if graph.is_constant(index) and graph.tensors[index].dtype in _NUMBERS and len(graph.tensors[index].shape) >= 2
    ]
    return max(candidates, key=lambda index: graph.tensors[index].constant_bytes, default=None)


def _activation_dtype(graph: Graph, operator: Operator) -> str:
    """Return the dtype an operator works in: that of its first output, or of its first operand for a QUANTIZE."""
    index = operator.inputs[0] if operator.kind == "QUANTIZE" and operator.inputs else None
    if index is None:
        index = operator.outputs[0] if operator.outputs else -1
    return graph.tensors[index].dtype if index >= 0 else ""
