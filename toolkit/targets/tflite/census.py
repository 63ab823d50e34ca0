"""Who computes in what: the precision of each operator of a TFLite graph, and what a recipe left in float."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from toolkit.core.artifacts import Census, KeptFloat, LayerFact
from toolkit.core.layers import Choice
from toolkit.core.recipe import Recipe
from toolkit.targets.tflite.flatbuffer import Graph, Operator, read_all
from toolkit.targets.tflite.session import partitions

_WEIGHTED = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "FULLY_CONNECTED",
    "BATCH_MATMUL", "EMBEDDING_LOOKUP", "GATHER", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
)  # fmt: skip
_BORDERS = ("QUANTIZE", "DEQUANTIZE")
_NUMBERS = ("float32", "float16", "int16", "int8", "uint8", "int4", "int2")
_FLOATS = ("float32", "float16")
_INTEGERS = ("int16", "int8", "uint8", "int4", "int2")


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


def kept_float(graph: Graph, recipe: Recipe, choice: Choice, wide: Mapping[str, str]) -> tuple[KeptFloat, ...]:
    """Return what a quantized build still holds or computes in float, in the order of execution, and why.

    ``wide`` gives the reason for layers that are among the choice's floats though no pattern says so.

    With static activations any operator on float values counts. So does one that has 8-bit weights where the recipe
    asks for 4.
    """
    unpacked = _unpacked(graph)
    kept = []
    for operator in graph.operators:
        if operator.kind in _BORDERS or not operator.outputs:
            continue
        name = graph.tensors[operator.outputs[0]].name
        if name in wide:
            reason = wide[name]
        elif name in choice.floats:
            reason = f"the recipe keeps it: {choice.floats[name]}"
        else:
            override = choice.overrides.get(name)
            bits = (override.weight_bits if override else None) or recipe.weight_bits
            reason = _reason(graph, operator, unpacked, (bits, recipe.needs_data))
        if reason:
            kept.append(KeptFloat(layer=name, reason=reason))
    return tuple(kept)


def _reason(graph: Graph, operator: Operator, unpacked: dict[int, int], wanted: tuple[int, bool]) -> str:
    bits, static = wanted
    weights = _weights(graph, operator, unpacked) if operator.kind in _WEIGHTED else None
    dtype = graph.tensors[weights].dtype if weights is not None else ""
    if dtype == "float32" or (dtype == "float16" and bits != 16):
        words = f"float{bits}" if bits == 16 else f"{bits}-bit"
        return f"litert-quantizer has no {words} weights for this {operator.kind}"
    if bits == 4 and dtype == "int8":
        return f"LiteRT has no 4-bit {operator.kind}: its weights have 8 bits"
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


def take(model: Path) -> Census:
    """Count a build as LiteRT executes it: with XNNPACK, its default delegate, where that takes over."""
    graphs = read_all(model)
    tensors: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for graph in graphs:
        unpacked = _unpacked(graph)
        seen: set[int] = set()
        for operator in graph.operators:
            words.update(filter(None, [_computes_in(graph, operator, unpacked)]))
            index = _weights(graph, operator, unpacked) if operator.kind in _WEIGHTED else None
            if index is not None and index not in seen:
                seen.add(index)
                tensors[graph.tensors[index].dtype] += 1
                sizes[graph.tensors[index].dtype] += graph.tensors[index].constant_bytes
    return Census(
        runtime=f"LiteRT {importlib.metadata.version('ai-edge-litert')}, XNNPACK",
        weight_tensors=dict(sorted(tensors.items())),
        weight_bytes=dict(sorted(sizes.items())),
        layers=dict(sorted(words.items())),
        islands=sum(_islands(graph) for graph in graphs),
        partitions=partitions(model),
    )


def _computes_in(graph: Graph, operator: Operator, unpacked: dict[int, int]) -> str:
    if operator.kind in _BORDERS:
        return ""
    dtype = _activation_dtype(graph, operator)
    if dtype in _FLOATS:
        weights = _weights(graph, operator, {}) if operator.kind in _WEIGHTED else None
        return "dynamic" if weights is not None and graph.tensors[weights].dtype in _INTEGERS else "float"
    return "integer" if dtype in _INTEGERS else ""


def _islands(graph: Graph) -> int:
    """Count the connected groups of float operators between a DEQUANTIZE and a QUANTIZE of activations."""
    groups: list[tuple[set[int], set[str]]] = []
    quantized = {op.inputs[0] for op in graph.operators if op.kind == "QUANTIZE"}
    widened = {
        op.outputs[0] for op in graph.operators if op.kind == "DEQUANTIZE" and not graph.is_constant(op.inputs[0])
    }
    for operator in graph.operators:
        if operator.kind in _BORDERS or _activation_dtype(graph, operator) not in _FLOATS:
            continue
        touched = {index for index in (*operator.inputs, *operator.outputs) if index >= 0}
        marks = {"read"} if touched & widened else set()
        marks |= {"made"} if set(operator.outputs) & quantized else set()
        own = touched - widened - {index for index in touched if graph.is_constant(index)}
        joined = [group for group in groups if group[0] & own]
        groups = [group for group in groups if not group[0] & own]
        groups.append((own.union(*(group[0] for group in joined)), marks.union(*(group[1] for group in joined))))
    return sum(marks == {"read", "made"} for _, marks in groups)
