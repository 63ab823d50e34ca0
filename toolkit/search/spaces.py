"""Which candidates there are for a target: the whole-model recipes, and what their layers may get instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from toolkit.core.recipe import Recipe, load_recipe
from toolkit.search.candidates import Candidate, Precision, named, obstacle
from toolkit.search.costs import Weigh
from toolkit.search.explorer import Space
from toolkit.search.requests import SearchRequest
from toolkit.stages.order import target_of

BASE = "static-int8"
RANGE_METHODS = ("percentile", "minmax", "mse", "entropy")
"""Tried beside the recipe's own."""
WEIGHTS = "weight-int8"
"""8-bit weights, float arithmetic: the other recipe whose layers are measured one by one."""
_SMALLER = ("weight-int4", "weight-int4-block", "lut-4bit")
_WHOLES = ("float16",)
_SPARE = ("static-int8-act16",)
"""Slow to run on many hosts: no kernels but plain ones."""


def space_of(target: str, request: SearchRequest, weigh: Weigh) -> Space:
    """Return the candidates of one target, without those that it cannot express or whose weight cannot be told.

    Raises:
        DataError: the measured run has no figure of any.
    """
    static = load_recipe(BASE)
    variants = [static, *(named(static, range_method=one) for one in RANGE_METHODS if one != static.range_method)]
    variants.append(named(static, granularity="tensor"))
    smaller = [] if request.integer_only or weigh.measured is not None else [load_recipe(one) for one in _SMALLER]
    weights = [] if request.integer_only else [load_recipe(WEIGHTS)]
    families = tuple(_candidates(target, recipes, weigh) for recipes in (variants, weights, smaller))
    others = _candidates(target, [load_recipe(one) for one in _WHOLES], weigh)
    if not any((*families, others)):
        weigh.check_knows(target, BASE)
    return Space(
        target=target,
        bases=families,
        precisions=(*(_precisions(family, weigh) for family in families[:2]), ("int8",)),
        wholes=others,
        spare=_candidates(target, [load_recipe(one) for one in _SPARE], weigh),
        weigh=weigh,
        jobs=request.jobs,
        trials=request.trials,
    )


def _candidates(target: str, recipes: Iterable[Recipe], weigh: Weigh) -> tuple[Candidate, ...]:
    module = target_of(target)
    made = (Candidate(target=target, base=recipe) for recipe in recipes if weigh.knows_whole(target, recipe.name))
    return tuple(one for one in made if obstacle(module, one) is None)


def _precisions(bases: Sequence[Candidate], weigh: Weigh) -> tuple[Precision, ...]:
    """Return what the layers of a family may get; float32 only where float16 cannot be had."""
    if not bases:
        return ()

    def offered(precision: Precision) -> bool:
        one = bases[0].with_layers(["any"], precision)
        return obstacle(target_of(one.target), one) is None and weigh.knows(one.target, precision)

    floats: tuple[Precision, ...] = ("float16",) if offered("float16") else ("float32",)
    return tuple(one for one in (*floats, "int8-act16") if offered(one))
