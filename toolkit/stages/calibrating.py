"""What a child process does to calibrate: one pass of a float model over the data, its statistics left in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core import signature
from toolkit.core.artifacts import DataRef, Signature
from toolkit.core.errors import DataError, ModelError, PalmtopError
from toolkit.core.events import Emit
from toolkit.core.ports import Array, Feeds
from toolkit.ranges._survey import Survey
from toolkit.stages import statistics, work
from toolkit.stages.order import target_of
from toolkit.stages.suspicions import DataWatch, rescaled_inputs

CHANNEL_AXIS = 1
"""Where the channels of a rank-4 activation lie, unless the target's ``CHANNEL_AXIS`` says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationJob:
    """Run ``model`` of ``target`` over ``data`` and write the statistics of its tensors to ``out``."""

    target: str
    model: Path
    artefact: Signature
    source: Signature
    data: DataRef
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """How many tensors the statistics hold, and what looked wrong with the data, or might be."""

    tensors: int
    suspicions: tuple[str, ...]
    notes: tuple[str, ...]


def calibrate(job: CalibrationJob, emit: Emit) -> Surveyed:
    """Run the model once over all samples; every range method is served from what this writes.

    Raises:
        DataError: the data ended early or raised half way, or made the model give numbers that are not finite. How
            far it came is said.
        ModelError: the model has no float tensor.
    """
    module = target_of(job.target)
    survey = Survey(getattr(module, "CHANNEL_AXIS", CHANNEL_AXIS))
    stream = _Stream(job, emit)

    def observe(tensor: str, values: Array) -> None:
        try:
            survey.see(tensor, np.asarray(values, np.float32))
        except DataError as error:
            place = f"It is sample {stream.done + 1} of {job.data.count}."
            raise DataError(f"{error.message} {place}", hint=error.hint) from error

    module.calibrate(job.model, stream.feeds(), observe)
    seen = survey.seen()
    if not seen:
        raise ModelError(f"Calibration saw no tensor of {job.model.name}.", hint="Has the model any float operator?")
    with work.room_at(job.out.parent):
        statistics.save(seen, job.out)
    watch = stream.watch
    notes = watch.notes(rescaled_inputs(seen, job.artefact))
    return Surveyed(tensors=len(seen), suspicions=watch.suspicions(), notes=notes)


class _Stream:
    """The samples on their way to the model: watched, counted, and every fault said with how far it came."""

    def __init__(self, job: CalibrationJob, emit: Emit) -> None:
        self._job = job
        self._emit = emit
        self.watch = DataWatch(job.data, job.source)
        self.done = 0

    def feeds(self) -> Iterator[Feeds]:
        job, count = self._job, self._job.data.count
        batches = work.told(work.batches_of(job.data, job.source), count, "calibrate", self._emit)
        while True:
            try:
                batch = next(batches, None)
            except DataError as error:
                raise DataError(self._failed(error.message), hint=error.hint or self._advice()) from error
            except (PalmtopError, MemoryError):
                raise
            except Exception as error:
                raise DataError(self._failed(f"{type(error).__name__}: {error}"), hint=self._advice()) from error
            if batch is None:
                break
            self.watch.see(batch.samples)
            yield signature.bind(batch.feeds, job.artefact)
            self.done += len(batch.samples)
        if self.done != count:
            raise DataError(
                f"The calibration data {job.data.location} gave {self.done} samples rather than {count}.",
                hint=f"Did it change just now? {self._advice()}",
            )

    def _failed(self, why: str) -> str:
        return (
            f"The calibration data {self._job.data.location} failed after {self.done} of {self._job.data.count}: {why}"
        )

    def _advice(self) -> str:
        if self.done == 0:
            return "Not one sample could be used."
        return f"No ranges were kept. `--samples {self.done}` calibrates on those before it."
