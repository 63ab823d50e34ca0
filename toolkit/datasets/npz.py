"""Data sets in one ``.npz``: an array per input name, its first axis the samples, and optionally ``labels``.

``labels`` holds one class number a sample, or any array a sample for a metric of your own; ``label_names`` the classes'
names. A model with one input takes the file's only other array whatever its name. Arrays are read member by member out
of the zip and sample by sample out of the member (compressed ones too), never whole; pickled objects are refused.

Whole numbers become the input's dtype when they fit into it. Preprocessing applies to floating-point inputs; an input
of whole numbers (token ids, raw bytes) takes its values as they are. Images are stored in their final height and width,
channels last (turned when the layout is ``nchw``) or in the input's own order.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import preprocess as arithmetic
from toolkit.core import store
from toolkit.core.artifacts import DataRef, Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.ports import Array, Sample
from toolkit.core.sampling import spread

LABELS = "labels"
LABEL_NAMES = "label_names"
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
_MOST_DIMENSIONS = 32


@dataclass(frozen=True, slots=True)
class _Header:
    """An array of the file: where it lies and what its ``.npy`` header says."""

    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


@dataclass(frozen=True, slots=True)
class _Feed:
    """Which array feeds an input, and whether it is turned from channels-last to channels-first."""

    spec: TensorSpec
    header: _Header
    array: str
    turned: bool


def recognises(location: str) -> bool:
    """Whether the name ends in ``.npz``."""
    return location.lower().endswith(".npz")


def refer(location: str, signature: Signature, preprocess: Preprocess, limit: int | None) -> DataRef:
    """Check the file's headers against the model's inputs and return the reference.

    ``limit`` takes an evenly spread part, balanced over the classes where labels are class numbers
    (:func:`toolkit.core.sampling.spread`).

    Raises:
        DataError: it cannot be read, holds no sample, or its names, shapes or dtypes do not fit.
    """
    arithmetic.check(preprocess)
    with _opened(location) as archive:
        headers = _headers(archive, location)
        feeds = _match(location, headers, signature, preprocess)
        count = _count(location, headers, feeds)
        labels = _read_whole(archive, location, headers[LABELS]) if _labelled(headers, signature) else None
        names = _label_names(archive, location, headers, signature)
    chosen = _chosen(count, limit, labels)
    digest = hashlib.sha256(store.sha256_of(Path(location)).encode())
    digest.update(repr(chosen).encode())
    return DataRef(
        format="npz",
        location=location,
        sha256=digest.hexdigest(),
        count=count if chosen is None else len(chosen),
        labelled=labels is not None,
        label_names=names,
        limit=limit,
        preprocess=preprocess,
    )


def stream(ref: DataRef, signature: Signature) -> Iterator[Sample]:
    """Yield the chosen samples in the file's order, read from disk one at a time.

    Raises:
        DataError: the file is damaged, or a sample holds NaN, infinity or a number beyond the input's dtype.
    """
    with _opened(ref.location) as archive, ExitStack() as stack:
        headers = _headers(archive, ref.location)
        feeds = _match(ref.location, headers, signature, ref.preprocess)
        count = _count(ref.location, headers, feeds)
        labels = _read_whole(archive, ref.location, headers[LABELS]) if _labelled(headers, signature) else None
        chosen = _chosen(count, ref.limit, labels)
        indices = range(count) if chosen is None else chosen
        readers = {feed.spec.name: stack.enter_context(_rows(archive, ref.location, feed, indices)) for feed in feeds}
        for index in indices:
            arrays = {
                feed.spec.name: _ready(next(readers[feed.spec.name]), feed, ref.preprocess, f"{ref.location}[{index}]")
                for feed in feeds
            }
            yield Sample(feeds=arrays, label=_label(labels, index), origin=f"{ref.location}[{index}]")


def _label(labels: Array | None, index: int) -> int | Array | None:
    if labels is None:
        return None
    return int(labels[index]) if _is_class_numbers(labels) else labels[index]


def _is_class_numbers(labels: Array) -> bool:
    return labels.ndim == 1 and labels.dtype.kind in "iub"


def _chosen(count: int, limit: int | None, labels: Array | None) -> tuple[int, ...] | None:
    classes = labels.tolist() if labels is not None and _is_class_numbers(labels) else None
    return spread(count, limit, classes)


@contextmanager
def _opened(location: str) -> Iterator[zipfile.ZipFile]:
    path = Path(location)
    if not path.is_file():
        raise DataError(f"There is no data file {location}.", hint="Check the path given with -d.")
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise DataError(
            f"{location} is not an .npz file or is damaged: {error}.", hint="`numpy.savez` writes one."
        ) from error
    with archive:
        yield archive


def _headers(archive: zipfile.ZipFile, location: str) -> dict[str, _Header]:
    found = {}
    for member in archive.namelist():
        name = member.removesuffix(".npy")
        if name in found:
            raise DataError(f"{location} holds the array {name!r} twice.")
        try:
            with archive.open(member) as file:
                found[name] = _header(file, member)
        except _BROKEN as error:
            raise DataError(
                f"Cannot read the array {name!r} of {location}: {error}.", hint="Write it again with `numpy.savez`."
            ) from error
        if found[name].dtype.hasobject:
            raise DataError(
                f"The array {name!r} of {location} holds Python objects, which palmtop never reads.",
                hint="Store numbers: all samples of one shape and dtype.",
            )
    return found


def _header(file: IO[bytes], member: str) -> _Header:
    version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its .npy format {version} is not one for plain numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)  # type: ignore[no-untyped-call]
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise ValueError(f"its shape {shape} is not one of an array")
    return _Header(member=member, shape=shape, dtype=dtype, fortran=fortran, offset=file.tell())


def _labelled(headers: dict[str, _Header], signature: Signature) -> bool:
    return LABELS in headers and LABELS not in {spec.name for spec in signature.inputs}


def _match(
    location: str, headers: dict[str, _Header], signature: Signature, preprocess: Preprocess
) -> tuple[_Feed, ...]:
    inputs = {spec.name: spec for spec in signature.inputs}
    arrays = [name for name in headers if name in inputs or name not in (LABELS, LABEL_NAMES)]
    renamed = {name: name for name in inputs}
    if len(inputs) == 1 and len(arrays) == 1:
        renamed = {next(iter(inputs)): arrays[0]}
    for name in renamed.values():
        if name not in headers:
            raise DataError(
                f"{location} has no array for the input {name!r}.",
                hint=f"It holds: {', '.join(arrays) or 'none'}. Name the arrays after the inputs: {', '.join(inputs)}.",
            )
    extra = [name for name in arrays if name not in renamed.values()]
    if extra:
        near = difflib.get_close_matches(extra[0], [*inputs, LABELS], n=1)
        raise DataError(
            f"{location} holds the array {extra[0]!r}, which is neither an input nor `{LABELS}`.",
            hint=f"Did you mean {near[0]!r}?" if near else f"The inputs: {', '.join(inputs)}.",
        )
    return tuple(_feed(location, spec, renamed[name], headers, preprocess) for name, spec in inputs.items())


def _feed(location: str, spec: TensorSpec, array: str, headers: dict[str, _Header], preprocess: Preprocess) -> _Feed:
    header = headers[array]
    where = f"The array {array!r} of {location}"
    if not spec.shape:
        raise DataError(f"The input {spec.name!r} is a single number without a batch axis, which data cannot feed.")
    _check_dtype(where, header.dtype, spec)
    stored, wanted = header.shape[1:], spec.shape[1:]
    turned = arithmetic.turns(stored, wanted, preprocess)
    if not header.shape or not (turned or arithmetic.fits(stored, wanted)):
        said = ", ".join(["samples", *map(str, wanted)])
        raise DataError(
            f"{where} is {list(header.shape)}; the input {spec.name!r} wants [{said}].",
            hint="The first axis is the samples; the others have to be the model's.",
        )
    if np.dtype(spec.dtype).kind == "f":
        along = arithmetic.channel_count(stored, preprocess, turned=turned)
        for name, numbers in (("mean", preprocess.mean), ("std", preprocess.std)):
            if len(numbers) > 1 and len(numbers) != along:
                raise DataError(f"{where} has {along} channels, and the preprocessing's {name} {len(numbers)} values.")
    return _Feed(spec=spec, header=header, array=array, turned=turned)


def _check_dtype(where: str, have: np.dtype[Any], spec: TensorSpec) -> None:
    try:
        wanted = np.dtype(spec.dtype)
    except TypeError as error:
        raise DataError(f"The input {spec.name!r} is of dtype {spec.dtype}, which an .npz cannot hold.") from error
    safe = {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}.get(wanted.kind, "")
    if have.kind not in safe:
        raise DataError(
            f"{where} is of dtype {have}; the input {spec.name!r} wants {spec.dtype}.",
            hint="Convert it before saving: only whole numbers and floats become floats, only whole ones whole ones.",
        )


def _count(location: str, headers: dict[str, _Header], feeds: Sequence[_Feed]) -> int:
    counts = {feed.array: feed.header.shape[0] for feed in feeds}
    if LABELS in headers and LABELS not in counts:
        labels = headers[LABELS]
        if not labels.shape or labels.dtype.kind not in "iubf":
            raise DataError(f"The array `{LABELS}` of {location} does not hold one number or array a sample.")
        counts[LABELS] = labels.shape[0]
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"The arrays of {location} have unlike numbers of samples: {said}.")
    count = next(iter(counts.values()))
    if count == 0:
        raise DataError(f"{location} holds no samples.", hint="Give at least one, better a hundred.")
    return count


def _read_whole(archive: zipfile.ZipFile, location: str, header: _Header) -> Array:
    """Read a small array: labels, or one in Fortran order, which has no samples in a row."""
    try:
        if math.prod(header.shape) * header.dtype.itemsize > archive.getinfo(header.member).file_size:
            raise EOFError("it is shorter than its header says")
        with archive.open(header.member) as file:
            whole: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    except _BROKEN as error:
        raise _damaged(location, header, error) from error
    if header.member == f"{LABELS}.npy" and whole.ndim > 1 and whole.shape[1:] == (1,):
        whole = whole[:, 0]
    return whole


def _label_names(
    archive: zipfile.ZipFile, location: str, headers: dict[str, _Header], signature: Signature
) -> tuple[str, ...]:
    if LABEL_NAMES not in headers or LABEL_NAMES in {spec.name for spec in signature.inputs}:
        return ()
    header = headers[LABEL_NAMES]
    if len(header.shape) != 1 or header.dtype.kind != "U":
        raise DataError(f"The array `{LABEL_NAMES}` of {location} is not a list of words.")
    return tuple(str(name) for name in _read_whole(archive, location, header))


@contextmanager
def _rows(archive: zipfile.ZipFile, location: str, feed: _Feed, indices: Sequence[int]) -> Iterator[Iterator[Array]]:
    """Open an array and give its chosen samples one by one, each [1, ...]."""
    header = feed.header
    if header.fortran and len(header.shape) > 1:
        whole = _read_whole(archive, location, header)
        yield (np.ascontiguousarray(whole[index : index + 1]) for index in indices)
        return
    with archive.open(header.member) as file:
        yield _read_rows(file, location, header, indices)


def _read_rows(file: IO[bytes], location: str, header: _Header, indices: Sequence[int]) -> Iterator[Array]:
    size = math.prod(header.shape[1:]) * header.dtype.itemsize
    for index in indices:
        try:
            file.seek(header.offset + index * size)
            raw = file.read(size)
        except _BROKEN as error:
            raise _damaged(location, header, error) from error
        if len(raw) != size:
            raise _damaged(location, header, EOFError(f"it ends within sample {index}"))
        yield np.frombuffer(raw, header.dtype).reshape(1, *header.shape[1:])


def _damaged(location: str, header: _Header, error: Exception) -> DataError:
    name = header.member.removesuffix(".npy")
    return DataError(
        f"The array {name!r} of {location} is damaged: {error}.", hint="Write it again with `numpy.savez`."
    )


def _ready(stored: Array, feed: _Feed, preprocess: Preprocess, origin: str) -> Array:
    """Turn a stored sample into the input: preprocessed, in its dtype, finite."""
    wanted = np.dtype(feed.spec.dtype)
    if wanted.kind != "f":
        return _whole_numbers(stored, wanted, feed, origin)
    with np.errstate(over="ignore", invalid="ignore"):
        ready = arithmetic.apply(stored, preprocess, turned=feed.turned).astype(wanted)
    if not np.isfinite(ready).all():
        word = "NaN" if np.isnan(ready).any() else "infinity"
        raise DataError(
            f"The array {feed.array!r} holds {word} in sample {origin}.", hint="Remove the sample or mend the array."
        )
    return ready


def _whole_numbers(stored: Array, wanted: np.dtype[Any], feed: _Feed, origin: str) -> Array:
    if wanted.kind in "iu" and stored.size and stored.dtype.kind in "iu":
        limits = np.iinfo(wanted)
        if int(stored.min()) < limits.min or int(stored.max()) > limits.max:
            raise DataError(
                f"The array {feed.array!r} holds numbers beyond the input's dtype {wanted} in sample {origin}."
            )
    turned = stored.transpose(0, 3, 1, 2) if feed.turned else stored
    return np.ascontiguousarray(turned, dtype=wanted)
