"""One artefact by itself: what is in it, and what it answers to arrays from a file."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import discovery, signature, store
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import DataError, ModelError
from toolkit.core.ports import Array, Session
from toolkit.stages import importer
from toolkit.stages.order import TARGETS, source_of, target_of
from toolkit.stages.recording import RowWriter
from toolkit.stages.work import room_at

LABELS = frozenset({"labels", "label_names"})
_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def room_of(path: Path) -> tuple[str, str]:
    """Return the room (``targets`` or ``sources``) and the name of what reads a file, by its ending.

    A target comes first: what may be an artefact is executed by the runtime that ships.

    Raises:
        ModelError: it is missing, or nothing reads it.
    """
    if not importer.is_there(path):
        raise ModelError(f"There is no model {path}.", hint="Check the path.")
    suffix = path.suffix.lower()
    names = list(reversed(discovery.names(TARGETS)))
    artefacts = {target_of(name).SUFFIX: name for name in names}
    relatives = {ending: name for name in names for ending in getattr(target_of(name), "RELATED_SUFFIXES", ())}
    if suffix in {**relatives, **artefacts}:
        return "targets", {**relatives, **artefacts}[suffix]
    try:
        return "sources", importer.recognise(path)
    except ModelError as error:
        raise ModelError(error.message, hint=f"{error.hint} Builds end in: {', '.join(sorted(artefacts))}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayJob:
    """Run ``model`` over the arrays of ``inputs`` and write its outputs to ``output``; ``threads`` 0 is the default."""

    room: str
    name: str
    model: Path
    inputs: Path
    output: Path
    threads: int


def play(job: PlayJob) -> Signature:
    """Do the job, in a child process, and return the signature by whose names the arrays went.

    Raises:
        DataError: the arrays cannot be read or do not fit the model.
        OutputError: the output file cannot be written.
    """
    with closing(_session(job)) as session:
        own = Signature(
            inputs=tuple(_plain(spec) for spec in session.signature.inputs), outputs=session.signature.outputs
        )
        arrays = _arrays(job.inputs, own)
        with store.writing_to(job.output.parent):
            job.output.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=job.output.parent, prefix=f".{job.output.name}.")
        with folder as scratch, room_at(job.output):
            paths = _run(session, own, arrays, Path(scratch))
            made = Path(scratch) / "outputs.npz"
            with zipfile.ZipFile(made, "w") as archive:
                for tensor, path in paths.items():
                    with path.open("rb") as rows, archive.open(f"{tensor}.npy", "w", force_zip64=True) as member:
                        shutil.copyfileobj(rows, member)
            made.replace(job.output)
    return own


def _plain(spec: TensorSpec) -> TensorSpec:
    return replace(spec, source_name="", perm=())


def _session(job: PlayJob) -> Session:
    if job.room == "sources":
        source: Session = source_of(job.name).open_session(job.model, {})
        return source
    made: Session = target_of(job.name).open_session(job.model, job.threads)
    return made


def _arrays(path: Path, own: Signature) -> dict[str, NDArray[Any]]:
    """Read the arrays by input name; a model with one input takes the file's only array whatever its name."""
    names = [spec.name for spec in own.inputs]
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array, not an .npz")
        with loaded:
            given = [name for name in loaded.files if name in names or name not in LABELS]
            if len(names) == 1 and len(given) == 1:
                return {names[0]: loaded[given[0]]}
            unknown = [name for name in given if name not in names]
            missing = [name for name in names if name not in given]
            if unknown or missing:
                wrong = f"no array for the input {missing[0]!r}" if missing else f"an unknown array {unknown[0]!r}"
                raise DataError(f"{path} has {wrong}.", hint=f"The model's inputs: {', '.join(names)}.")
            return {name: loaded[name] for name in names}
    except _BROKEN as error:
        raise DataError(f"Cannot read {path}: {error}.", hint="`numpy.savez` writes such a file.") from error


def _run(session: Session, own: Signature, arrays: dict[str, NDArray[Any]], scratch: Path) -> dict[str, Path]:
    """Run batch after batch; an output without the batch axis is taken as it is from the only run there may be."""
    size, count = _sizes(own, arrays)
    paths: dict[str, Path] = {}
    writers: dict[str, RowWriter] = {}
    with ExitStack() as stack:
        for feeds, real in _slices(own, arrays, size, count):
            for name, values in session.run(signature.bind(feeds, own)).items():
                path = paths.setdefault(name, scratch / f"output{len(paths)}.npy")
                if values.ndim == 0 or len(values) != size:
                    _save_single(path, name, values, only_run=count <= size)
                    continue
                if name not in writers:
                    writers[name] = stack.enter_context(closing(RowWriter(path, name, count)))
                for row in values[:real]:
                    writers[name].add(np.asarray(row))
    return paths


def _save_single(path: Path, name: str, values: Array, *, only_run: bool) -> None:
    if not only_run:
        raise ModelError(
            f"The output {name!r} {list(values.shape)} has no batch axis, so samples cannot be told apart.",
            hint="Give one sample at a time.",
        )
    np.save(path, values, allow_pickle=False)


def _sizes(own: Signature, arrays: dict[str, NDArray[Any]]) -> tuple[int, int]:
    """Return the model's batch and the number of samples given; both 1 for inputs without a batch axis in common."""
    batched = [spec for spec in own.inputs if spec.shape]
    sizes = {max(1, spec.shape[0]) for spec in batched}
    if len(sizes) != 1:
        return 1, 1
    counts = {spec.name: len(arrays[spec.name]) if arrays[spec.name].ndim else 0 for spec in batched}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"The arrays have unlike numbers of samples: {said}.")
    if 0 in counts.values():
        raise DataError("There is no sample in the arrays.", hint="The first axis is the samples; give at least one.")
    return sizes.pop(), next(iter(counts.values()))


def _slices(
    own: Signature, arrays: dict[str, NDArray[Any]], size: int, count: int
) -> Iterator[tuple[dict[str, Array], int]]:
    """Cut the samples into batches, the last sample repeated where a batch is not full."""
    if count == size:
        yield arrays, count
        return
    for start in range(0, count, size):
        indices = np.minimum(np.arange(start, start + size), count - 1)
        batch = {spec.name: arrays[spec.name][indices] if spec.shape else arrays[spec.name] for spec in own.inputs}
        yield batch, min(size, count - start)
