"""What a child process does with one candidate: run it over samples in random order until its drop is decided."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import signature
from toolkit.core.artifacts import Blob, Signature
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.events import Emit, Event
from toolkit.core.metrics import ErrorMeter
from toolkit.core.ports import Feeds, Session
from toolkit.search.evidence import Claim, decide
from toolkit.search.parts import Parts, samples_at
from toolkit.stages import data as datasets
from toolkit.stages import scorer
from toolkit.stages.order import target_of
from toolkit.stages.recording import open_rows
from toolkit.stages.scorer import Task
from toolkit.stages.work import Execution, Recorded, room_at

RUN_S = 4 * 3600
BLOCK = 32
"""Samples between two looks at what they prove."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """What candidates are held against: the float model on every sample, in the data's own order.

    ``outputs`` are an ``.npy`` each, ``labels`` one of what the metric reads beside them (None: nothing), ``values``
    one of the metric's value of every sample.
    """

    task: Task
    outputs: tuple[Recorded, ...]
    labels: Path | None
    values: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """Run a build of ``target`` over the samples at ``places`` (an ``.npy``), in that order.

    With ``stops`` it ends as soon as the drops so far decide the claim; ``scratch`` is a folder that exists.
    """

    target: str
    model: Path
    artefact: Signature
    source: Signature
    parts: Parts
    places: Blob
    standard: Standard
    claim: Claim
    metric_range: tuple[float, float]
    stops: bool
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a build did: the metric's value of each sample it ran over, in the order of the places, and its error."""

    values: tuple[float, ...]
    float_values: tuple[float, ...]
    sqnr_db: float


def run(job: RunJob, emit: Emit) -> Ran:
    """Do it.

    Raises:
        ModelError: the build gives NaN or infinity, or an output of another shape.
        SettingsError: the metric fails on the build's outputs, or gives a number beyond its range.
    """
    places = np.load(job.places.path, allow_pickle=False)
    float_values = open_rows(job.standard.values)[places]
    values: list[float] = []
    block = max(BLOCK, datasets.batch_size(job.source))
    block -= block % datasets.batch_size(job.source)
    meters = {one.name: ErrorMeter(output=one.name) for one in job.standard.outputs}
    module: Any = target_of(job.target)
    with closing(module.open_session(job.model, 0)) as session:
        answers = _answers(session, job, places)
        for start in range(0, len(places), block):
            here = places[start : start + block]
            made = list(islice(answers, len(here)))
            _measure(job, here, made, meters)
            values += _scored(job, here, made)
            emit(Event(subject="run", phase="try", done=len(values), total=len(places)))
            drops = float_values[: len(values)] - np.asarray(values)
            if job.stops and decide(drops, job.claim) != "open":
                break
    return Ran(
        values=tuple(values),
        float_values=tuple(float_values[: len(values)].tolist()),
        sqnr_db=min((meter.result().sqnr_db for meter in meters.values()), default=math.inf),
    )


def _answers(session: Session, job: RunJob, places: NDArray[np.int64]) -> Iterator[Feeds]:
    """Yield the outputs of each sample by the source's names, each with a batch axis of 1 where there is one."""
    size = datasets.batch_size(job.source)
    for batch in datasets.batches(samples_at(job.parts, places), job.source):
        made = session.run(signature.bind(batch.feeds, job.artefact))
        outputs = signature.unbind(made, job.artefact)
        for index in range(len(batch.samples)):
            yield outputs if size == 1 else {name: array[index : index + 1] for name, array in outputs.items()}


def _measure(job: RunJob, places: NDArray[np.int64], made: list[Feeds], meters: dict[str, ErrorMeter]) -> None:
    for recorded in job.standard.outputs:
        expected = open_rows(recorded.path)[places]
        found = [answer.get(recorded.name) for answer in made]
        if any(one is None or one.shape != expected.shape[1:] for one in found):
            raise ModelError(f"The build's output {recorded.name!r} is missing or of another shape.")
        values = np.stack([np.asarray(one) for one in found])
        if not np.isfinite(np.asarray(values, np.float64)).all():
            raise ModelError(f"The build gives NaN or infinity in the output {recorded.name!r}.")
        meters[recorded.name].add(expected, values)


def _scored(job: RunJob, places: NDArray[np.int64], made: list[Feeds]) -> list[float]:
    """Score some samples as a verification would; a user's function sees what it sees there."""
    with tempfile.TemporaryDirectory(dir=job.scratch) as folder, room_at(job.scratch):
        recorded = []
        for index, name in enumerate(made[0]):
            path = Path(folder) / f"output{index}.npy"
            rows = np.stack([np.asarray(answer[name]) for answer in made])
            np.save(path, rows.astype(np.float32) if rows.dtype.kind == "V" else rows)
            recorded.append(Recorded(name=name, path=path))
        labels = None
        if job.standard.labels is not None:
            labels = Path(folder) / "labels.npy"
            np.save(labels, open_rows(job.standard.labels)[places])
        execution = Execution(outputs=tuple(recorded), labels=labels, golden=None, samples=len(places))
        values = scorer.score(job.standard.task, execution)
    check_range(values, job.standard.task.metric, job.metric_range)
    if job.claim.binary and not np.isin(values, (0, 1)).all():
        between = values[~np.isin(values, (0, 1))][0]
        raise SettingsError(
            f"The metric {job.standard.task.metric} gave {between:g} of a build, and but 0 and 1 of the float model.",
            hint="A metric of shares has to give some of the float model, too, to be told from one of hits.",
        )
    return [float(value) for value in values]


def check_range(values: NDArray[np.float64], metric: str, bounds: tuple[float, float]) -> None:
    """Refuse values beyond the metric's scale, on which the proof rests.

    Raises:
        SettingsError: there is one.
    """
    low, high = bounds
    outside = values[(values < low) | (values > high)]
    if outside.size:
        raise SettingsError(
            f"The metric {metric} gave {outside[0]:g}, beyond its range of {low:g} to {high:g}.",
            hint="Say the least and the most it can give with --metric-range LOW,HIGH.",
        )
