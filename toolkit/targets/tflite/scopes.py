"""A recipe in the words of litert-quantizer: entries of scope, operator and configuration, the last valid one wins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from toolkit.core.layers import Choice, Layer, choose
from toolkit.core.recipe import Override, Recipe
from toolkit.targets.tflite.census import weighted
from toolkit.targets.tflite.flatbuffer import Graph, Operator

EVERYWHERE = ".*"
FOUR_BITS = {"static": ("CONV_2D", "FULLY_CONNECTED"), "none": ("CONV_2D", "FULLY_CONNECTED", "EMBEDDING_LOOKUP")}
"""Operators that litert-quantizer gives 4-bit weights, by activation mode; the others get 8 bits."""
FOUR_BITS["dynamic"] = FOUR_BITS["none"]
HALF_FLOATS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "EMBEDDING_LOOKUP")
"""Operators that may have float16 weights, by litert-quantizer's names."""
BLOCKS = ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")
"""Operators that may have a scale for each block of 4-bit weights, activations dynamic."""
MOST_BLOCK = 256
LEAST_BLOCK = 32

_LONGEST_SCOPE = 10_000
_WORDS = {"DEPTHWISE_CONV_2D": ("depthwise",), "EMBEDDING_LOOKUP": ("embedding",)}


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """Return a graph's operators as a recipe's patterns see them; names are those of their first outputs."""
    with_weights = {operator.outputs[0] for operator in weighted(graph) if operator.outputs}
    return tuple(
        Layer(
            name=graph.tensors[operator.outputs[0]].name,
            operator=operator.kind,
            weighted=operator.outputs[0] in with_weights,
            words=_WORDS.get(operator.kind, ()),
        )
        for operator in graph.operators
        if operator.outputs and operator.outputs[0] >= 0
    )


def choice_of(recipe: Recipe, graph: Graph) -> Choice:
    """Resolve a recipe's patterns on a float model.

    Raises:
        SettingsError: a pattern matches no layer.
    """
    return choose(recipe, layers_of(graph), "tflite")


def apply(worker: Any, recipe: Recipe, choice: Choice, graph: Graph) -> None:
    """Tell a ``litert_quantizer.Quantizer`` what the recipe wants of every layer."""
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    _add(worker, recipe, EVERYWHERE)
    _add_borders(worker, recipe, EVERYWHERE)
    scopes = _scopes(graph.operators, graph)
    for layer, override in choice.overrides.items():
        _add(worker, overridden(recipe, override), scopes[layer])
        _add_borders(worker, recipe, scopes[layer])
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    for layer in choice.floats:
        worker.update_quantization_recipe(scopes[layer], everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
        if layer in choice.halves:
            _add_halves(worker, scopes[layer])
        _add_borders(worker, recipe, scopes[layer])


def _add_borders(worker: Any, recipe: Recipe, scope: str) -> None:
    """Set inputs and outputs apart: a border has the scope of its tensor, as the layer that makes this tensor has."""
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    if recipe.activation_mode != "static":
        return
    for border in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        if recipe.io == "float":
            worker.update_quantization_recipe(scope, border, algorithm_key=AlgorithmName.NO_QUANTIZE)
        else:
            worker.add_static_config(scope, border, 8, 8)


def overridden(recipe: Recipe, override: Override) -> Recipe:
    """Return a recipe with an override's settings in place of its own."""
    return replace(
        recipe,
        weight_bits=override.weight_bits or recipe.weight_bits,
        activation_bits=override.activation_bits or recipe.activation_bits,
        granularity=override.granularity or recipe.granularity,
    )


def _scopes(operators: Sequence[Operator], graph: Graph) -> dict[str, str]:
    """Map each layer's name to a regular expression that only its scope, all names of its outputs, matches."""
    found = {}
    for operator in operators:
        names = [graph.tensors[index].name for index in operator.outputs if index >= 0]
        if names:
            scope = "".join(f"{name};" for name in names)[:_LONGEST_SCOPE]
            found[graph.tensors[operator.outputs[0]].name] = rf"\A{re.escape(scope)}\Z"
    return found


def _add(worker: Any, recipe: Recipe, scope: str) -> None:
    from litert_quantizer import qtyping

    names = qtyping.TFLOperationName
    if recipe.weight_bits == 16:
        _add_halves(worker, scope)
        return
    wide = qtyping.QuantGranularity.TENSORWISE if recipe.granularity == "tensor" else None
    channel = wide or qtyping.QuantGranularity.CHANNELWISE
    if recipe.granularity != "block":
        _add_bits(worker, recipe, scope, names.ALL_SUPPORTED, (8, channel))
    if recipe.weight_bits == 4:
        block = qtyping.QuantGranularity(f"BLOCKWISE_{recipe.block_size}") if recipe.granularity == "block" else channel
        for name in BLOCKS if recipe.granularity == "block" else FOUR_BITS[recipe.activation_mode]:
            _add_bits(worker, recipe, scope, names(name), (4, block))


def _add_halves(worker: Any, scope: str) -> None:
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    for name in HALF_FLOATS:
        operator = qtyping.TFLOperationName(name)
        worker.add_weight_only_config(scope, operator, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)


def _add_bits(worker: Any, recipe: Recipe, scope: str, operator: Any, grid: tuple[int, Any]) -> None:
    bits, granularity = grid
    if recipe.activation_mode == "static":
        worker.add_static_config(scope, operator, recipe.activation_bits, bits, granularity)
    elif recipe.activation_mode == "dynamic":
        worker.add_dynamic_config(scope, operator, bits, granularity)
    else:
        worker.add_weight_only_config(scope, operator, bits, granularity)
