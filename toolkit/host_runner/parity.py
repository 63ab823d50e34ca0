"""The outputs of this process held against the golden ones, sample by sample, before anything is timed."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolkit.core.errors import DataError
from toolkit.core.ports import Array, Session

BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Inputs and outputs by tensor name; the first axis is the sample, each with the model's batch axis."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    count: int

    def feeds(self, sample: int) -> dict[str, Array]:
        """Return the inputs of one sample, contiguous."""
        return {name: np.ascontiguousarray(values[sample]) for name, values in self.inputs.items()}


def read(path: Path) -> Golden:
    """Read the golden file.

    Raises:
        DataError: it is no ``.npz`` of plain arrays, is too large, or its arrays disagree on the number of samples.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > BYTES_MAX:
                raise DataError(f"The golden file {path.name} unpacks to more than {BYTES_MAX} bytes.")
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"The golden file {path.name} cannot be read: {error}") from error
    inputs = {name.removeprefix("in/"): values for name, values in arrays.items() if name.startswith("in/")}
    outputs = {name.removeprefix("out/"): values for name, values in arrays.items() if name.startswith("out/")}
    counts = {values.shape[0] if values.ndim else 0 for values in (*inputs.values(), *outputs.values())}
    if not inputs or not outputs or len(counts) != 1 or counts == {0}:
        raise DataError(f"The golden file {path.name} holds no samples, or arrays with different numbers of them.")
    return Golden(inputs=inputs, outputs=outputs, count=counts.pop())


@dataclass(slots=True)
class Distance:
    """How far one output is from the golden one, summed up sample by sample in double precision."""

    max_abs: float = 0.0
    dot: float = 0.0
    square: float = 0.0
    golden_square: float = 0.0
    same_top: int = 0
    scores: bool = True
    samples: int = field(default=0)

    def add(self, value: Array, golden: Array) -> None:
        """Take one sample into account; another shape counts as infinitely far, NaN stays NaN."""
        self.samples += 1
        if value.shape != golden.shape:
            self.max_abs = math.inf
            return
        mine, wanted = value.astype(np.float64).ravel(), golden.astype(np.float64).ravel()
        if not mine.size:
            return
        with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, and NaN is the answer
            self.max_abs = float(np.maximum(self.max_abs, np.max(np.abs(mine - wanted))))
        self.dot += float(mine @ wanted)
        self.square += float(mine @ mine)
        self.golden_square += float(wanted @ wanted)
        self.scores = self.scores and golden.ndim >= 1 and 2 <= golden.shape[-1] == golden.size
        self.same_top += int(np.argmax(mine) == np.argmax(wanted))

    @property
    def cosine(self) -> float:
        """The cosine of all samples as one vector; 1 where both are zero, 0 where one is."""
        if not self.square and not self.golden_square:
            return 1.0
        length = math.sqrt(self.square) * math.sqrt(self.golden_square)
        return self.dot / length if length else 0.0

    @property
    def top1(self) -> float | None:
        """The share of samples whose largest score is the same, or None for an output that is no vector of scores."""
        return self.same_top / self.samples if self.scores and self.samples else None


def check(session: Session, golden: Golden) -> Iterator[dict[str, Distance]]:
    """Run the samples one by one; yields the distances so far by output after each, for signs of life."""
    found = {name: Distance() for name in golden.outputs}
    for sample in range(golden.count):
        outputs = session.run(golden.feeds(sample))
        for name, distance in found.items():
            if name not in outputs:
                raise DataError(f"The golden output {name!r} is none of the model's: {', '.join(outputs)}.")
            distance.add(outputs[name], golden.outputs[name][sample])
        yield found
