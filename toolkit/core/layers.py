"""Which layers a recipe means: patterns of names, globs, operator types and places, resolved on one artefact.

A pattern is the name of a layer (as ``palmtop inspect --layers`` prints it), a glob over names such as ``block_3/*``,
an operator type, or ``@first`` or ``@last``, the first or last layer with weights in the order of execution. Operator
types are compared without case, ``_`` and ``-``, and some words mean the same on every target: ``conv`` (depthwise and
transposed ones too), ``depthwise``, ``linear``, ``matmul``, ``softmax``, ``norm``, ``gelu``, ``embedding``. A pattern
``onnx:…`` counts on that target alone.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.core import discovery
from toolkit.core.errors import SettingsError
from toolkit.core.recipe import Override, Recipe

TARGETS = "toolkit.targets"
FIRST, LAST = "@first", "@last"

_SHARED_WORDS: Mapping[str, tuple[str, ...]] = {
    "conv": ("conv", "conv2d", "conv3d", "depthwiseconv2d", "convtranspose", "transposeconv", "conv3dtranspose"),
    "depthwise": ("depthwiseconv2d",),
    "linear": ("gemm", "fullyconnected", "linear"),
    "matmul": ("matmul", "batchmatmul"),
    "norm": ("layernormalization", "layernorm", "instancenorm", "instancenormalization", "groupnormalization"),
    "embedding": ("gather", "embeddinglookup"),
    "sigmoid": ("sigmoid", "logistic"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator of an artefact, in the order of execution.

    ``words`` are further operator types that it answers to, such as ``depthwise`` for a Conv of as many groups as
    channels; ``aliases`` further names, such as those of its outputs.
    """

    name: str
    operator: str
    weighted: bool
    words: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a recipe means on one artefact, by layer name.

    ``floats`` maps the layers that stay float to the pattern that says so; ``overrides`` the layers that are quantized
    otherwise to what they get, with every setting filled in that any override gave. ``halves`` are those of ``floats``
    whose weights are to be stored in 16 bits.
    """

    floats: Mapping[str, str]
    overrides: Mapping[str, Override]
    halves: frozenset[str] = frozenset()


def choose(recipe: Recipe, layers: Sequence[Layer], target: str) -> Choice:
    """Resolve the patterns of a recipe on the layers of one artefact.

    Raises:
        SettingsError: a pattern matches no layer; the nearest name is offered.
    """
    floats: dict[str, str] = {}
    overrides: dict[str, Override] = {}
    halves: set[str] = set()
    for pattern in recipe.keep_float:
        floats |= dict.fromkeys(matching(pattern, layers, target), pattern)
    for override in recipe.overrides:
        names = {name: pattern for pattern in override.layers for name in matching(pattern, layers, target)}
        if override.weight_bits in (16, 32):
            floats |= names
            halves = halves | names.keys() if override.weight_bits == 16 else halves - names.keys()
            continue
        for name in names:
            overrides[name] = _over(overrides.get(name), override)
            floats.pop(name, None)
    return Choice(
        floats=floats,
        overrides={name: over for name, over in overrides.items() if name not in floats},
        halves=frozenset(halves & floats.keys()),
    )


def _over(earlier: Override | None, later: Override) -> Override:
    if earlier is None:
        return later
    return replace(
        later,
        weight_bits=later.weight_bits or earlier.weight_bits,
        activation_bits=later.activation_bits or earlier.activation_bits,
        granularity=later.granularity or earlier.granularity,
        symmetric=earlier.symmetric if later.symmetric is None else later.symmetric,
    )


def matching(pattern: str, layers: Sequence[Layer], target: str) -> tuple[str, ...]:
    """Return the names of the layers that one pattern means; none where it is for another target.

    Raises:
        SettingsError: it is for this target and matches no layer.
    """
    where, colon, rest = pattern.partition(":")
    if colon and where in discovery.names(TARGETS):
        if where != target:
            return ()
        pattern = rest
    if pattern in (FIRST, LAST):
        weighted = [layer.name for layer in layers if layer.weighted]
        found = weighted[:1] if pattern == FIRST else weighted[-1:]
    else:
        word = _plain(pattern)
        found = [layer.name for layer in layers if _is_meant(pattern, word, layer)]
    if not found:
        raise _unmatched(pattern, layers, target)
    return tuple(dict.fromkeys(found))


def _is_meant(pattern: str, word: str, layer: Layer) -> bool:
    names = (layer.name, *layer.aliases)
    if pattern in names:
        return True
    if any(mark in pattern for mark in "*?[") and any(fnmatch.fnmatchcase(name, pattern) for name in names):
        return True
    operator = _plain(layer.operator)
    return bool(word) and (word == operator or word in layer.words or operator in _SHARED_WORDS.get(word, ()))


def _plain(text: str) -> str:
    return text.casefold().replace("_", "").replace("-", "")


def _unmatched(pattern: str, layers: Sequence[Layer], target: str) -> SettingsError:
    names = _unique(layer.name for layer in layers)
    operators = _unique(layer.operator for layer in layers)
    by_case = {known.casefold(): known for known in (*operators, *names)}
    near = difflib.get_close_matches(pattern.casefold(), list(by_case), n=1, cutoff=0.5)
    guess = f"Did you mean {by_case[near[0]]!r}? " if near else ""
    return SettingsError(
        f"The pattern {pattern!r} of the recipe matches no layer of the {target} model.",
        hint=f"{guess}It has {len(names)} layers ({', '.join(operators[:8])}{', …' if len(operators) > 8 else ''}); "
        "`palmtop inspect --layers` on a float32 build lists them. `onnx:PATTERN` counts on one target alone.",
    )


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for word in words if word))
