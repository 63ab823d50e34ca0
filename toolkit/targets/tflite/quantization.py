"""Float ``.tflite`` to INT8 by litert-quantizer, fed with our own ranges, and a census of what stayed float."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import KeptFloat, Range
from toolkit.core.errors import ModelError
from toolkit.core.ports import Quantized
from toolkit.core.recipe import Recipe
from toolkit.targets.tflite.census import kept_float, weighted
from toolkit.targets.tflite.flatbuffer import Graph, read_all, read_graph
from toolkit.targets.tflite.session import float_activations, refuse_control_flow, smoke_run

_EVERYWHERE = ".*"


def not_expressible(recipe: Recipe) -> str | None:
    """Return None for the recipes that :func:`quantize` honours in every field, else the reason."""
    if recipe.is_float:
        return None if recipe.weight_bits == 32 else "float16 weights are not offered for this target"
    if recipe.scheme != "affine":
        return f"TFLite has no {recipe.scheme} weights"
    if recipe.granularity == "block":
        return "LiteRT has block-wise scales in fully connected layers only"
    if not recipe.symmetric:
        return "LiteRT's kernels take symmetric weights only"
    if recipe.weight_bits != 8:
        return f"{recipe.weight_bits}-bit weights are not offered for this target"
    if (recipe.activation_mode, recipe.activation_bits) not in (("static", 8), ("none", 32)):
        return f"{recipe.activation_mode} {recipe.activation_bits}-bit activations are not offered for this target"
    return None


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    """Write the build; inputs and outputs stay float32.

    Raises:
        ModelError: the recipe cannot be expressed, a tensor has no finite range, nothing in the model can be
            quantized, or LiteRT cannot execute the result; what and where is named.
    """
    reason = not_expressible(recipe)
    if reason is not None:
        raise ModelError(f"The recipe {recipe.name} is not expressible on TFLite: {reason}.", hint="Choose another -r.")
    before = read_graph(model)
    if recipe.is_float:
        shutil.copyfile(model, out)
        return Quantized(signature=before.signature(), kept_float=())
    static = recipe.activation_mode == "static"
    if static:
        refuse_control_flow(model, before)
    out.write_bytes(_quantized(model, recipe, _statistics(before, ranges) if static else None))
    graphs = read_all(out)
    after = graphs[0]
    kept = tuple(item for graph in graphs for item in kept_float(graph, static=static))
    _check_effect(model, before, graphs, kept)
    smoke_run(out)
    return Quantized(signature=after.signature(), kept_float=kept)


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


def _quantized(model: Path, recipe: Recipe, statistics: dict[str, Any] | None) -> bytes:
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer.algorithm_manager import AlgorithmName

    granularity = {
        "channel": qtyping.QuantGranularity.CHANNELWISE,
        "tensor": qtyping.QuantGranularity.TENSORWISE,
    }[recipe.granularity]
    names = qtyping.TFLOperationName
    worker = quantizer.Quantizer(bytearray(model.read_bytes()))
    if statistics is None:
        worker.add_weight_only_config(_EVERYWHERE, names.ALL_SUPPORTED, 8, granularity)
    else:
        worker.add_static_config(_EVERYWHERE, names.ALL_SUPPORTED, 8, 8, granularity)
        for border in (names.INPUT, names.OUTPUT):  # later entries win: the borders stay float
            worker.update_quantization_recipe(_EVERYWHERE, border, algorithm_key=AlgorithmName.NO_QUANTIZE)
    try:
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
    if any(tensor.scales for graph in after for tensor in graph.tensors):
        return
    layers = weighted(before)
    what = f"none of its {len(layers)} layers with weights" if layers else "it has no layer with weights"
    raise ModelError(
        f"Nothing in {model.name} was quantized: {what} ({kept[0].reason if kept else 'nothing to do'}).",
        hint="Build it with the recipe float32.",
    )
