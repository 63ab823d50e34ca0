"""Quantize the weights of an ML Program with coremltools' optimizer."""

from __future__ import annotations

import shutil
from pathlib import Path

from toolkit.core.artifacts import KeptFloat, Range
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.ports import Quantized
from toolkit.core.recipe import Recipe
from toolkit.core.store import writing_to
from toolkit.targets.coreml.convert import save
from toolkit.targets.coreml.foreign import coremltools, own_temporary_folder
from toolkit.targets.coreml.inspection import layers_of
from toolkit.targets.coreml.interpreter.program import Program, read_package
from toolkit.targets.coreml.messages import signature_of
from toolkit.targets.coreml.session import with_program_shapes

SMALL = 64
"""Weights of at most this many elements stay float: scales and descriptors would eat what 8 bits save."""

_GRANULARITY = {"tensor": "per_tensor", "channel": "per_channel"}


def not_expressible(recipe: Recipe) -> str | None:
    """Return None when this target expresses the recipe, else the reason; see :class:`toolkit.core.ports.Target`."""
    if recipe.activation_mode == "static":
        return "Core ML calibrates activations on macOS only; W8A8 from any host comes with a later version"
    if recipe.activation_mode == "dynamic":
        return "Core ML has no dynamic quantization of activations"
    if recipe.activation_bits != 32 or recipe.weight_bits == 16:
        return "float16 programs come with a later version"
    if recipe.weight_bits == 32:
        return None
    if recipe.scheme != "affine":
        return "look-up-table weights come with a later version"
    if recipe.weight_bits != 8:
        return f"{recipe.weight_bits}-bit weights come with a later version"
    if recipe.granularity not in _GRANULARITY:
        return "blockwise weights come with a later version"
    return None


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    """Write the build of a recipe; see :meth:`toolkit.core.ports.Target.quantize`. ``ranges`` are not used.

    Raises:
        SettingsError: the recipe is not expressible.
        ModelError: no weight is large enough to be quantized.
    """
    reason = not_expressible(recipe)
    if reason is not None:
        raise SettingsError(f"The recipe {recipe.name!r} is not expressible on coreml: {reason}.")
    if recipe.is_float:
        with writing_to(out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(model, out)
    else:
        _quantize_weights(model, recipe, out)
    message, program = read_package(out)
    signature = with_program_shapes(signature_of(message, out), program)
    return Quantized(signature=signature, kept_float=() if recipe.is_float else _kept_float(program))


def _quantize_weights(model: Path, recipe: Recipe, out: Path) -> None:
    message, _ = read_package(model)
    ct = coremltools(tensorflow=False)
    import coremltools.optimize.coreml as cto

    settings = cto.OpLinearQuantizerConfig(
        mode="linear_symmetric" if recipe.symmetric else "linear",
        dtype="int8",
        granularity=_GRANULARITY[recipe.granularity],
        weight_threshold=SMALL,
    )
    with own_temporary_folder() as scratch:
        loaded = ct.models.MLModel(str(model), skip_model_load=True)
        made = cto.linear_quantize_weights(loaded, cto.OptimizationConfig(global_config=settings))
        save(made, signature_of(message, model), out, scratch)
    if not any(layer.weight_dtype in ("int8", "uint8") for layer in layers_of(read_package(out)[1])):
        shutil.rmtree(out)
        raise ModelError(
            f"{model.name}: no weight has more than {SMALL} elements, so nothing was quantized.",
            hint="The recipe float32 serves a model this small.",
        )


def _kept_float(program: Program) -> tuple[KeptFloat, ...]:
    """Name the layers whose weight, of two or more axes, was left float."""
    kept = []
    for operation in program.operations:
        for key, arguments in operation.inputs.items():
            for value in arguments:
                is_float = value.constant is not None and value.type.dtype in ("fp16", "fp32")
                if is_float and len(value.type.shape) > 1 and value.type.count > 1:
                    why = f"at most {SMALL} elements" if value.type.count <= SMALL else "not taken by coremltools"
                    reason = f"its {key} of {value.type.count} elements stays float: {why}"
                    kept.append(KeptFloat(layer=operation.name, reason=reason))
    return tuple(kept)
