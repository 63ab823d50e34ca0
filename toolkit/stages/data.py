"""Data sets of any format, found by where they lie; streamed as samples or as the batches a model takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core import discovery
from toolkit.core.artifacts import DataRef, Preprocess, Signature
from toolkit.core.errors import DataError, ModelError
from toolkit.core.ports import Array, Feeds, Sample
from toolkit.core.sampling import spread
from toolkit.stages.order import DATASETS


@dataclass(frozen=True, slots=True)
class Batch:
    """One inference: arrays by the source's input names in full batch, and how many of its samples are real."""

    feeds: Feeds
    samples: tuple[Sample, ...]


def refer(location: str, signature: Signature, preprocess: Preprocess, limit: int | None) -> DataRef:
    """Find the format of a data set, check it against the model's inputs and return the reference.

    Raises:
        DataError: no format knows the location, or the data does not fit.
    """
    names = discovery.names(DATASETS)
    for name in names:
        module: Any = discovery.load(DATASETS, name)
        if module.recognises(location):
            ref: DataRef = module.refer(location, signature, preprocess, limit)
            return ref
    raise DataError(
        f"{location} is not a data set that palmtop knows, or does not exist.",
        hint=f"Data comes as one of: {', '.join(names)}.",
    )


def stream(ref: DataRef, signature: Signature) -> Iterator[Sample]:
    """Yield the samples of a reference in order."""
    module: Any = discovery.load(DATASETS, ref.format)
    yield from module.stream(ref, signature)


def some(ref: DataRef, signature: Signature, most: int | None) -> Iterator[Sample]:
    """Yield at most ``most`` of the samples of a reference, evenly spread over them; all of them for None."""
    chosen = spread(ref.count, most)
    wanted = None if chosen is None else frozenset(chosen)
    for place, sample in enumerate(stream(ref, signature)):
        if wanted is None or place in wanted:
            yield sample


def scan(ref: DataRef, signature: Signature) -> int:
    """Look at every sample once and return their number: damage, NaN and infinity show before minutes of work.

    Raises:
        DataError: a sample cannot be used; its origin is named.
    """
    count = sum(1 for _ in stream(ref, signature))
    if count != ref.count:
        raise DataError(f"{ref.location} gave {count} samples rather than {ref.count}.", hint="Did it change just now?")
    return count


def batch_size(signature: Signature) -> int:
    """Return the length of the batch axis, which all inputs share.

    Raises:
        ModelError: they do not.
    """
    sizes = {spec.shape[0] if spec.shape else 0 for spec in signature.inputs}
    if len(sizes) != 1:
        said = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in signature.inputs)
        raise ModelError(f"The model's inputs have no batch axis in common: {said}.")
    return max(1, sizes.pop())


def batches(samples: Iterable[Sample], signature: Signature) -> Iterator[Batch]:
    """Group samples into what the model takes at once; the last one is repeated where a batch is not full."""
    size = batch_size(signature)
    waiting: list[Sample] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == size:
            yield _batch(waiting, size)
            waiting = []
    if waiting:
        yield _batch(waiting, size)


def _batch(samples: list[Sample], size: int) -> Batch:
    if size == 1:
        return Batch(feeds=samples[0].feeds, samples=tuple(samples))
    padded = samples + [samples[-1]] * (size - len(samples))
    feeds: dict[str, Array] = {
        name: np.concatenate([sample.feeds[name] for sample in padded]) for name in samples[0].feeds
    }
    return Batch(feeds=feeds, samples=tuple(samples))
