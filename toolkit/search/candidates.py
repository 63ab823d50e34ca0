"""A candidate: a whole-model recipe and what single layers get in its place, as one recipe that a target can build."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from toolkit.core import codec
from toolkit.core.recipe import Override, Recipe, contradiction

Precision = Literal["int8", "int8-act16", "float16", "float32"]
SEARCHED = "searched"
"""The name of every recipe that a search writes, so that its builds are called ``TARGET-searched``."""

_OVERRIDES: Mapping[Precision, dict[str, Any]] = {
    "int8": {"weight_bits": 8},
    "int8-act16": {"activation_bits": 16},
    "float16": {"weight_bits": 16},
    "float32": {"weight_bits": 32},
}
_BYTES: Mapping[Precision, float] = {"int8": 1.0, "int8-act16": 1.0, "float16": 2.0, "float32": 4.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """``base`` with ``choices`` of a precision for single layers, which have the names of ``target``."""

    target: str
    base: Recipe
    choices: dict[str, Precision] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe that builds it."""
        groups = {one: tuple(sorted(self.layers(one))) for one in sorted(set(self.choices.values()))}
        added = tuple(Override(layers=layers, **_OVERRIDES[one]) for one, layers in groups.items())
        said = f"Found by palmtop search: {self.words}."
        return replace(self.base, name=SEARCHED, summary=said, overrides=(*self.base.overrides, *added))

    @property
    def key(self) -> str:
        """A hash that tells it from others of its search, whatever it is called."""
        plain = replace(self.recipe, name="", summary="")
        return hashlib.sha256(codec.canonical([self.target, plain])).hexdigest()[:16]

    @property
    def words(self) -> str:
        """What it is, for people."""
        counts = Counter(self.choices.values())
        return ", ".join([self.base.name, *(f"{count} in {one}" for one, count in sorted(counts.items()))])

    def layers(self, precision: Precision) -> list[str]:
        """Return the layers of one precision."""
        return [layer for layer, one in self.choices.items() if one == precision]

    def with_layers(self, layers: Iterable[str], precision: Precision) -> Candidate:
        """Return it with some more layers chosen."""
        return replace(self, choices={**self.choices, **dict.fromkeys(layers, precision)})

    def without(self, layers: Iterable[str]) -> Candidate:
        """Return it with some layers given back to the base."""
        gone = set(layers)
        return replace(self, choices={layer: one for layer, one in self.choices.items() if layer not in gone})


def named(recipe: Recipe, **changes: Any) -> Recipe:
    """Return a recipe with some fields changed, its name telling which.

    >>> from toolkit.core.recipe import load_recipe
    >>> named(load_recipe("static-int8"), range_method="mse").name
    'static-int8-mse'
    """
    words = "-".join([recipe.name, *(str(value).replace("_", "-") for value in changes.values())])
    return replace(recipe, name=words, **changes)


def obstacle(module: Any, candidate: Candidate) -> str | None:
    """Say why a target cannot build a candidate, None when it can."""
    return contradiction(candidate.recipe) or module.not_expressible(candidate.recipe)


def extra_bytes(precision: Precision, base: Recipe, float32_bytes: int) -> float:
    """Return about how many bytes a layer grows by when it gets a precision in place of the base's."""
    weights = float32_bytes / 4
    return max(0.0, weights * (_BYTES[precision] - base.weight_bits / 8))
