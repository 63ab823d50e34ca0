"""What a child process does to confirm a layer's cost: a real build that quantizes it alone, run as it would ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature
from toolkit.core.artifacts import DataRef, Range, Signature
from toolkit.core.errors import ModelError
from toolkit.core.events import Emit, Event
from toolkit.core.metrics import ErrorMeter
from toolkit.core.ports import Array, Feeds
from toolkit.core.recipe import Recipe
from toolkit.search.values import Confirmed
from toolkit.stages import work
from toolkit.stages.order import target_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLayer:
    """A layer to quantize alone: the first outputs of its operators, the one with weights first."""

    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildsJob:
    """Build ``model``, the float artefact of ``target``, once a layer and run each over ``data``.

    ``samples`` takes at most so many of it, evenly spread. ``scratch`` is where one build lies at a time.
    """

    target: str
    model: Path
    artefact: Signature
    source: Signature
    recipe: Recipe
    ranges: Path | None
    data: DataRef
    layers: tuple[OneLayer, ...]
    scratch: Path
    samples: int | None = None


def confirm(job: BuildsJob, emit: Emit) -> tuple[Confirmed, ...]:
    """Return the output's SQNR of every single-layer build, named by the layer's first output.

    A layer that the runtime's own quantizer leaves in float is left out, with a warning.
    """
    module = target_of(job.target)
    operators = {layer.outputs[0]: layer.outputs[0] for layer in module.inspect(job.model).layers if layer.outputs}
    learned = {} if job.ranges is None else json.loads(job.ranges.read_text(encoding="utf-8"))
    ranges = {tensor: Range(low=low, high=high) for tensor, (low, high) in learned.items()}
    found = []
    for number, layer in enumerate(job.layers, 1):
        alone = replace(job.recipe, keep_float=tuple(name for name in operators if name not in layer.outputs))
        out = job.scratch.with_suffix(module.SUFFIX)
        try:
            module.quantize(job.model, alone, ranges, out)
            found.append(Confirmed(layer=layer.outputs[0], output_sqnr_db=_sqnr_db(module, job, out)))
        except ModelError as error:
            said = f"No build of the layer {layer.outputs[0]} alone: {error.message}"
            emit(Event(subject="sensitivity", phase="noted", message=said, level="warning"))
        out.unlink(missing_ok=True)
        emit(Event(subject="sensitivity", phase="confirm", done=number, total=len(job.layers)))
    return tuple(found)


def _sqnr_db(module: Any, job: BuildsJob, build: Path) -> float:
    """Hold a build against the float artefact over the samples; the worst of its float outputs counts."""
    meters: dict[str, ErrorMeter] = {}
    with closing(module.open_session(job.model, 1)) as base, closing(module.open_session(build, 1)) as made:
        for feeds in _feeds(job):
            expected, values = base.run(feeds), made.run(feeds)
            for name in expected:
                _add(meters.setdefault(name, ErrorMeter(output=name)), expected[name], values[name])
    return min(meter.result().sqnr_db for meter in meters.values())


def _add(meter: ErrorMeter, expected: Array, values: Array) -> None:
    usable = np.isfinite(expected)
    meter.add(expected[usable][None], np.asarray(values)[usable][None])


def _feeds(job: BuildsJob) -> Iterator[Feeds]:
    for batch in work.batches_of(job.data, job.source, job.samples):
        yield signature.bind(batch.feeds, job.artefact)
