"""How close builds come to the float artefact that they were made from, in the runtime that ships."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature
from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError
from toolkit.core.metrics import ErrorMeter
from toolkit.core.ports import Array, Feeds
from toolkit.stages import tapping
from toolkit.stages.care_job import NO_DATA, CareJob, bound, samples_of
from toolkit.stages.order import target_of

BEST_DB = 120.0
"""Tensors that agree better than this count as this much, so that one exact output does not outweigh the others."""


def closeness(job: CareJob, builds: Mapping[Path, Signature]) -> tuple[float, ...]:
    """Return how close each build comes to the float artefact: the mean SQNR of its outputs in dB, some samples long.

    That is for builds whose inner tensors are other ones; :class:`Levels` sees more. All run side by side in the
    runtime that ships, so that memory is that of one sample.
    """
    module = target_of(job.target)
    meters: dict[Path, dict[str, ErrorMeter]] = {path: {} for path in builds}
    with ExitStack() as stack:
        sessions = {path: stack.enter_context(closing(module.open_session(path, 0))) for path in (job.model, *builds)}
        for feeds in samples_of(job, "judge"):
            wanted_outputs = _answers(sessions[job.model], feeds, job.artefact)
            for path, made in builds.items():
                found = _answers(sessions[path], feeds, bound(made, job.artefact))
                for name, values in wanted_outputs.items():
                    usable = np.isfinite(values)
                    meter = meters[path].setdefault(name, ErrorMeter(output=name))
                    meter.add(values[usable][None], np.asarray(found[name])[usable][None])
    return tuple(_mean_db(list(found.values())) for found in meters.values())


class Levels:
    """The levels of builds of one signature, each measured once: noise to signal in the mean of all tensors, in dB.

    Outputs alone would say little of a classifier: where it is sure, its softmax makes nothing of what rounding does to
    it, so that a few samples on which it is not sure would decide. Inner tensors have many values on every sample, and
    the noisiest count most.
    """

    def __init__(self, job: CareJob, build: Signature) -> None:
        """Measure builds that were made from ``job.model``."""
        self._job = job
        self._build = build
        self._known: dict[Path, float] = {}

    def of(self, *builds: Path) -> tuple[float, ...]:
        """Return the level of each build in dB.

        Raises:
            ModelError: there is no data, the target does not show its activations, or a build does not run.
        """
        if self._job.data is None:
            raise ModelError(NO_DATA)
        for path in builds:
            if path not in self._known:
                self._known[path] = self._measured(path)
        return tuple(self._known[path] for path in builds)

    def _measured(self, build: Path) -> float:
        module, job = target_of(self._job.target), self._job
        if not hasattr(module, "tap"):
            raise ModelError(f"the target {job.target} does not show its activations")
        own = bound(self._build, job.artefact)
        sides = ((path, _feeds(job, one)) for path, one in ((job.model, job.artefact), (build, own)))
        return level_of(tapping.distances(module, *sides).values())


def level_of(meters: Iterable[ErrorMeter]) -> float:
    """Return noise to signal in the mean of all tensors, in dB: 0 where noise drowns them all, :data:`BEST_DB` at best.

    A tensor that is zero throughout in the float artefact has no signal to compare with, and none counts as more than
    lost: what is next to silent would outweigh all others.

    Raises:
        ModelError: no tensor has a partner with a signal.
    """
    found = [meter for meter in meters if meter.signal > 0 or meter.broken]
    if not found:
        raise ModelError("no tensor of the build has a partner in the float artefact")
    shares = [min(1.0, 10 ** (-_level_db(meter) / 10)) for meter in found]
    return -10 * math.log10(math.fsum(shares) / len(shares))


def _feeds(job: CareJob, own: Signature) -> Iterator[Feeds]:
    """Yield a few samples to judge by as an artefact takes them."""
    for feeds in samples_of(job, "glance"):
        yield signature.bind(feeds, own)


def _answers(session: Any, feeds: Feeds, own: Signature) -> dict[str, Array]:
    return signature.unbind(session.run(signature.bind(feeds, own)), own)


def _mean_db(meters: list[ErrorMeter]) -> float:
    return math.fsum(map(_level_db, meters)) / max(1, len(meters))


def _level_db(meter: ErrorMeter) -> float:
    return max(-BEST_DB, min(BEST_DB, meter.result().sqnr_db))
