"""The samples of a search, read once and split: those that choose, and those that certify and that nothing else sees.

Copies of a sample all go to one side, where but one of them certifies, since the others would tell nothing new; and
what ranges were learned from never certifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import isolation, store
from toolkit.core.artifacts import Blob, DataRef, Signature
from toolkit.core.errors import DataError
from toolkit.core.ports import Sample
from toolkit.core.tools import Tools
from toolkit.stages import data as datasets
from toolkit.stages.order import made_by
from toolkit.stages.recording import RowWriter, open_rows
from toolkit.stages.work import room_at

SPLIT_S = 4 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitJob:
    """Read ``data`` into the folder ``out`` and set ``share`` of it apart; ``calibration`` never certifies."""

    data: DataRef
    calibration: DataRef
    source: Signature
    share: float
    seed: int
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRows:
    """One input of every sample, an ``.npy`` in the data's own order."""

    name: str
    blob: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The samples on disk, and ``.npy`` files of the places of those that choose and of those that certify.

    Both are in random order, so that any first part of them is a fair sample. Those that certify are distinct: of
    copies the first, the others being in neither part.
    """

    inputs: tuple[InputRows, ...]
    selection: Blob
    certification: Blob
    selection_count: int
    certification_count: int


def split(job: SplitJob) -> Parts:
    """Do it; a job for a child process, since data sets run foreign code.

    Raises:
        DataError: the data changed meanwhile, or no sample is left to certify by.
    """
    with room_at(job.out):
        marks = _write(job)
    used = {_mark(sample) for sample in datasets.stream(job.calibration, job.source)}
    selection, certification = _places(marks, used, job.share, job.seed)
    with room_at(job.out):
        np.save(job.out / "selection.npy", selection)
        np.save(job.out / "certification.npy", certification)
    return Parts(
        inputs=tuple(
            InputRows(name=spec.name, blob=store.blob_of(_path(job.out, place)))
            for place, spec in enumerate(job.source.inputs)
        ),
        selection=store.blob_of(job.out / "selection.npy"),
        certification=store.blob_of(job.out / "certification.npy"),
        selection_count=len(selection),
        certification_count=len(certification),
    )


def _path(folder: Path, place: int) -> Path:
    return folder / f"input{place}.npy"


def _write(job: SplitJob) -> list[bytes]:
    marks: list[bytes] = []
    with ExitStack() as stack:
        writers = {
            spec.name: stack.enter_context(closing(RowWriter(_path(job.out, place), spec.name, job.data.count)))
            for place, spec in enumerate(job.source.inputs)
        }
        for sample in datasets.stream(job.data, job.source):
            marks.append(_mark(sample))
            for name, writer in writers.items():
                writer.add(np.asarray(sample.feeds[name]))
    if len(marks) != job.data.count:
        raise DataError(f"{job.data.location} gave {len(marks)} samples rather than {job.data.count}.")
    return marks


def _mark(sample: Sample) -> bytes:
    """Return what tells this sample from others: a hash of all its values."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(sample.feeds):
        values = np.ascontiguousarray(sample.feeds[name])
        digest.update(f"{name} {values.shape} {values.dtype.str}\n".encode())
        digest.update(values.tobytes())
    return digest.digest()


def _places(
    marks: list[bytes], used: Iterable[bytes], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    groups: dict[bytes, list[int]] = {}
    for place, mark in enumerate(marks):
        groups.setdefault(mark, []).append(place)
    rng = np.random.default_rng(seed)
    free = [groups[mark] for mark in groups.keys() - set(used)]
    free.sort()
    wanted = round(share * len(marks))
    certification: list[int] = []
    apart: set[int] = set()
    for index in rng.permutation(len(free)):
        if len(apart) + len(free[index]) <= wanted:
            apart.update(free[index])
            certification.append(free[index][0])
    if not certification:
        raise DataError(
            "No sample is left to certify by.",
            hint="Every sample calibrates, or is a copy of one that does: give more data, or fewer --samples.",
        )
    selection = np.array([place for place in range(len(marks)) if place not in apart], np.int64)
    return rng.permutation(selection), rng.permutation(np.array(certification, np.int64))


def parts_of(job: SplitJob, tools: Tools) -> Parts:
    """Return the split of equal inputs from the cache, or make it; ``job.out`` counts for nothing."""
    inputs = {
        "data": [job.data.sha256, job.data.preprocess],
        "calibration": [job.calibration.sha256, job.calibration.preprocess],
        "source": job.source,
        "share": job.share,
        "seed": job.seed,
        "made_by": made_by(),
    }

    def produce(folder: Path) -> Parts:
        own = SplitJob(
            data=job.data,
            calibration=job.calibration,
            source=job.source,
            share=job.share,
            seed=job.seed,
            out=folder,
        )
        return isolation.isolate(tools, SPLIT_S, split, own)

    return tools.store.memo("search-data/1", inputs, Parts, produce)


def samples_at(parts: Parts, places: NDArray[np.int64]) -> Iterator[Sample]:
    """Yield samples by place, without labels, each from disk as it is wanted."""
    rows: dict[str, NDArray[Any]] = {one.name: open_rows(one.blob.path) for one in parts.inputs}
    for place in places.tolist():
        yield Sample(
            feeds={name: np.array(values[place]) for name, values in rows.items()}, label=None, origin=str(place)
        )
