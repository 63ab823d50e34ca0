"""ONNX Runtime: any ONNX model on Android and iOS; see :class:`toolkit.core.ports.Target`."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import Inspection, KeptFloat, Range, Requirements, Signature, ToolVersion
from toolkit.core.equalization import Link
from toolkit.core.errors import ModelError
from toolkit.core.linear import LinearLayer
from toolkit.core.ports import Array, Feeds, Observe, Quantized, Session
from toolkit.core.recipe import Recipe
from toolkit.core.signature import check_feeds
from toolkit.core.store import writing_to
from toolkit.targets.onnx import (
    borders,
    census,
    choices,
    conversion,
    exceptions,
    facts,
    graph,
    halves,
    learned,
    linear,
    qdq,
    runtime,
    weights,
)

SUFFIX = ".onnx"
RUNTIME = {"onnxruntime": "onnxruntime"}
FORMS = ("onnx", "saved_model")

_LIBRARIES = ("onnx", "onnxruntime", "onnxslim", "tf2onnx", "numpy")


def not_expressible(recipe: Recipe) -> str | None:
    """See :meth:`toolkit.core.ports.Target.not_expressible`.

    ``symmetric`` and ``granularity`` speak of the weights; activations are always unsigned and asymmetric.
    """
    if recipe.is_float:
        return None
    mode, overrides = recipe.activation_mode, recipe.overrides
    block, static, dynamic = recipe.granularity == "block", mode == "static", mode == "dynamic"
    symmetries = {recipe.symmetric, *(over.symmetric for over in overrides if over.symmetric is not None)}
    widths = {recipe.weight_bits, *(over.weight_bits for over in overrides if over.weight_bits not in (None, 16, 32))}
    grains = {recipe.granularity, *(over.granularity for over in overrides if over.granularity is not None)}
    obstacles = (
        (recipe.scheme != "affine", f"{recipe.scheme}: the format has no look-up tables for weights"),
        (not widths <= {4, 8}, f"{recipe.weight_bits}-bit weights: the format has 4, 8 and 16 bits"),
        (mode != "none" and widths != {8}, "4-bit weights with quantized activations: no kernel takes them"),
        (block and mode != "none", "one scale for a block of weights: no integer kernel takes it"),
        (block and not recipe.symmetric, "asymmetric blocks: palmtop writes symmetric ones only"),
        (dynamic and False in symmetries, "asymmetric weights with dynamic activations: palmtop writes symmetric ones"),
        (
            static and False in symmetries and "channel" in grains,
            "asymmetric weights per channel: integer kernels take one zero point a tensor",
        ),
    )
    return next((reason for obstacle, reason in obstacles if obstacle), None)


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    """See :meth:`toolkit.core.ports.Target.convert`; names and axis order stay the source's."""
    if form == "onnx":
        return conversion.from_onnx(model, source, out)
    if form == "saved_model":
        return conversion.from_saved_model(model, source, out)
    raise ModelError(f"The target onnx does not convert from the form {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")


def calibrate(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """See :meth:`toolkit.core.ports.Target.calibrate`; each tensor is shown as the quantizer will find it."""
    tap(model, samples, observe)


def tap(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """See :meth:`toolkit.core.ports.Target.tap`.

    The graph runs node by node as it is written, before the runtime's fusions: a quantized build computes each layer
    in float between a DequantizeLinear and a QuantizeLinear, which its integer kernels match up to rounding. One
    sample's tensors are in memory at a time.
    """
    prepared = _prepared(model)
    session = runtime.load(graph.expose(prepared), threads=0, optimise=False)
    signature = Signature(inputs=runtime.specs(session.get_inputs()), outputs=())
    floats = [name for name, kind in graph.types_of(session).items() if kind.dtype == "float32"]
    partners = qdq.partners(prepared)
    shown = {name: partners.get(name, name) for name in floats}
    made = [name for name in floats if shown[name] and name not in {spec.name for spec in signature.inputs}]
    for feeds in samples:
        check_feeds(feeds, signature)
        arrays = {name: np.asarray(array, order="C") for name, array in feeds.items()}
        with runtime.translated("ONNX Runtime failed to execute the model on a sample"):
            values = session.run(made, arrays)
        for name, array in (*arrays.items(), *zip(made, values, strict=True)):
            if shown.get(name):
                observe(shown[name], array)


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    """See :meth:`toolkit.core.ports.Target.quantize`.

    A build is accepted only after it was loaded and run with default optimisations and gave finite numbers where the
    float model does.
    """
    reason = not_expressible(recipe)
    if reason is not None:
        raise ModelError(f"The recipe {recipe.name} is not expressible on onnx: {reason}.")
    if recipe.weight_bits == 32:
        with writing_to(out.parent):
            shutil.copyfile(model, out)
        return Quantized(signature=borders.open_session(out, threads=1).signature, kept_float=())
    prepared = _prepared(model)
    left_out = _rewritten(prepared, recipe, ranges)
    graph.lower_ir_version(prepared)
    graph.write(prepared, out)
    _accept(model, out)
    found, optimised = census.take(out)
    census.check(prepared, optimised, left_out if recipe.needs_data else ())
    kept = tuple(_kept_float(prepared, left_out, recipe))
    return Quantized(signature=borders.open_session(out, threads=1).signature, kept_float=kept, census=found)


def _rewritten(prepared: graph.Model, recipe: Recipe, ranges: dict[str, Range]) -> dict[str, str]:
    """Quantize a prepared model in place; return what was left in float or got more bits, and why."""
    if recipe.is_float:
        return halves.quantize(prepared)
    choice = choices.choice_of(recipe, prepared)
    if not recipe.needs_data:
        left_out = weights.quantize(prepared, recipe, choice)
        halves.store(prepared, choice.halves)
        return left_out
    types = graph.types_of(runtime.load(graph.expose(prepared), threads=1, optimise=False))
    left_out = qdq.quantize(prepared, qdq.Order(recipe=recipe, choice=choice, ranges=ranges), types).left_out
    if recipe.io == "int8":
        borders.to_integers(prepared, ranges)
    for layer in exceptions.protect_float(prepared):
        left_out[layer] = f"{left_out.get(layer, '')}; {exceptions.PROTECTED}".removeprefix("; ")
    halves.store(prepared, choice.halves)
    return left_out


def linear_layers(model: Path) -> tuple[LinearLayer, ...]:
    """Return convolutions and products by the names that calibration and quantization use; weights dequantized."""
    return linear.layers_of(_prepared(model))


def links(model: Path) -> tuple[Link, ...]:
    """Return the pairs of layers of a float artefact between which factors of channels can move."""
    return linear.links(_prepared(model))


def rewrite(model: Path, layers: Iterable[LinearLayer], out: Path) -> None:
    """Write a float artefact in which layers have other weights and biases."""
    prepared = _prepared(model)
    linear.rewrite(prepared, layers)
    graph.write(prepared, out)


def correct_biases(model: Path, shifts: Mapping[str, Array], out: Path) -> None:
    """Write a build whose biases are changed by ``shifts``, float64 [outputs] by layer name."""
    built = graph.read(model)
    linear.correct_biases(built, shifts)
    graph.write(built, out)


def reweigh(model: Path, weights: Mapping[str, Array], out: Path) -> None:
    """Write a build whose layers have other ``weights``, float32 on their grid by layer name."""
    built = graph.read(model)
    linear.reweigh(built, weights)
    graph.write(built, out)


def open_session(model: Path, threads: int) -> Session:
    """See :meth:`toolkit.core.ports.Target.open_session`."""
    return borders.open_session(model, threads)


def inspect(model: Path) -> Inspection:
    """See :meth:`toolkit.core.ports.Target.inspect`."""
    return facts.inspect(model)


def requirements(model: Path) -> Requirements:
    """See :meth:`toolkit.core.ports.Target.requirements`."""
    return facts.requirements(graph.read(model))


def learned_weights(model: Path) -> Iterator[tuple[str, Array, int]]:
    """See :class:`toolkit.core.ports.Target`."""
    return learned.learned_weights(model)


def toolchain() -> tuple[ToolVersion, ...]:
    """See :meth:`toolkit.core.ports.Target.toolchain`."""
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in _LIBRARIES)


def _prepared(model: Path) -> graph.Model:
    prepared = graph.read(model)
    graph.prepare(prepared)
    return prepared


def _accept(model: Path, out: Path) -> None:
    expected, found = runtime.try_out(model), runtime.try_out(out)
    for name, values in expected.items():
        if np.isfinite(values).all() and not np.isfinite(found[name]).all():
            raise ModelError(
                f"The quantized model's output {name!r} is not a number where the float model's is.",
                hint="Calibrate with more and more typical samples, or use the recipe weight-int8.",
            )


def _kept_float(quantized: graph.Model, left_out: dict[str, str], recipe: Recipe) -> Iterable[KeptFloat]:
    """Name every layer that was left out, every other whose weights are float, and what computes in float anyway."""
    yield from (KeptFloat(layer=layer, reason=reason) for layer, reason in left_out.items())
    if recipe.is_float:
        return
    outer = {node.name for node in quantized.graph.node}
    for layer in facts.layers(quantized):
        if layer.name in left_out:
            continue
        if layer.weight_dtype.startswith("float") and layer.operator in graph.WEIGHTED and layer.name not in outer:
            yield KeptFloat(layer=layer.name, reason="it is inside the body of an If, Loop or Scan")
        elif recipe.needs_data and layer.name in outer and layer.operator not in qdq.INTEGER_OPERATORS:
            computes = "float32" in (layer.weight_dtype, layer.activation_dtype) or layer.operator in qdq.TOO_COARSE
            if computes and layer.operator not in facts.MOVERS:
                yield KeptFloat(layer=layer.name, reason=_why_float(layer.operator))


def _why_float(operator: str) -> str:
    if operator in qdq.TOO_COARSE:
        return f"8 bits of what {operator} makes can ruin a model"
    return f"ONNX Runtime has no integer {operator}"
