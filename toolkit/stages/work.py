"""What runs in child processes: one function a job, with the heavy libraries of one source or one target.

Every function here is called through :func:`toolkit.core.isolation.isolate`, so arguments and results are frozen
values, paths and numbers; big arrays stay in files. A full disk is told from a failing toolchain.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature, store
from toolkit.core.artifacts import (
    CareStep,
    Census,
    DataRef,
    Inspection,
    KeptFloat,
    Range,
    Requirements,
    Signature,
    ToolVersion,
)
from toolkit.core.errors import DataError, ModelError, OutputError
from toolkit.core.events import Emit, Event
from toolkit.core.ports import Array, Feeds, Session
from toolkit.core.recipe import Recipe
from toolkit.stages import data as datasets
from toolkit.stages.data import Batch
from toolkit.stages.order import source_of, target_of
from toolkit.stages.recording import RowWriter

GOLDEN_SAMPLES = 4
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatArtefact:
    """What a conversion says of the file it wrote."""

    signature: Signature
    requirements: Requirements


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedArtefact:
    """What quantization says of the file it wrote."""

    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    requirements: Requirements
    census: Census | None = None
    care: tuple[CareStep, ...] = ()
    deflated_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An output of every sample: an ``.npy``, its first axis the samples, the rest as the model returns one sample."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A model run over a data set. ``labels`` is an ``.npy`` of them, ``golden`` an ``.npz`` (builds only)."""

    outputs: tuple[Recorded, ...]
    labels: Path | None
    golden: Path | None
    samples: int


@contextmanager
def room_at(place: Path) -> Iterator[None]:
    """Tell a full or read-only disk from other faults.

    Raises:
        OutputError: the system says there is no room, whoever asked.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OutputError(
            f"Cannot write to {place}: {error.strerror}.",
            hint="Free space there; PALMTOP_CACHE names another folder for the cache.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What reading a source model tells."""

    signature: Signature
    toolchain: tuple[ToolVersion, ...]


def read(source: str, model: Path, shapes: dict[str, tuple[int, ...]]) -> SourceFacts:
    """Read a source model's signature, and say which libraries could."""
    module = source_of(source)
    found: Signature = module.read(model, shapes)
    libraries = module.read_with(model) if hasattr(module, "read_with") else module.toolchain()
    return SourceFacts(signature=found, toolchain=tuple(libraries))


def freeze(source: str, model: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> str:
    """Run the code that a user named, write the model it makes to a file and return the hash of its content."""
    with room_at(out.parent):
        content: str = source_of(source).freeze(model, shapes, out)
    return content


def export(source: str, model: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write a source model in a form."""
    with room_at(out.parent):
        source_of(source).export(model, form, shapes, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAndExported:
    """What reading a source model tells, and whether it was written in a form, too."""

    facts: SourceFacts
    exported: bool


def read_and_export(
    source: str, model: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path
) -> ReadAndExported:
    """Read a source model and write it in a form while it is loaded; whether that can be done is part of the answer."""
    facts = read(source, model, shapes)
    try:
        export(source, model, form, shapes, out)
    except ModelError:
        return ReadAndExported(facts=facts, exported=False)
    return ReadAndExported(facts=facts, exported=True)


def convert(target: str, form: str, model: Path, source: Signature, out: Path) -> FloatArtefact:
    """Convert a form to a target's float artefact."""
    module = target_of(target)
    with room_at(out.parent):
        made = module.convert(form, model, source, out)
    return FloatArtefact(signature=made, requirements=module.requirements(out))


def quantize(target: str, model: Path, recipe: Recipe, ranges: Path | None, out: Path) -> QuantizedArtefact:
    """Write a quantized artefact from a float one and the ranges of its tensors."""
    learned = json.loads(ranges.read_text(encoding="utf-8")) if ranges is not None else {}
    known = {tensor: Range(low=low, high=high) for tensor, (low, high) in learned.items()}
    module = target_of(target)
    with room_at(out.parent):
        made = module.quantize(model, recipe, known, out)
    return QuantizedArtefact(
        signature=made.signature,
        kept_float=made.kept_float,
        requirements=module.requirements(out),
        census=made.census,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionJob:
    """Run a model over ``data`` into the folder ``out``.

    ``room`` is ``sources`` or ``targets``, ``name`` the module there. ``artefact`` is the model's own signature,
    ``source`` the source model's, whose names the data and the recorded outputs have.
    """

    room: str
    name: str
    model: Path
    shapes: dict[str, tuple[int, ...]]
    artefact: Signature
    source: Signature
    data: DataRef
    out: Path


def execute(job: ExecutionJob, emit: Emit) -> Execution:
    """Run a model over a data set, each output streamed to a file; memory stays flat.

    A build also leaves ``golden.npz``: up to four inferences, evenly spread, as keys ``in/<input>`` and
    ``out/<output>`` with the artefact's own names. The first axis is the inference; each item has the artefact's batch
    axis and dtype, just as the interpreter takes and returns it.
    """
    samples = job.data.count
    size = datasets.batch_size(job.source)
    inferences = -(-samples // size)
    wanted = {(2 * step + 1) * inferences // (2 * GOLDEN_SAMPLES) for step in range(GOLDEN_SAMPLES)}
    kept: list[tuple[Feeds, Feeds]] = []
    labels: list[Any] = []
    with room_at(job.out), closing(_session(job)) as session, closing(_Outputs(job.out, samples, size)) as outputs:
        for index, batch in enumerate(told(batches_of(job.data, job.source), samples, "execute", emit)):
            feeds = signature.bind(batch.feeds, job.artefact)
            answers = session.run(feeds)
            outputs.add(signature.unbind(answers, job.artefact), len(batch.samples))
            labels += [sample.label for sample in batch.samples]
            if job.room == "targets" and index in wanted:
                kept.append((feeds, answers))
    with room_at(job.out):
        return Execution(
            outputs=outputs.recorded(),
            labels=_save_labels(job.out / "labels.npy", labels) if job.data.labelled else None,
            golden=_save_golden(job.out / "golden.npz", kept) if kept else None,
            samples=samples,
        )


def _session(job: ExecutionJob) -> Session:
    if job.room == "sources":
        reference: Session = source_of(job.name).open_session(job.model, job.shapes)
        return reference
    made: Session = target_of(job.name).open_session(job.model, 0)
    return made


class _Outputs:
    """The outputs of all samples, a file each."""

    def __init__(self, folder: Path, samples: int, batch: int) -> None:
        self._folder = folder
        self._samples = samples
        self._batch = batch
        self._writers: dict[str, RowWriter] = {}
        self._paths: dict[str, Path] = {}

    def add(self, outputs: Feeds, real: int) -> None:
        """Append the real samples of one inference."""
        for name, values in outputs.items():
            if name not in self._writers:
                self._paths[name] = self._folder / f"output{len(self._paths)}.npy"
                self._writers[name] = RowWriter(self._paths[name], name, self._samples)
            for row in self._rows(name, np.asarray(values), real):
                self._writers[name].add(row)

    def _rows(self, name: str, values: Array, real: int) -> Iterator[Array]:
        if self._batch == 1:
            yield values
            return
        if values.ndim == 0 or len(values) != self._batch:
            raise ModelError(f"The output {name!r} {list(values.shape)} lacks the batch axis of {self._batch}.")
        for index in range(real):
            yield values[index : index + 1]

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()

    def recorded(self) -> tuple[Recorded, ...]:
        """Return where each output lies."""
        return tuple(Recorded(name=name, path=path) for name, path in self._paths.items())


def _save_labels(path: Path, labels: list[Any]) -> Path:
    try:
        np.save(path, np.asarray(labels), allow_pickle=False)
    except ValueError as error:
        raise DataError(f"The labels are not all of one shape: {error}.") from error
    return path


def _save_golden(path: Path, kept: list[tuple[Feeds, Feeds]]) -> Path:
    arrays = {f"in/{name}": np.stack([feeds[name] for feeds, _ in kept]) for name in kept[0][0]}
    arrays |= {f"out/{name}": np.stack([outputs[name] for _, outputs in kept]) for name in kept[0][1]}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the keys are never `allow_pickle`
    return path


def inspect(room: str, name: str, path: Path) -> Inspection:
    """Read what is in an artefact, or the signature of a source model."""
    if room == "targets":
        found: Inspection = target_of(name).inspect(path)
        return found
    return Inspection(
        format=name,
        signature=source_of(name).read(path, {}),
        layers=(),
        size_bytes=store.size_of(path),
        requirements=None,
    )


def batches_of(data: DataRef, source: Signature, most: int | None = None) -> Iterator[Batch]:
    """Yield the samples of a data set, or ``most`` of them, as the inferences that a source model takes."""
    return datasets.batches(datasets.some(data, source, most), source)


def told(items: Iterable[Batch], total: int, phase: str, emit: Emit) -> Iterator[Batch]:
    """Pass batches on and tell how far it is, at most some fifty times."""
    step = max(1, total // 50)
    done = said = 0
    for item in items:
        yield item
        done += len(item.samples)
        if done - said >= step or done == total:
            said = done
            emit(Event(subject=phase, phase=phase, done=done, total=total))
