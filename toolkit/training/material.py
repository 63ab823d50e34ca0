"""Training data on disk, a file an array, so that samples come in any order and memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import DataRef, Signature
from toolkit.core.errors import DataError, ModelError
from toolkit.core.events import Emit, Event
from toolkit.core.ports import Array, Feeds
from toolkit.stages import data
from toolkit.stages.recording import RowWriter, open_rows

Indices = NDArray[np.int64]
HELD_BACK = 10
"""One sample of so many is held back to choose the best epoch on, where no such samples are given."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some samples: arrays by input name, labels and the float model's outputs, all of first axis the samples."""

    inputs: dict[str, Array]
    labels: Array | None
    outputs: dict[str, Array]
    rows: Indices

    def __len__(self) -> int:
        return len(self.rows)

    def feeds(self, places: Indices) -> dict[str, Array]:
        """Return the inputs of the samples at some places, in full."""
        return _taken(self.inputs, self.rows[places])

    def teacher(self, places: Indices) -> dict[str, Array]:
        """Return the float model's outputs for them."""
        return _taken(self.outputs, self.rows[places])

    def labels_at(self, places: Indices) -> Array:
        """Return their labels."""
        assert self.labels is not None, "asked for after a look"
        return self.labels[self.rows[places]]

    def batches(self, size: int) -> Iterator[Indices]:
        """Yield places in order, ``size`` at a time; the last one is filled up from the beginning."""
        for start in range(0, len(self), size):
            yield np.arange(start, start + size) % len(self)


def _taken(arrays: dict[str, Array], rows: Indices) -> dict[str, Array]:
    return {name: np.ascontiguousarray(array[rows]) for name, array in arrays.items()}


def lay_out(ref: DataRef, signature: Signature, folder: Path, emit: Emit) -> Part:
    """Write every sample of a data set to ``folder`` and return all of them, without the float model's outputs.

    Raises:
        DataError: a sample cannot be read, or the labels are not all of one shape.
    """
    folder.mkdir()
    writers = {spec.name: RowWriter(folder / f"input{index}.npy", spec.name, ref.count)
               for index, spec in enumerate(signature.inputs)}  # fmt: skip
    labels = _Labels(ref, folder / "labels.npy")
    step = max(1, ref.count // 50)
    for index, sample in enumerate(data.stream(ref, signature)):
        for name, array in sample.feeds.items():
            writers[name].add(array[0])
        labels.add(sample.label)
        if index % step == 0:
            emit(Event(subject="tune", phase="read", done=index, total=ref.count))
    for writer in writers.values():
        writer.close()
    if labels.count != ref.count:
        raise DataError(f"{ref.location} gave {labels.count} samples rather than {ref.count}.")
    inputs = {spec.name: open_rows(folder / f"input{index}.npy") for index, spec in enumerate(signature.inputs)}
    return Part(inputs, labels.whole(), {}, np.arange(ref.count))


class _Labels:
    """The labels of a data set: numbers in memory, arrays on disk as inputs are."""

    def __init__(self, ref: DataRef, path: Path) -> None:
        self.count = 0
        self._ref, self._path = ref, path
        self._numbers: list[Any] = []
        self._writer: RowWriter | None = None

    def add(self, label: int | Array | None) -> None:
        """Take the next sample's label.

        Raises:
            DataError: it is not of the shape of those before.
        """
        self.count += 1
        if label is None or not self._ref.labelled:
            return
        if np.ndim(label) == 0 and self._writer is None:
            self._numbers.append(label)
            return
        if self._numbers:
            raise self._differ("a number is followed by an array")
        if self._writer is None:
            self._writer = RowWriter(self._path, "labels", self._ref.count)
        try:
            self._writer.add(np.asarray(label))
        except ModelError as error:
            raise self._differ(str(error)) from error

    def whole(self) -> Array | None:
        """Return all of them, None where there are none."""
        if self._writer is not None:
            self._writer.close()
            return open_rows(self._path)
        return np.asarray(self._numbers) if self._numbers else None

    def _differ(self, why: str) -> DataError:
        return DataError(f"The labels of {self._ref.location} are not all of one shape: {why}")


def with_outputs(part: Part, run: Callable[[Feeds], dict[str, Array]], size: int, folder: Path, emit: Emit) -> Part:
    """Run a model over all samples of a part and keep its outputs beside them."""
    writers: dict[str, RowWriter] = {}
    for places in part.batches(size):
        real = min(size, len(part) - int(places[0]))
        emit(Event(subject="tune", phase="run the float model", done=int(places[0]), total=len(part)))
        for name, values in run(part.feeds(places)).items():
            if name not in writers:
                writers[name] = RowWriter(folder / f"output{len(writers)}.npy", name, len(part))
            for row in values[:real]:
                writers[name].add(row)
    for writer in writers.values():
        writer.close()
    return replace(part, outputs={name: open_rows(folder / f"output{i}.npy") for i, name in enumerate(writers)})


def split(part: Part) -> tuple[Part, Part, str]:
    """Hold every tenth sample back; of fewer than twenty none can be, and the words say so."""
    if len(part) < 2 * HELD_BACK:
        return part, part, f"Only {len(part)} samples: the best epoch is chosen on the training samples themselves."
    back = np.arange(len(part)) % HELD_BACK == HELD_BACK - 1
    return replace(part, rows=part.rows[~back]), replace(part, rows=part.rows[back]), ""
