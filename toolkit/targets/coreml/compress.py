"""Compress the weights of an ML Program with coremltools' optimizer, each layer as its recipe says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError
from toolkit.core.layers import Choice, Layer
from toolkit.core.recipe import Recipe
from toolkit.targets.coreml.half import raised
from toolkit.targets.coreml.interpreter.program import Operation, Program, layer_name
from toolkit.targets.coreml.kept import SMALL
from toolkit.targets.coreml.tables import Method, look_up_table

IOS16, IOS17, IOS18 = 7, 8, 9
"""Specification versions of ML Programs by the first iOS that loads them."""

_LEAST_BLOCK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recipe resolved on one program: what each layer with weights gets, and the layers that stay float.

    ``floats`` maps a layer to the words for why.
    """

    recipe: Recipe
    own: Mapping[str, Recipe]
    floats: Mapping[str, str]

    def of(self, layer: str) -> Recipe:
        """Return what a layer's weights get."""
        return self.own.get(layer, self.recipe)


def plan_of(recipe: Recipe, choice: Choice) -> Plan:
    """Turn the layers that a recipe names into a recipe a layer."""
    own = {
        name: replace(
            recipe,
            weight_bits=over.weight_bits or recipe.weight_bits,
            granularity=over.granularity or recipe.granularity,
            symmetric=recipe.symmetric if over.symmetric is None else over.symmetric,
        )
        for name, over in choice.overrides.items()
    }
    floats = {name: f"the recipe keeps {pattern!r} float" for name, pattern in choice.floats.items()}
    return Plan(recipe=recipe, own=own, floats=floats)


def layers_to_choose(program: Program) -> tuple[Layer, ...]:
    """Return the program's layers as recipes name them."""
    return tuple(
        Layer(
            name=operation.name,
            operator=operation.operator,
            weighted=any(True for _ in weights_of(operation)),
            words=_words(operation),
            aliases=tuple(value.name for value in operation.outputs),
        )
        for operation in program.operations
        if not operation.operator.startswith("constexpr_")
    )


def weights_of(operation: Operation) -> Iterable[tuple[int, ...]]:
    """Yield the shapes of an operation's learned tensors of two or more axes."""
    for arguments in operation.inputs.values():
        for value in arguments:
            if value.constant is not None and value.type.dtype in ("fp16", "fp32") and len(value.type.shape) > 1:
                yield value.type.shape


def specification_floor(plan: Plan) -> int:
    """Return the least specification version in which the weights can be written."""
    recipes = [recipe for recipe in (plan.recipe, *plan.own.values()) if recipe.weight_bits < 16]
    newer = any(
        recipe.granularity == "block"
        or (recipe.granularity != "tensor" if recipe.scheme == "lut" else recipe.weight_bits == 4)
        for recipe in recipes
    )
    return IOS18 if newer else IOS16


def compress(model: Any, program: Program, plan: Plan) -> Any:
    """Return the coremltools model with its weights compressed.

    Where the blocks of a recipe do not divide a layer's input channels, :func:`block_of` says what they become.

    Args:
        model: a ``MLModel``, not loaded for execution.
        program: the float program of the same layers.
        plan: what each layer gets.

    Raises:
        ModelError: two layers share a weight and the recipe gives them different settings.
    """
    import coremltools.optimize.coreml as cto

    made = raised(model, specification_floor(plan))
    settings = {operation.name: _settings(operation, plan) for operation in program.operations}
    settings |= dict.fromkeys(_vectors(made))
    config = cto.OptimizationConfig(global_config=_config(plan.recipe, None), op_name_configs=settings)
    act = cto.palettize_weights if plan.recipe.scheme == "lut" else cto.linear_quantize_weights
    try:
        return act(made, config)
    except ValueError as error:
        if "config conflict" not in str(error):
            raise
        raise ModelError(
            "Two layers share one weight, and the recipe gives them different settings.",
            hint=" ".join(str(error).split())[:300],
        ) from error


def block_of(size: int, wanted: int) -> int:
    """Return the block for ``size`` channels: the largest divisor up to ``wanted``, or all of them where that is tiny.

    >>> block_of(96, 32), block_of(24, 32), block_of(40, 32), block_of(37, 32)
    (32, 24, 20, 37)
    """
    divisor = next(block for block in range(min(wanted, size), 0, -1) if size % block == 0)
    return divisor if divisor >= min(_LEAST_BLOCK, wanted) else size


def _vectors(model: Any) -> Iterator[str]:
    """Yield the constants of at most one axis, which stay float.

    Converters let layers with equal biases share one, and coremltools refuses layers that share what it might compress
    but want different settings.
    """
    for function in model.get_spec().mlProgram.functions.values():
        for operation in function.block_specializations[function.opset].operations:
            if operation.type == "const" and len(operation.outputs[0].type.tensorType.dimensions) < 2:
                yield layer_name(operation)


def _settings(operation: Operation, plan: Plan) -> Any:
    if operation.name in plan.floats:
        return None
    return _config(plan.of(operation.name), next(iter(weights_of(operation)), None))


def _config(recipe: Recipe, shape: tuple[int, ...] | None) -> Any:
    import coremltools.optimize.coreml as cto

    if recipe.scheme == "lut":
        return _tables(recipe, shape)
    block = recipe.granularity == "block"
    size = block_of(shape[1], recipe.block_size) if block and shape else recipe.block_size
    whole = block and shape is not None and size == shape[1]
    return cto.OpLinearQuantizerConfig(
        mode="linear_symmetric" if recipe.symmetric else "linear",
        dtype=f"int{recipe.weight_bits}",
        granularity="per_channel" if whole else f"per_{recipe.granularity}",
        block_size=size,
        weight_threshold=SMALL,
    )


def _tables(recipe: Recipe, shape: tuple[int, ...] | None) -> Any:
    """Return coremltools' settings of look-up tables: one a tensor, a channel, or a group of channels."""
    import coremltools.optimize.coreml as cto

    size = 1
    if recipe.granularity == "block":
        size = block_of(shape[0], recipe.block_size) if shape else recipe.block_size
    return cto.OpPalettizerConfig(
        mode="custom",
        lut_function=_entries(recipe.weight_bits, recipe.table),
        granularity="per_tensor" if recipe.granularity == "tensor" else "per_grouped_channel",
        group_size=size,
        weight_threshold=SMALL,
    )


@functools.cache
def _entries(bits: int, table: Method) -> Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Return what makes the entries: one object each, as coremltools compares the settings of shared constants."""

    def entries(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        return look_up_table(weight, bits, table)

    return entries


def _words(operation: Operation) -> tuple[str, ...]:
    groups = operation.inputs.get("groups", ())
    count = int(groups[0].constant.reshape(-1)[0]) if groups and groups[0].constant is not None else 1
    shape = next(iter(weights_of(operation)), (0,))
    return ("depthwise", "depthwiseconv2d") if count > 1 and count in shape[:2] and 1 in shape[:2] else ()
