"""What single layers of a statically quantized graph get in place of the recipe's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.core.layers import Choice
from toolkit.core.recipe import Recipe
from toolkit.targets.onnx import graph, weights
from toolkit.targets.onnx.graph import Model, Node

Settings = dict[str, list[dict[str, Any]]]
"""ONNX Runtime's ``TensorQuantOverrides``: by tensor name, one entry for the tensor or one for each channel."""

PROTECTED = "its weights have 16 bits, since ONNX Runtime makes float ones 8 bits at load"
_PASS_ON = frozenset(
    (
        "Relu",
        "Clip",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "MaxPool",
        "Gather",
        "Identity",
    )
)
"""Operators that ONNX Runtime's optimiser moves a QuantizeLinear or DequantizeLinear across."""


def tensor_overrides(model: Model, recipe: Recipe, choice: Choice) -> Settings:
    """Return the settings of single tensors that follow from a recipe's overrides.

    Grouped transposed convolutions get one scale a tensor: their weights hold no axis of all output channels.
    """
    from onnxruntime.quantization import QuantType

    constants = graph.initializers(model)
    found: Settings = {}
    for node in model.graph.node:
        override = choice.overrides.get(node.name)
        granularity = (override.granularity if override else None) or recipe.granularity
        symmetric = override.symmetric if override and override.symmetric is not None else recipe.symmetric
        if granularity == "channel" and node.op_type == "ConvTranspose" and graph.attribute(node, "group", 1) > 1:
            granularity = "tensor"
        if (granularity, symmetric) == (recipe.granularity, recipe.symmetric):
            continue
        for index, axis in graph.weight_inputs(node, constants).items():
            kind = QuantType.QInt8 if symmetric else QuantType.QUInt8
            entry: dict[str, Any] = {"quant_type": kind, "symmetric": symmetric}
            if granularity == "channel":
                entry["axis"] = axis % len(constants[node.input[index]].dims)
            found[node.input[index]] = [entry]
    return found | _wide_activations(model, choice, constants)


def _wide_activations(model: Model, choice: Choice, constants: Mapping[str, Any]) -> Settings:
    """Give what chosen layers make 16 bits, and their neighbours an 8-bit copy of it."""
    from onnxruntime.quantization import QuantType

    wide = {name for name, override in choice.overrides.items() if override.activation_bits == 16}
    inputs = {value.name for value in model.graph.input} - constants.keys()
    readers: dict[str, set[str]] = {}
    tensors: set[str] = set()
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
        if node.name in wide:
            tensors |= set(node.output) | (inputs & set(node.input))
    found: Settings = {}
    for name in sorted(filter(None, tensors)):
        entry: dict[str, Any] = {"quant_type": QuantType.QUInt16}
        narrow = readers.get(name, set()) - wide
        if narrow:
            entry["convert"] = {"quant_type": QuantType.QUInt8, "recv_nodes": narrow}
        found[name] = [entry]
    return found


def protect_float(model: Model) -> tuple[str, ...]:
    """Give float weights between quantized activations 16-bit integers a channel, in place; return the layers.

    ONNX Runtime's optimiser (``WeightBiasQuantization``, on by default) turns float weights between a DequantizeLinear
    and a QuantizeLinear into 8-bit integers of one scale a tensor, at load, behind the back of who left them in float:
    measured on a depthwise stem that costs 10 dB. It leaves weights alone that are integers already, and with 16 bits
    a channel they differ from float by less than the activations around them are rounded.
    """
    done: list[str] = []
    constants = graph.initializers(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Node]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(model.graph.node):
        if not (_is_widened(node, makers) and _is_rounded(node, readers)):
            continue
        for index, axis in graph.weight_inputs(node, constants).items():
            constant = constants[node.input[index]]
            if constant.data_type != 1 or len(constant.dims) < 2:
                continue
            grid = weights.Grid(16, axis % len(constant.dims), True)
            integers = weights.to_integers(graph.array_of(constant), grid.channel, symmetric=True, bits=16)
            node.input[index] = weights.dequantize(model, constant.name, grid, integers)
            done.append(node.name)
    graph.sort(model)
    graph.drop_unused(model)
    return tuple(dict.fromkeys(done))


def _is_widened(node: Node, makers: Mapping[str, Node]) -> bool:
    """Whether what a node reads was dequantized, at once or before operators that pass it on."""
    source = makers.get(node.input[0]) if node.input else None
    if source is None:
        return False
    return source.op_type == "DequantizeLinear" or (source.op_type in _PASS_ON and _is_widened(source, makers))


def _is_rounded(node: Node, readers: Mapping[str, list[Node]]) -> bool:
    """Whether what a node makes is quantized, at once or behind operators that pass it on."""
    for reader in readers.get(node.output[0], []):
        if reader.op_type == "QuantizeLinear" or (reader.op_type in _PASS_ON and _is_rounded(reader, readers)):
            return True
    return False
