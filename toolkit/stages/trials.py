"""Builds with one more step of care each: corrected biases, and weights rounded otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.core.linear import LinearLayer, mean_shift
from toolkit.core.ports import Array, Feeds
from toolkit.core.rounding import rounded
from toolkit.stages import learning
from toolkit.stages.care_job import NO_DATA, CareJob, bound_samples_of
from toolkit.stages.order import target_of

NO_LAYER = "no layer has an integer weight and a bias that could take it"
NO_GRID = "no layer has integer weights of its own that could be rounded otherwise"


@dataclass(frozen=True, slots=True)
class Trial:
    """A build with a step taken, on how many layers."""

    build: Path
    layers: int


class Workshop:
    """A build, the float artefact that it was made from, and what is learned of them once for all steps."""

    def __init__(self, job: CareJob, scratch: Path, *, correct: bool) -> None:
        self.job = job
        self.module = target_of(job.target)
        self.scratch = scratch
        self.correct = correct
        self._pairs: list[tuple[LinearLayer, LinearLayer]] | None = None
        self._means: dict[str, Array] | None = None

    @property
    def pairs(self) -> list[tuple[LinearLayer, LinearLayer]]:
        """The layers whose weights the build does not hold as they were: of the float artefact, and of the build.

        Raises:
            ModelError: there is no data to learn anything from, or the artefacts cannot be read.
        """
        if self.job.data is None:
            raise ModelError(NO_DATA)
        if self._pairs is None:
            floats = {layer.name: layer for layer in self.module.linear_layers(self.job.model)}
            layers = self.module.linear_layers(self.job.out)
            found = [(floats[layer.name], layer) for layer in layers if layer.name in floats]
            self._pairs = [pair for pair in found if _is_rounded(*pair)]
        return self._pairs

    def samples(self) -> Iterator[Feeds]:
        """Yield the samples to learn from, as the float artefact takes them."""
        return bound_samples_of(self.job, "learn")

    def shifts(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """Return what to add to each bias once some layers have other weights than the build's."""
        pairs = [(layer, replace(made, weight=weights.get(made.name, made.weight))) for layer, made in self.pairs]
        fit = [pair for pair in pairs if pair[1].bias is not None]
        if self._means is None:
            layers = [layer for layer, _ in fit]
            self._means = learning.means_of(self.module, self.job.model, layers, self.samples())
        means = self._means
        return {layer.name: mean_shift(layer, made, means[layer.name]) for layer, made in fit if layer.name in means}


def corrected(shop: Workshop) -> Trial:
    """Build with corrected biases.

    Raises:
        ModelError: no layer takes it.
    """
    shifts = shop.shifts({})
    if not shifts:
        raise ModelError(NO_LAYER)
    out = shop.scratch / f"corrected{shop.job.out.suffix}"
    shop.module.correct_biases(shop.job.out, shifts, out)
    return Trial(out, len(shifts))


def adaptively_rounded(shop: Workshop) -> Trial:
    """Build with weights rounded by what they are multiplied by, and biases that go with them.

    Where a bias makes good how far an output's mean moves, only how it varies counts in rounding.

    Raises:
        ModelError: no layer takes it.
    """
    pairs = {layer.name: (layer, made) for layer, made in shop.pairs if made.grid is not None}
    layers = [layer for layer, _ in pairs.values()]
    weights: dict[str, Array] = {}
    for layer, moments in learning.moments_of(shop.module, shop.job.model, layers, shop.samples):
        made = pairs[layer.name][1]
        assert made.grid is not None, "others were left out"
        second = moments.second(centred=shop.correct and made.bias is not None)
        weights[layer.name] = rounded(layer.weight, made.grid, second)
    if not weights:
        raise ModelError(NO_GRID)
    out = shop.scratch / f"rounded{shop.job.out.suffix}"
    shop.module.reweigh(shop.job.out, weights, out)
    shifts = shop.shifts(weights) if shop.correct else {}
    if not shifts:
        return Trial(out, len(weights))
    both = shop.scratch / f"rounded-corrected{shop.job.out.suffix}"
    shop.module.correct_biases(out, shifts, both)
    return Trial(both, len(weights))


def _is_rounded(layer: LinearLayer, made: LinearLayer) -> bool:
    return made.weight.shape == layer.weight.shape and not np.array_equal(made.weight, layer.weight)
