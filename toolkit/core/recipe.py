"""A recipe says how to quantize; it is data, read strictly from TOML. Named recipes live in ``toolkit/recipes``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.core import codec
from toolkit.core.errors import SettingsError, unknown_name

RECIPES = Path(__file__).parent.parent / "recipes"
BLOCK_MIN = 16
"""The smallest block of weights that may share a scale; every size is a power of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What some layers get in place of the recipe's own; None leaves the recipe's.

    ``layers`` are patterns as in :mod:`toolkit.core.layers`. Where two overrides name a layer, the later one counts.
    ``weight_bits`` of 32 keeps the layer in float, activations included; so does 16, its weights stored in 16 bits.
    """

    layers: tuple[str, ...]
    weight_bits: Literal[4, 8, 16, 32] | None = None
    activation_bits: Literal[8, 16] | None = None
    granularity: Literal["tensor", "channel"] | None = None
    symmetric: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to quantize, in words that every target shares.

    ``weight_bits`` of 32 or 16 mean float. ``activation_bits`` count where activations are quantized; with mode
    ``none``, 32 asks for plain float arithmetic and 16 lets the runtime compute in half precision.
    ``granularity`` and ``symmetric`` are those of the weights; ``block_size`` counts only for ``block``.
    ``table`` is how the entries of a look-up table are placed: where the squared error is least, or evenly.
    ``range_method`` is how activation ranges follow from the data. ``io`` is the type of the build's own inputs and
    outputs that are float in the source: ``int8`` stands for the runtime's 8-bit type. ``keep_float`` names layers
    that are not quantized, ``overrides`` those that are quantized otherwise (:mod:`toolkit.core.layers`).
    ``equalize`` balances the channels of layers in a row before calibration, so that one scale a tensor serves them all
    (:mod:`toolkit.core.equalization`); ``auto`` tries it where weights have one scale a tensor, and keeps it where that
    brings the build's outputs closer to the float model's.
    ``bias_correction`` takes out of each layer's outputs by how much quantization moved their means over the data;
    ``auto`` keeps it where that brings the build closer to the float model.
    ``adaptive_rounding`` rounds each weight so that the layer's output moves least over the data, in place of to the
    nearest step (:mod:`toolkit.core.rounding`); ``auto`` tries it where rounded weights make most of a
    build's error, which is where activations have more than 8 bits or weights fewer, and keeps it likewise.
    """

    name: str
    summary: str
    weight_bits: Literal[4, 6, 8, 16, 32]
    activation_bits: Literal[8, 16, 32]
    activation_mode: Literal["static", "dynamic", "none"]
    scheme: Literal["affine", "lut"] = "affine"
    granularity: Literal["tensor", "channel", "block"] = "channel"
    block_size: int = 32
    symmetric: bool = True
    table: Literal["kmeans", "uniform"] = "kmeans"
    range_method: Literal["minmax", "moving_average", "percentile", "entropy", "mse"] = "minmax"
    io: Literal["float", "int8"] = "float"
    equalize: Literal[True, False, "auto"] = "auto"
    bias_correction: Literal[True, False, "auto"] = "auto"
    adaptive_rounding: Literal[True, False, "auto"] = "auto"
    keep_float: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether activation ranges have to be learned from samples."""
        return self.activation_mode == "static"

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized at all."""
        return self.weight_bits >= 16 and self.activation_mode == "none"


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with palmtop."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a named recipe, or a recipe file when the word ends in ``.toml``.

    Raises:
        SettingsError: the name is unknown, or the file does not hold a recipe, or one that contradicts itself.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in recipe_names():
            raise unknown_name("recipe", name_or_path, recipe_names())
        path = RECIPES / f"{name_or_path}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"Cannot read the recipe {path}: {error}.", hint="A recipe is a TOML file.") from error
    recipe = codec.structure({"name": path.stem, **table}, Recipe, what=f"recipe {path}")
    fault = contradiction(recipe)
    if fault:
        raise SettingsError(f"The recipe {path} contradicts itself: {fault}.", hint="See docs/recipes.md.")
    return recipe


def contradiction(recipe: Recipe) -> str:
    """Say which two fields of a recipe cannot both hold on any target; empty when all can."""
    mode, bits = recipe.activation_mode, recipe.activation_bits
    size = recipe.block_size
    faults = (
        (mode == "static" and bits == 32, "static activations have 8 or 16 bits, not 32"),
        (mode == "dynamic" and bits != 8, f"dynamic activations have 8 bits, not {bits}"),
        (mode == "none" and bits == 8, "activations of 8 bits want activation_mode static or dynamic"),
        (mode != "none" and recipe.weight_bits >= 16, "quantized activations want weights of 4, 6 or 8 bits"),
        (recipe.weight_bits == 6 and recipe.scheme != "lut", "6-bit weights come as look-up tables only"),
        (recipe.is_float and recipe.scheme != "affine", "float weights have no look-up table"),
        (recipe.io == "int8" and (mode, bits) != ("static", 8), "io int8 wants static 8-bit activations"),
        (size < BLOCK_MIN or size & (size - 1) != 0, f"block_size is a power of two from {BLOCK_MIN} on, not {size}"),
        (recipe.is_float and recipe.equalize is True, "float layers have no scale to share"),
        (recipe.is_float and recipe.bias_correction is True, "float layers have nothing to correct"),
        (recipe.is_float and recipe.adaptive_rounding is True, "float layers have nothing to round"),
        (recipe.scheme == "lut" and recipe.adaptive_rounding is True, "entries of a table are no steps to round to"),
        (recipe.is_float and bool(recipe.keep_float or recipe.overrides), "nothing is quantized, so no layer differs"),
    )
    found = next((fault for holds, fault in faults if holds), "")
    return found or next((fault for override in recipe.overrides if (fault := _fault_of(override, recipe))), "")


def _fault_of(override: Override, recipe: Recipe) -> str:
    words = ", ".join(override.layers)
    settings = (override.weight_bits, override.activation_bits, override.granularity, override.symmetric)
    if not override.layers:
        return "an override names no layers"
    if all(setting is None for setting in settings):
        return f"the override of {words} changes nothing"
    if override.activation_bits is not None and recipe.activation_mode != "static":
        return f"the override of {words} sets activation_bits, but activations are not quantized ahead"
    return ""
