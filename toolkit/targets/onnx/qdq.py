"""Static quantization, activations in 8 or 16 bits: ONNX Runtime's QDQ quantizer, with our ranges.

Activations are unsigned and asymmetric, weights signed: the pair ONNX Runtime has its fastest kernels for on x86, and
ARM has full-speed kernels for both signs. Softmax and normalisations stay float, because eight bits of their outputs
can ruin a model that is otherwise fine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core import gelu, logarithm, normalization
from toolkit.core.artifacts import Range
from toolkit.core.errors import ModelError
from toolkit.core.layers import Choice
from toolkit.core.recipe import Recipe
from toolkit.targets.onnx import graph, runtime
from toolkit.targets.onnx.exceptions import tensor_overrides
from toolkit.targets.onnx.graph import Model, Node, TensorType

INTEGER_OPERATORS = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Split", "Reshape", "Flatten", "Squeeze"),
        *("Unsqueeze", "Transpose", "Slice", "Pad", "Resize", "Gather"),
    }
)
"""Operators that ONNX Runtime computes in integers, or that only move values."""

GELU = "it is part of a GELU, which ONNX Runtime computes in float as one operator"
NORM = "it is part of a normalisation written out as arithmetic, which 8 bits ruin"
TOO_COARSE = frozenset(
    ("Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization")
)
"""Operators that stay float although integers could be had: eight bits of their outputs can ruin a model."""

_MARK = ("onnx.infer", "onnxruntime.quant")


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of the nodes to quantize, and of those left out with the reason."""

    quantize: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A recipe with 8-bit weights and static activations, what it says of single layers, and ranges by tensor name."""

    recipe: Recipe
    choice: Choice
    ranges: Mapping[str, Range]


def plan(model: Model, types: Mapping[str, TensorType], order: Order) -> Plan:
    """Choose the nodes that can be quantized: known operators whose float tensors were all seen in calibration.

    What the recipe keeps in float is left out.
    """
    constants = graph.initializers(model)
    shared = graph.captured(model.graph.node)
    chosen = []
    left_out = dict.fromkeys(_norm_nodes(model, constants), NORM)
    left_out |= dict.fromkeys(_gelu_nodes(model, constants, shared), GELU)
    left_out |= dict.fromkeys(_log_nodes(model, order), logarithm.REASON.format(bits=order.recipe.activation_bits))
    left_out |= {layer: f"the recipe keeps it: {pattern}" for layer, pattern in order.choice.floats.items()}
    for node in model.graph.node:
        if node.name in left_out:
            continue
        if node.op_type not in INTEGER_OPERATORS or node.domain not in ("", "ai.onnx"):
            continue
        reason = _obstacle(node, constants, shared)
        unseen = [
            name
            for name in (*node.input, *node.output)
            if name in types and types[name].dtype == "float32" and name not in order.ranges and name not in constants
        ]
        if unseen:
            reason = f"calibration never saw its tensor {unseen[0]!r}"
        if reason:
            left_out[node.name] = reason
        else:
            chosen.append(node.name)
    return Plan(tuple(chosen), left_out)


def _gelu_nodes(model: Model, constants: Mapping[str, Any], shared: set[str]) -> list[str]:
    shown = shared | {value.name for value in model.graph.output}
    found = gelu.find(model.graph.node, _value_in(constants), shown)
    return [node.name for one in found for node in one.nodes]


def _norm_nodes(model: Model, constants: Mapping[str, Any]) -> list[str]:
    nodes = normalization.find(model.graph.node, constants.__contains__, _value_in(constants))
    return [node.name for node in nodes if node.op_type in INTEGER_OPERATORS]


def _log_nodes(model: Model, order: Order) -> list[str]:
    def too_wide(name: str) -> bool:
        seen = order.ranges.get(name)
        return seen is not None and logarithm.is_too_wide(seen, order.recipe.activation_bits)

    nodes = logarithm.find(model.graph.node, too_wide)
    own = order.choice.overrides
    return [node.name for node in nodes if node.op_type in INTEGER_OPERATORS and node.name not in own]


def _value_in(constants: Mapping[str, Any]) -> gelu.ValueOf:
    def value_of(name: str) -> float | None:
        values = graph.array_of(constants[name]) if name in constants else np.empty(0)
        return float(values.reshape(-1)[0]) if values.size == 1 else None

    return value_of


def _obstacle(node: Node, constants: Mapping[str, Any], shared: set[str]) -> str:
    """Say why ONNX Runtime's quantizer must not touch a node, in a few words; empty when it may."""
    if node.op_type in ("Relu", "Clip") and shared & {node.input[0], node.output[0]}:
        # quantized ranges replace it, but not for what the inner graph reads
        return "its tensors are also read inside the body of an If, Loop or Scan"
    if node.op_type == "Clip":
        lowest, highest = [*node.input[1:], "", ""][:2]
        if not {lowest, highest} <= {"", *constants}:
            return "its bounds are computed at run time"
        low = graph.array_of(constants[lowest]) if lowest else -np.inf
        high = graph.array_of(constants[highest]) if highest else np.inf
        if low > 0 or high < 0:
            return "its interval does not hold zero, so the quantized range cannot stand for it"
    return ""


def quantize(model: Model, order: Order, types: Mapping[str, TensorType]) -> Plan:
    """Quantize a prepared model in place.

    Args:
        model: as :func:`toolkit.targets.onnx.graph.prepare` leaves it.
        order: what to do.
        types: by tensor name, from ONNX Runtime.

    Raises:
        ModelError: nothing can be quantized, or ONNX Runtime's quantizer fails on the model.
    """
    chosen = plan(model, types, order)
    if not chosen.quantize:
        raise ModelError(
            "No operator of this model can be quantized for ONNX Runtime.",
            hint="; ".join(f"{layer}: {why}" for layer, why in list(chosen.left_out.items())[:3])
            or "It holds no convolution, matrix product or other operator with an integer kernel.",
        )
    known = graph.names(model)
    graph.declare(model, types)
    mark = model.metadata_props.add()
    mark.key, mark.value = _MARK
    quantizer = _quantizer(model, order, chosen)
    try:
        quantizer.quantize_model()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError) as error:
        node = quantizer.current
        where = f"{node.op_type} {node.name!r}" if node is not None else "the model"
        raise ModelError(
            f"ONNX Runtime's quantizer failed at {where}: {runtime.one_line(error)}",
            hint="Other recipes, such as weight-int8, may work on this model.",
        ) from error
    made = quantizer.model.model
    _shorten(made, known)
    kept = [item for item in made.metadata_props if (item.key, item.value) != _MARK]
    del made.metadata_props[:]
    made.metadata_props.extend(kept)
    del made.graph.value_info[:]
    model.CopyFrom(made)
    graph.sort(model)
    graph.drop_unused(model)
    return chosen


def partners(model: Model) -> dict[str, str]:
    """Map float tensors of a quantized model to their names in the float model where these differ.

    A pair of QuantizeLinear and DequantizeLinear stands for the tensor that goes in, and its values are those that
    come out; an output of the model keeps its name behind the pair. Nothing, an empty name, is the partner of weights
    and of a tensor whose name stands for the values behind its pair.
    """
    constants = graph.initializers(model)
    outputs = {output.name for output in model.graph.output}
    rounded = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    found = {name: "" for node in model.graph.node for name in node.output if graph.OWN in name}
    taken: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in constants:
            found[node.output[0]] = ""
        if node.op_type != "DequantizeLinear":
            continue
        source, made = node.input[0], node.output[0]
        if source in constants:
            found[made] = ""
        elif source in rounded:
            origin = rounded[source]
            own = made in outputs
            found[made] = made if own else "" if origin in taken else origin
            found[origin] = ""
            taken.add(origin)
    return found


def _quantizer(model: Model, order: Order, chosen: Plan) -> Any:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    class Traced(QDQQuantizer):  # type: ignore[misc]
        """Remembers the node it works on, for the error message."""

        current: Node = None

        def should_quantize_node(self, node: Node) -> bool:
            wanted = bool(super().should_quantize_node(node))
            self.current = node if wanted else self.current
            return wanted

    recipe, ranges = order.recipe, order.ranges
    limits = {name: (np.array(seen.low, np.float32), np.array(seen.high, np.float32)) for name, seen in ranges.items()}
    return Traced(
        model,
        per_channel=recipe.granularity == "channel",
        reduce_range=False,
        weight_qType=QuantType.QInt8 if recipe.symmetric else QuantType.QUInt8,
        activation_qType=QuantType.QUInt8 if recipe.activation_bits == 8 else QuantType.QUInt16,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=list(chosen.quantize),
        nodes_to_exclude=list(chosen.left_out),
        op_types_to_quantize=sorted(INTEGER_OPERATORS),
        extra_options={
            "WeightSymmetric": recipe.symmetric,
            "ActivationSymmetric": False,
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": -1},
            "TensorQuantOverrides": tensor_overrides(model, recipe, order.choice),
        },
    )


def _shorten(model: Model, known: set[str]) -> None:
    """Give what the quantizer added short names: in a small model its long ones outweigh the weights."""
    mapping: dict[str, str] = {}
    for name in sorted(graph.names(model) - known):
        mapping[name] = next(short for short in _short_names(len(mapping)) if short not in known)
    graph.rename(model, mapping)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.ClearField("name")


def _short_names(index: int) -> Iterator[str]:
    yield f"q{index}"
    yield from (f"q{index}_{number}" for number in itertools.count())
