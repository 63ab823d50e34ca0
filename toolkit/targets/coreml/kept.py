"""What a build of an ML Program left in float although its recipe asked for less, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toolkit.core.artifacts import KeptFloat
from toolkit.core.recipe import Recipe
from toolkit.targets.coreml.activations import QUANTIZED_OPERATORS
from toolkit.targets.coreml.half import ARRANGEMENT
from toolkit.targets.coreml.interpreter.program import Operation, Program
from toolkit.targets.coreml.partners import eight_bit_values

SMALL = 64
"""Weights of at most this many elements stay float: scales and descriptors would eat what 8 bits save."""

_FLOATS = ("fp16", "fp32")
_SILENT = frozenset({*ARRANGEMENT, "cast", "dequantize"})
_COMPUTING = frozenset(
    {*QUANTIZED_OPERATORS, "conv_transpose", "einsum", "gru", "lstm", "matmul", "rnn", "scaled_dot_product_attention"}
)


def kept_float(program: Program, recipe: Recipe, excluded: Mapping[str, str]) -> tuple[KeptFloat, ...]:
    """Name the layers of a build that are float in part or in whole although its recipe asked for less.

    ``excluded`` are layers that were left alone on purpose, with the reason. A layer is named once.
    """
    kept = (
        *_float_weights(program, recipe, excluded),
        *_float_activations(program, recipe, excluded),
        *_float_operations(program, excluded),
    )
    return tuple({item.layer: item for item in reversed(kept)}.values())[::-1]


def _float_weights(program: Program, recipe: Recipe, excluded: Mapping[str, str]) -> Iterator[KeptFloat]:
    """Name the layers whose weight, of two or more axes, was left float."""
    if recipe.weight_bits >= 16:
        return
    for operation in program.operations:
        if operation.operator.startswith("constexpr_"):
            continue
        for key, arguments in operation.inputs.items():
            for value in arguments:
                is_float = value.constant is not None and value.type.dtype in _FLOATS
                if is_float and len(value.type.shape) > 1 and value.type.count > 1:
                    small = f"at most {SMALL} elements" if value.type.count <= SMALL else "not taken by coremltools"
                    why = excluded.get(operation.name, small)
                    reason = f"its {key} of {value.type.count} elements stays float: {why}"
                    yield KeptFloat(layer=operation.name, reason=reason)


def _float_activations(program: Program, recipe: Recipe, excluded: Mapping[str, str]) -> Iterator[KeptFloat]:
    """Name the layers that compute on float activations although the recipe has 8-bit ones."""
    if not recipe.needs_data:
        return
    eight_bit = eight_bit_values(program)
    for operation in program.operations:
        if operation.operator in _COMPUTING and not _reads(operation, eight_bit):
            why = excluded.get(operation.name) or (
                "coremltools did not take it"
                if operation.operator in QUANTIZED_OPERATORS
                else f"coremltools quantizes those of {', '.join(QUANTIZED_OPERATORS)} only"
            )
            yield KeptFloat(layer=operation.name, reason=f"its activations stay float: {why}")


def _float_operations(program: Program, excluded: Mapping[str, str]) -> Iterator[KeptFloat]:
    """Name the layers of a float16 program that stay float32."""
    if not any(value.type.dtype == "fp16" for operation in program.operations for value in operation.outputs):
        return
    for operation in program.operations:
        computes = operation.operator not in _SILENT and not operation.operator.startswith("constexpr_")
        if computes and operation.outputs[0].type.dtype == "fp32":
            why = excluded.get(operation.name, "a constant of it exceeds what float16 holds")
            yield KeptFloat(layer=operation.name, reason=f"it stays float32: {why}")


def _reads(operation: Operation, names: Mapping[str, str]) -> bool:
    return any(value.name in names for key in ("x", "y") for value in operation.inputs.get(key, ()))
