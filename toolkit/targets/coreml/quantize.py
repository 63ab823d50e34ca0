"""Make the build of a recipe from a float32 ML Program: float16, compressed weights, 8-bit activations."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from toolkit.core.artifacts import Range
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.layers import choose
from toolkit.core.ports import Quantized
from toolkit.core.recipe import Recipe
from toolkit.core.store import writing_to
from toolkit.targets.coreml import activations
from toolkit.targets.coreml.compress import IOS16, IOS17, Plan, compress, layers_to_choose, plan_of
from toolkit.targets.coreml.convert import save
from toolkit.targets.coreml.foreign import coremltools, own_temporary_folder, unchecked
from toolkit.targets.coreml.half import logarithms, to_float16
from toolkit.targets.coreml.inspection import layers_of
from toolkit.targets.coreml.interpreter.program import Program, read_package
from toolkit.targets.coreml.kept import SMALL, kept_float
from toolkit.targets.coreml.messages import signature_of
from toolkit.targets.coreml.session import with_program_shapes

_COMPRESSED = ("int4", "uint4", "int8", "uint8", "lut4", "lut6", "lut8")
_SMALL = "it is part of a logarithm of values smaller than float16 holds"


def not_expressible(recipe: Recipe) -> str | None:
    """Return None when this target expresses the recipe, else the reason; see :class:`toolkit.core.ports.Target`."""
    if recipe.activation_mode == "dynamic":
        return "Core ML has no dynamic quantization of activations"
    if recipe.activation_mode == "static" and recipe.activation_bits != 8:
        return f"Core ML quantizes activations to 8 bits, not {recipe.activation_bits}"
    if recipe.activation_mode == "none" and recipe.activation_bits == 8:
        return "8-bit activations need ranges: activation_mode static"
    if recipe.weight_bits == 32 and recipe.activation_bits != 32:
        return "Core ML has no float32 weights beside narrower activations"
    if recipe.weight_bits == 16:
        return "float16 weights are computed in float16: activation_bits 16" if recipe.activation_bits == 32 else None
    if recipe.scheme == "affine" and recipe.weight_bits == 6:
        return "6-bit weights exist as look-up tables only"
    if recipe.io != "float":
        return "coremltools writes no 8-bit inputs and outputs"
    if any(over.activation_bits == 16 for over in recipe.overrides):
        return "Core ML quantizes activations to 8 bits, not 16 (overrides)"
    if recipe.activation_bits == 32 and any(over.weight_bits == 16 for over in recipe.overrides):
        return "Core ML stores all float weights as it computes: activation_bits 16 (overrides)"
    return None


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    """Write the build of a recipe; see :meth:`toolkit.core.ports.Target.quantize`.

    Raises:
        SettingsError: the recipe is not expressible, needs ranges and there are none, or names a layer that the model
            does not have.
        ModelError: nothing in the model is quantized by the recipe, or float16 cannot hold its values.
    """
    reason = not_expressible(recipe)
    if reason is not None:
        raise SettingsError(f"The recipe {recipe.name!r} is not expressible on coreml: {reason}.")
    if recipe.needs_data and not ranges:
        raise SettingsError(
            f"The recipe {recipe.name!r} needs activation ranges.", hint="Give samples to calibrate on: -d DATA."
        )
    if recipe.is_float and recipe.weight_bits == 32:
        with writing_to(out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(model, out)
        message, program = read_package(out)
        return Quantized(signature=with_program_shapes(signature_of(message, out), program), kept_float=())
    plan = plan_of(recipe, choose(recipe, layers_to_choose(read_package(model)[1]), "coreml"))
    excluded = _write(model, plan, ranges, out)
    message, program = read_package(out)
    try:
        _check_effect(model, recipe, program)
    except ModelError:
        shutil.rmtree(out)
        raise
    signature = with_program_shapes(signature_of(message, out), program)
    return Quantized(signature=signature, kept_float=kept_float(program, recipe, excluded))


def _write(model: Path, plan: Plan, ranges: Mapping[str, Range], out: Path) -> dict[str, str]:
    """Write the build and return the layers that coremltools was told to leave float, with the reason."""
    message, program = read_package(model)
    recipe, signature = plan.recipe, signature_of(message, model)
    ct = coremltools(tensorflow=False)
    excluded = dict(plan.floats)
    small = dict.fromkeys(logarithms(program), _SMALL) if recipe.activation_bits != 32 else {}
    with own_temporary_folder() as scratch, unchecked():
        made = ct.models.MLModel(str(model), skip_model_load=True)
        if recipe.activation_bits != 32:
            made = to_float16(ct, made, program, IOS17 if recipe.needs_data else IOS16)
        if recipe.needs_data:
            half = scratch / "half.mlpackage"
            save(made, signature, half, scratch / "saved")
            chosen = activations.plan(read_package(half)[1], ranges, plan.floats)
            excluded |= chosen.excluded
            made = activations.insert(made, chosen)
        if recipe.weight_bits < 16:
            made = compress(made, program, plan)
        save(made, signature, out, scratch)
    return excluded | small


def _check_effect(model: Path, recipe: Recipe, program: Program) -> None:
    """Refuse a build that coremltools passed through untouched."""
    layers = layers_of(program)
    if recipe.weight_bits < 16 and not any(layer.weight_dtype in _COMPRESSED for layer in layers):
        raise ModelError(
            f"{model.name}: no weight has more than {SMALL} elements, so nothing was quantized.",
            hint="The recipe float32 serves a model this small.",
        )
    if recipe.needs_data and not any(operation.operator == "quantize" for operation in program.operations):
        raise ModelError(
            f"{model.name}: coremltools quantizes the activations of no layer of it.",
            hint="Take the recipe weight-int8, which leaves activations float.",
        )
