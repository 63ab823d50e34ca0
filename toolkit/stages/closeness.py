"""How close builds come to the float artefact that they were made from, in the runtime that ships."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature
from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError
from toolkit.core.metrics import ErrorMeter
from toolkit.core.ports import Array, Feeds
from toolkit.stages.care_job import NO_DATA, CareJob, bound, samples_of
from toolkit.stages.order import target_of

BEST_DB = 120.0
"""Outputs that agree better than this count as this much, so that one exact output does not outweigh the others."""


def closeness(job: CareJob, builds: Mapping[Path, Signature]) -> tuple[float, ...]:
    """Return how close each build comes to the float artefact: the mean SQNR of its outputs in dB, some samples long.

    All run side by side in the runtime that ships, so that memory is that of one sample.
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
    """The closeness of builds of one signature, each measured once."""

    def __init__(self, job: CareJob, build: Signature) -> None:
        self._job = job
        self._build = build
        self._known: dict[Path, float] = {}

    def of(self, *builds: Path) -> tuple[float, ...]:
        """Return the level of each build in dB; those that are new are run side by side.

        Raises:
            ModelError: there is no data, or a build does not run.
        """
        if self._job.data is None:
            raise ModelError(NO_DATA)
        new = dict.fromkeys((path for path in builds if path not in self._known), self._build)
        if new:
            self._known |= dict(zip(new, closeness(self._job, new), strict=True))
        return tuple(self._known[path] for path in builds)


def _answers(session: Any, feeds: Feeds, own: Signature) -> dict[str, Array]:
    return signature.unbind(session.run(signature.bind(feeds, own)), own)


def _mean_db(meters: list[ErrorMeter]) -> float:
    found = [meter.result().sqnr_db for meter in meters]
    return math.fsum(max(-BEST_DB, min(BEST_DB, one)) for one in found) / max(1, len(found))
