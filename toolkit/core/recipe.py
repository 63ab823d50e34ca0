"""A recipe says how to quantize; it is data, read strictly from TOML. Named recipes live in ``toolkit/recipes``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.core import codec
from toolkit.core.errors import SettingsError, unknown_name

RECIPES = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to quantize, in words that every target shares.

    ``weight_bits`` and ``activation_bits`` of 32 or 16 mean float. ``granularity`` is that of the weights;
    ``block_size`` counts only for ``block``. ``range_method`` is how activation ranges follow from the data.
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
    range_method: Literal["minmax", "percentile", "entropy", "mse"] = "minmax"

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
        SettingsError: the name is unknown, or the file does not hold a recipe.
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
    return codec.structure({"name": path.stem, **table}, Recipe, what=f"recipe {path}")
