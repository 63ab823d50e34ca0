"""What a child process does to find where a build loses accuracy: float artefact and build run side by side.

Both see the same samples in lockstep, and only the float artefact's activations of one sample are kept at a time, so
memory grows neither with the samples nor with the layers' number of runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from toolkit.core import signature
from toolkit.core.artifacts import DataRef, LayerError, LayerFact, Signature
from toolkit.core.metrics import ErrorMeter
from toolkit.core.ports import Array, Feeds
from toolkit.stages import data as datasets
from toolkit.stages.order import target_of

MOST_LAYERS = 500

Side = tuple[Path, Iterator[Feeds]]
"""A model file and samples as it takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The errors of a build's layers, the worst first, or in ``note`` why there are none."""

    errors: tuple[LayerError, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One model file of a target and its own signature."""

    path: Path
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class TapJob:
    """Hold the layers of ``build`` against those of ``base``, its float artefact, over ``data``.

    ``samples`` takes at most so many of it, evenly spread.
    """

    target: str
    base: Artefact
    build: Artefact
    source: Signature
    data: DataRef
    samples: int | None = None


def compare_layers(job: TapJob) -> Layers:
    """Run both artefacts and return the SQNR of every layer that both have, at most the worst 500.

    A layer that makes several tensors counts by its worst. Values where the float artefact itself is not finite, such
    as those of a mask, are left out.
    """
    module = target_of(job.target)
    sides = ((one.path, _feeds(job, one)) for one in (job.base, job.build))
    meters = distances(module, *sides)
    makers = _makers(module, job)
    errors = _worst_by_layer({name: meter for name, meter in meters.items() if name in makers}, makers)
    note = "" if errors else "no tensor of the build has a partner in the float artefact"
    return Layers(errors=errors, note=note)


def distances(module: Any, base: Side, build: Side) -> dict[str, ErrorMeter]:
    """Return how far the tensors of a build are from those of the same name and shape of its float artefact.

    Args:
        module: the target.
        base: the float artefact and its samples.
        build: the build and the same samples as it takes them.
    """
    meters: dict[str, ErrorMeter] = {}
    with closing(_Reference(module, *base)) as reference:

        def samples() -> Iterator[Feeds]:
            for feeds in build[1]:
                reference.advance()
                yield feeds

        def observe(name: str, values: Array) -> None:
            expected = reference.values.get(name)
            if expected is not None and expected.shape == values.shape:
                meter = meters.setdefault(name, ErrorMeter(output=name))
                usable = np.isfinite(expected)
                meter.add(expected[usable][None], np.asarray(values)[usable][None])

        module.tap(build[0], samples(), observe)
    return meters


def _worst_by_layer(meters: dict[str, ErrorMeter], makers: dict[str, LayerFact]) -> tuple[LayerError, ...]:
    worst: dict[str, LayerError] = {}
    for tensor, meter in meters.items():
        fact = makers[tensor]
        error = LayerError(layer=fact.name, operator=fact.operator, sqnr_db=meter.result().sqnr_db)
        if error.sqnr_db < worst.get(fact.name, error).sqnr_db or fact.name not in worst:
            worst[fact.name] = error
    return tuple(sorted(worst.values(), key=lambda error: error.sqnr_db)[:MOST_LAYERS])


def _makers(module: Any, job: TapJob) -> dict[str, LayerFact]:
    """Map tensors to the layers that make them: the build's own where it still has the tensor under this name."""
    return {
        tensor: layer
        for artefact in (job.base, job.build)
        for layer in module.inspect(artefact.path).layers
        for tensor in layer.outputs
    }


def _feeds(job: TapJob, artefact: Artefact) -> Iterator[Feeds]:
    for batch in datasets.batches(datasets.some(job.data, job.source, job.samples), job.source):
        yield signature.bind(batch.feeds, artefact.signature)


class _Reference:
    """The float artefact in a thread that stands still until the next sample is wanted.

    ``tap`` calls back and does not return before its samples end, so two taps in lockstep take two threads; only one
    of them runs at any time.
    """

    def __init__(self, module: Any, path: Path, feeds: Iterator[Feeds]) -> None:
        self.values: dict[str, Array] = {}
        self._module = module
        self._path = path
        self._feeds = feeds
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._run: Future[None] | None = None
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._ready: SimpleQueue[bool] = SimpleQueue()

    def advance(self) -> None:
        """Let ``values`` be the next sample's activations by tensor name.

        Raises:
            Exception: what running the float artefact raised.
        """
        if self._run is None:
            self._run = self._pool.submit(self._tap)
        self._wanted.put(True)
        if not self._ready.get():
            self._run.result()
            raise AssertionError("the float artefact ended before its samples did")

    def close(self) -> None:
        """End the thread."""
        self._wanted.put(False)
        self._pool.shutdown()

    def _tap(self) -> None:
        try:
            self._module.tap(self._path, self._samples(), self._keep)
        finally:
            self._ready.put(False)

    def _samples(self) -> Iterator[Feeds]:
        for feeds in self._feeds:
            if not self._wanted.get():
                return
            self.values = {}
            yield feeds
            self._ready.put(True)  # the tap asks for the next sample, so it has shown all of this one

    def _keep(self, name: str, values: Array) -> None:
        self.values[name] = np.array(values, np.float32)
