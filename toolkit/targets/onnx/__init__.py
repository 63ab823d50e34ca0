"""ONNX Runtime: any ONNX model on Android and iOS; see :class:`toolkit.core.ports.Target`."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Inspection, KeptFloat, Range, Requirements, Signature, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.ports import Feeds, Observe, Quantized, Session
from toolkit.core.recipe import Recipe
from toolkit.core.signature import check_feeds
from toolkit.core.store import writing_to
from toolkit.targets.onnx import conversion, facts, graph, qdq, runtime, weights

SUFFIX = ".onnx"
FORMS = ("onnx", "saved_model")

_LIBRARIES = ("onnx", "onnxruntime", "onnxslim", "tf2onnx", "numpy")


def not_expressible(recipe: Recipe) -> str | None:
    """See :meth:`toolkit.core.ports.Target.not_expressible`.

    ``symmetric`` and ``granularity`` speak of the weights; activations are always unsigned and asymmetric.
    """
    if recipe.is_float:
        return None if recipe.weight_bits == 32 else "16-bit float weights run on the CPU only after conversion to 32"
    obstacles = (
        (recipe.scheme != "affine", f"{recipe.scheme}: the format has no look-up tables for weights"),
        (recipe.weight_bits != 8, f"{recipe.weight_bits}-bit weights: only 8-bit ones have integer kernels"),
        (recipe.granularity == "block", "one scale for a block of weights: no integer kernel takes it"),
        (recipe.activation_mode == "dynamic", "activations quantized at run time"),
        (
            recipe.activation_mode == "static" and recipe.activation_bits != 8,
            f"{recipe.activation_bits}-bit activations: they run in float, slower than a float model",
        ),
        (
            recipe.activation_mode == "static" and recipe.granularity == "channel" and not recipe.symmetric,
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
    if recipe.is_float:
        with writing_to(out.parent):
            shutil.copyfile(model, out)
        return Quantized(signature=runtime.open_session(out, threads=1).signature, kept_float=())
    prepared = _prepared(model)
    left_out = weights.quantize(prepared, recipe) if not recipe.needs_data else _static(prepared, recipe, ranges)
    graph.lower_ir_version(prepared)
    graph.write(prepared, out)
    _accept(model, out)
    kept = tuple(_kept_float(prepared, left_out, recipe))
    return Quantized(signature=runtime.open_session(out, threads=1).signature, kept_float=kept)


def open_session(model: Path, threads: int) -> Session:
    """See :meth:`toolkit.core.ports.Target.open_session`."""
    return runtime.open_session(model, threads)


def inspect(model: Path) -> Inspection:
    """See :meth:`toolkit.core.ports.Target.inspect`."""
    return facts.inspect(model)


def requirements(model: Path) -> Requirements:
    """See :meth:`toolkit.core.ports.Target.requirements`."""
    return facts.requirements(graph.read(model))


def toolchain() -> tuple[ToolVersion, ...]:
    """See :meth:`toolkit.core.ports.Target.toolchain`."""
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in _LIBRARIES)


def _prepared(model: Path) -> graph.Model:
    prepared = graph.read(model)
    graph.prepare(prepared)
    return prepared


def _static(prepared: Any, recipe: Recipe, ranges: dict[str, Range]) -> dict[str, str]:
    types = graph.types_of(runtime.load(graph.expose(prepared), threads=1, optimise=False))
    return qdq.quantize(prepared, recipe, ranges, types).left_out


def _accept(model: Path, out: Path) -> None:
    expected, found = runtime.try_out(model), runtime.try_out(out)
    for name, values in expected.items():
        if np.isfinite(values).all() and not np.isfinite(found[name]).all():
            raise ModelError(
                f"The quantized model's output {name!r} is not a number where the float model's is.",
                hint="Calibrate with more and more typical samples, or use the recipe weight-int8.",
            )


def _kept_float(quantized: graph.Model, left_out: dict[str, str], recipe: Recipe) -> Iterable[KeptFloat]:
    """Name every layer that was left out, and every other whose weights are still float."""
    yield from (KeptFloat(layer=layer, reason=reason) for layer, reason in left_out.items())
    outer = {node.name for node in quantized.graph.node}
    for layer in facts.layers(quantized):
        if not layer.weight_dtype.startswith("float") or layer.name in left_out:
            continue
        if layer.operator in graph.WEIGHTED and layer.name not in outer:
            yield KeptFloat(layer=layer.name, reason="it is inside the body of an If, Loop or Scan")
        elif recipe.needs_data and layer.operator not in qdq.INTEGER_OPERATORS:
            yield KeptFloat(layer=layer.name, reason=f"ONNX Runtime has no integer {layer.operator}")
