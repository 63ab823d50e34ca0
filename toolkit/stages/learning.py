"""What one look at some samples tells of the inputs of a model's layers: their means, and how alike they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.linear import LinearLayer, mean_taps
from toolkit.core.ports import Array, Feeds
from toolkit.core.rounding import Moments

_PASS_BYTES = 256 * 1024 * 1024
"""Moments of at most this many bytes are kept at a time, for which the samples are run through the model again."""
LAYER_BYTES = 128 * 1024 * 1024
"""A layer whose moments alone are larger keeps its nearest integers: rounding it takes ten times as much."""


@dataclass(slots=True)
class Means:
    """The mean input of each layer, as :func:`toolkit.core.linear.mean_taps` says it."""

    _sums: dict[str, Array] = field(default_factory=dict)
    _count: int = 0

    def add(self, layer: LinearLayer, values: Array) -> None:
        """Take in the input of a layer in one sample."""
        self._sums[layer.name] = self._sums.get(layer.name, 0.0) + mean_taps(layer, values)

    def end_sample(self) -> None:
        """Count a sample."""
        self._count += 1

    def found(self) -> dict[str, Array]:
        """Return the means, float64, of the layers where all are finite."""
        return {name: total / self._count for name, total in self._sums.items() if np.isfinite(total).all()}


def means_of(module: Any, model: Path, layers: Iterable[LinearLayer], samples: Iterable[Feeds]) -> dict[str, Array]:
    """Run a float artefact over samples; of each only the means are kept."""
    readers, means = _readers(layers), Means()

    def observe(tensor: str, values: Array) -> None:
        for layer in readers.get(tensor, ()):
            means.add(layer, values)

    if readers:
        module.tap(model, _counted(samples, means), observe)
    return means.found()


def moments_of(
    module: Any, model: Path, layers: Iterable[LinearLayer], samples: Callable[[], Iterable[Feeds]]
) -> Iterator[tuple[LinearLayer, Moments]]:
    """Yield each layer with the moments of its input, as many at a time as memory is meant for.

    Args:
        module: the target.
        model: its float artefact.
        layers: the layers to look at; those above :data:`LAYER_BYTES` are left out, as are those that saw
            something that is not finite.
        samples: yields the samples, once more at each call.
    """
    for group in _passes(list(layers)):
        readers = _readers(group)
        held = {layer.name: Moments(layer) for layer in group}

        def observe(
            tensor: str,
            values: Array,
            readers: dict[str, list[LinearLayer]] = readers,
            held: dict[str, Moments] = held,
        ) -> None:
            for layer in readers.get(tensor, ()):
                held[layer.name].add(values)

        module.tap(model, samples(), observe)
        yield from ((layer, held[layer.name]) for layer in group if held[layer.name].is_usable)


def _counted(samples: Iterable[Feeds], means: Means) -> Iterator[Feeds]:
    for feeds in samples:
        yield feeds
        means.end_sample()


def _readers(layers: Iterable[LinearLayer]) -> dict[str, list[LinearLayer]]:
    readers: dict[str, list[LinearLayer]] = {}
    for layer in layers:
        readers.setdefault(layer.source, []).append(layer)
    return readers


def _passes(layers: Sequence[LinearLayer]) -> Iterator[list[LinearLayer]]:
    group: list[LinearLayer] = []
    held = 0
    for layer in layers:
        size = Moments.size_bytes(layer)
        if size > LAYER_BYTES:
            continue
        if group and held + size > _PASS_BYTES:
            yield group
            group, held = [], 0
        group.append(layer)
        held += size
    if group:
        yield group
