"""Float ``.tflite`` to INT8 by litert-quantizer, fed with our own ranges, and a census of what stayed float."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import KeptFloat, Range, Signature
from toolkit.core.errors import ModelError
from toolkit.core.layers import Choice
from toolkit.core.ports import Quantized
from toolkit.core.recipe import Recipe
from toolkit.targets.tflite import logarithms
from toolkit.targets.tflite.census import kept_float, layers, take, weighted
from toolkit.targets.tflite.flatbuffer import Graph, read_all, read_graph
from toolkit.targets.tflite.scopes import LEAST_BLOCK, MOST_BLOCK, apply, choice_of, overridden
from toolkit.targets.tflite.session import float_activations, refuse_control_flow, smoke_run

_WANTED = {4: ("int4", "int8"), 8: ("int8",), 16: ("float16",)}
_INTEGER = ("int8", "int16")
_ACTIVATIONS = {8: "int8", 16: "int16"}


def not_expressible(recipe: Recipe) -> str | None:
    """Return None for the recipes that :func:`quantize` honours in every field, else the reason."""
    if recipe.is_float:
        return None
    if recipe.scheme != "affine":
        return f"TFLite has no {recipe.scheme} weights: its kernels take one scale a tensor or channel, not tables"
    if not recipe.symmetric or any(override.symmetric is False for override in recipe.overrides):
        return "LiteRT's kernels take symmetric weights only"
    if recipe.granularity == "block":
        return _block_obstacle(recipe)
    if recipe.weight_bits not in (4, 8):
        return f"TFLite has no {recipe.weight_bits}-bit weights"
    return None


def _block_obstacle(recipe: Recipe) -> str | None:
    if recipe.activation_mode != "dynamic" or recipe.weight_bits != 4:
        return "LiteRT takes a scale for a block only of 4-bit weights with dynamic activations, in FULLY_CONNECTED"
    if not LEAST_BLOCK <= recipe.block_size <= MOST_BLOCK:
        return f"LiteRT's blocks are of {LEAST_BLOCK} to {MOST_BLOCK} weights, not {recipe.block_size}"
    return None


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    """Write the build; inputs and outputs stay float32 unless the recipe's ``io`` is ``int8``.

    Raises:
        ModelError: the recipe cannot be expressed, a tensor has no finite range, nothing in the model can be
            quantized, or LiteRT cannot execute the result; what and where is named.
        SettingsError: a layer pattern of the recipe matches nothing.
    """
    reason = not_expressible(recipe)
    if reason is not None:
        raise ModelError(f"The recipe {recipe.name} is not expressible on TFLite: {reason}.", hint="Choose another -r.")
    before = read_graph(model)
    if recipe.weight_bits == 32:
        shutil.copyfile(model, out)
        return Quantized(signature=before.signature(), kept_float=())
    if recipe.needs_data:
        refuse_control_flow(before)
    choice = choice_of(recipe, before)
    wide = logarithms.layers_of(before, ranges, recipe.activation_bits) if recipe.needs_data else {}
    wide = {layer: why for layer, why in wide.items() if layer not in {*choice.floats, *choice.overrides}}
    choice = replace(choice, floats={**choice.floats, **wide})
    statistics = _statistics(before, ranges) if recipe.needs_data else None
    out.write_bytes(_quantized(model, recipe, (before, choice), statistics))
    graphs = read_all(out)
    kept = tuple(item for graph in graphs for item in kept_float(graph, recipe, choice, wide))
    _check_effect(model, before, graphs, kept)
    _check_choice(graphs, recipe, choice)
    _check_borders(before.signature(), graphs[0].signature(), recipe)
    smoke_run(out)
    return Quantized(signature=graphs[0].signature(), kept_float=kept, census=take(out))


def _statistics(graph: Graph, ranges: dict[str, Range]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Hand our ranges over as the quantizer's own statistics: arrays of one value with the tensor's rank."""
    statistics = {}
    for index in float_activations(graph):
        tensor = graph.tensors[index]
        found = ranges.get(tensor.name)
        if found is None:
            raise ModelError(
                f"Calibration saw no values of the tensor {tensor.name!r}.",
                hint="Calibrate again with samples for every input; if it stays, report it.",
            )
        if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low <= found.high):
            raise ModelError(
                f"Calibration of the tensor {tensor.name!r} gave the range [{found.low}, {found.high}].",
                hint="Look for NaN or infinity in the data or for an operator that overflows on it.",
            )
        ones = (1,) * len(tensor.shape)
        statistics[tensor.name] = {
            "min": np.full(ones, found.low, np.float32),
            "max": np.full(ones, found.high, np.float32),
        }
    return statistics


def _quantized(model: Path, recipe: Recipe, layers: tuple[Graph, Choice], statistics: dict[str, Any] | None) -> bytes:
    from litert_quantizer import quantizer

    worker = quantizer.Quantizer(bytearray(model.read_bytes()))
    try:
        apply(worker, recipe, layers[1], layers[0])
        result = worker.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:300].rstrip(".")
        raise ModelError(
            f"litert-quantizer cannot quantize {model.name} with {recipe.name}: {text}.",
            hint="Try the recipe weight-int8, or another target.",
        ) from error
    return bytes(result.quantized_model)


def _check_effect(model: Path, before: Graph, after: tuple[Graph, ...], kept: tuple[KeptFloat, ...]) -> None:
    """Refuse a build that the quantizer passed through untouched."""
    if any(tensor.scales or tensor.dtype == "float16" for graph in after for tensor in graph.tensors):
        return
    layers = weighted(before)
    what = f"none of its {len(layers)} layers with weights" if layers else "it has no layer with weights"
    raise ModelError(
        f"Nothing in {model.name} was quantized: {what} ({kept[0].reason if kept else 'nothing to do'}).",
        hint="Build it with the recipe float32.",
    )


def _check_borders(before: Signature, after: Signature, recipe: Recipe) -> None:
    """Refuse a build whose inputs and outputs are not of the type that the recipe asks for."""
    wanted = "float32" if recipe.io == "float" else "int8"
    pairs = zip((*before.inputs, *before.outputs), (*after.inputs, *after.outputs), strict=True)
    for source, made in pairs:
        if source.dtype == "float32" and made.dtype != wanted:
            raise ModelError(
                f"The build's {made.name!r} is {made.dtype}, and the recipe's io asks for {wanted}.",
                hint="Quantize the layer beside it, or choose the other io.",
            )


def _check_choice(graphs: tuple[Graph, ...], recipe: Recipe, choice: Choice) -> None:
    """Hold the build against what the recipe says of single layers: the quantizer skips what it cannot do in silence.

    Raises:
        ModelError: a layer got something else; it is named.
    """
    facts = {fact.name: fact for graph in graphs for fact in layers(graph)}
    for layer, pattern in choice.floats.items():
        fact = facts.get(layer)
        allowed = ("", "float32", "float16") if layer in choice.halves else ("", "float32")
        if fact is not None and (fact.weight_dtype not in allowed or fact.activation_dtype in _INTEGER):
            raise ModelError(f"The layer {layer!r}, kept in float by {pattern!r}, is {fact.weight_dtype} in the build.")
    for layer, override in choice.overrides.items():
        fact, wanted = facts.get(layer), overridden(recipe, override)
        if fact is None:
            raise ModelError(f"The layer {layer!r} of an override is not in the build any more.")
        weights = _WANTED[wanted.weight_bits]
        if (fact.weight_dtype and fact.weight_dtype not in weights) or (
            recipe.needs_data and fact.activation_dtype != _ACTIVATIONS[wanted.activation_bits]
        ):
            raise ModelError(
                f"The override of {layer!r} cannot be had: LiteRT made its weights {fact.weight_dtype or 'none'} and "
                f"its activations {fact.activation_dtype}.",
                hint="Not every operator has every width; `palmtop inspect --layers` shows what a plain build has.",
            )
