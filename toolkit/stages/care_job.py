"""What is to be taken care of, and which samples that is learned from and judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from toolkit.core import signature
from toolkit.core.artifacts import CareStep, DataRef, Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.ports import Feeds
from toolkit.core.recipe import Recipe
from toolkit.core.sampling import spread
from toolkit.stages import data, work

Use = Literal["learn", "judge", "glance", "all"]
NO_DATA = "there is no calibration data to learn it from"
SAMPLES = 32
"""How many samples a step is learned from, at most."""
JUDGED = 16
"""How many others it is judged by, at most."""
GLANCED = 6
"""How many of those, at most, where inner tensors are looked at, each of which has many values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CareJob:
    """Quantize ``model``, a float artefact of ``target``, by ``recipe`` to ``out``, and take care of its accuracy.

    ``artefact`` and ``source`` are the float artefact's and the source model's signatures. ``data`` is None where the
    user gave none; ``trained`` says that the model was trained with the rounding in mind and brought its ranges along.
    """

    target: str
    model: Path
    artefact: Signature
    source: Signature
    recipe: Recipe
    ranges: Path | None
    data: DataRef | None
    out: Path
    trained: bool = False


def shares_of(count: int, batch: int = 1) -> tuple[int, int]:
    """Return how many of so many samples a step is learned from, and how many it is judged by, in batches.

    They are others, unless there is one batch only.

    >>> shares_of(100), shares_of(12), shares_of(2), shares_of(1)
    ((32, 16), (8, 4), (1, 1), (1, 1))
    >>> shares_of(100, batch=32), shares_of(20, batch=32), shares_of(5, batch=4)
    ((32, 16), (20, 20), (4, 1))
    """
    taken = min(count, SAMPLES + JUDGED)
    batches = [min(batch, taken - start) for start in range(0, taken, batch)]
    judged = sum(batches[1::3])
    return (taken - judged, judged) if judged else (taken, taken)


def samples_of(job: CareJob, use: Use) -> Iterator[Feeds]:
    """Yield all samples; or, of some that are spread evenly over them, two of three to learn from, one to judge by.

    Where there is one batch only, it serves for both. A ``glance`` takes a few of those to judge by.
    """
    assert job.data is not None, "steps that need data ask first"
    if use == "all":
        yield from (batch.feeds for batch in work.batches_of(job.data, job.source))
        return
    if use == "glance":
        batches = -(-judged_by(job) // data.batch_size(job.source))
        chosen = set(spread(batches, GLANCED) or range(batches))
        yield from (feeds for place, feeds in enumerate(samples_of(job, "judge")) if place in chosen)
        return
    place = 0
    first: Feeds | None = None
    for place, batch in enumerate(work.batches_of(job.data, job.source, SAMPLES + JUDGED)):
        first = first or batch.feeds
        if (place % 3 == 1) == (use == "judge"):
            yield batch.feeds
    if use == "judge" and place == 0 and first is not None:
        yield first


def bound_samples_of(job: CareJob, use: Use) -> Iterator[Feeds]:
    """Yield samples as the float artefact takes them."""
    for feeds in samples_of(job, use):
        yield signature.bind(feeds, job.artefact)


def judged_by(job: CareJob) -> int:
    """Return how many samples a step is judged by, where that takes outputs alone."""
    assert job.data is not None, "steps that need data ask first"
    return shares_of(job.data.count, data.batch_size(job.source))[1]


def glanced_at(job: CareJob) -> int:
    """Return how many samples a ``glance`` takes."""
    return min(judged_by(job), GLANCED * data.batch_size(job.source))


def step_of(job: CareJob, name: str, kept: bool, layers: int, levels_db: tuple[float, float], judged: int) -> CareStep:
    """Return what became of a step: the build's closeness to float without and with it, by so many samples."""
    assert job.data is not None, "steps that need data ask first"
    learned, _ = shares_of(job.data.count, data.batch_size(job.source))
    before, after = levels_db
    return CareStep(
        step=name, kept=kept, layers=layers, samples=learned, judged=judged, before_db=before, after_db=after
    )


def bound(made: Signature, base: Signature) -> Signature:
    """Carry over from the float model which tensor of the source each tensor stands for, and in what axis order.

    Raises:
        ModelError: the quantizer added or dropped inputs or outputs.
    """
    return Signature(
        inputs=_bound(made.inputs, base.inputs, "inputs"), outputs=_bound(made.outputs, base.outputs, "outputs")
    )


def _bound(made: tuple[TensorSpec, ...], base: tuple[TensorSpec, ...], what: str) -> tuple[TensorSpec, ...]:
    if len(made) != len(base):
        raise ModelError(f"Quantization turned {len(base)} {what} into {len(made)}.")
    by_name = {spec.name: spec for spec in base}
    same = by_name.keys() == {spec.name for spec in made}
    pairs = [(spec, by_name[spec.name] if same else base[place]) for place, spec in enumerate(made)]
    return tuple(
        replace(spec, source_name=origin.source_name or origin.name, perm=origin.perm) for spec, origin in pairs
    )
