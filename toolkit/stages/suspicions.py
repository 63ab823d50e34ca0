"""What looks wrong with calibration data: copies, constant samples, values of the wrong size, classes left out.

Nothing here is an error: data may be odd on purpose. But ranges learned from odd data are wrong ranges.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.core.artifacts import DataRef, Preprocess, Signature, TensorSpec
from toolkit.core.ports import Array, Sample
from toolkit.ranges.base import Seen

PIXEL_MAX = 255.0
MANY_COPIES = 0.02
"""The share of samples that are copies of earlier ones from which on it is said."""
LARGE_CLASS = 3.0
"""A class is too large when it has this many times its fair share..."""
LARGEST_SHARE = 0.8
"""...or this share of all samples, however few classes there are."""
FEW_PER_CLASS = 5
"""Samples per class, on average, from which on a class without any is suspicious."""
TINY_FILL = 0.02
"""The share of the expected interval that values should fill, or they have been scaled already."""
SCALED = 0.1
"""A tensor this much narrower than the input of its size is the input, scaled by the model itself."""
_REMEMBERED = 100_000
"""Samples whose hashes are kept, and labels that are counted, at most."""


@dataclass(slots=True)
class _Extent:
    low: float = np.inf
    high: float = -np.inf
    whole: bool = True

    def see(self, values: Array) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.whole = self.whole and bool((values == np.floor(values)).all())


class DataWatch:
    """Looks at every sample as it passes; keeps a few numbers, and eight bytes a sample up to 100,000 of them."""

    def __init__(self, ref: DataRef, signature: Signature) -> None:
        self._ref = ref
        self._extents = {spec.name: _Extent() for spec in signature.inputs if _is_image(spec, ref.preprocess)}
        self._samples = self._copies = self._constant = 0
        self._known: set[bytes] = set()
        self._labels: Counter[int] = Counter()

    def see(self, samples: Iterable[Sample]) -> None:
        """Take samples into account."""
        for sample in samples:
            self._samples += 1
            self._look(sample)

    def _look(self, sample: Sample) -> None:
        mark = _mark(sample)
        if mark in self._known:
            self._copies += 1
        elif len(self._known) < _REMEMBERED:
            self._known.add(mark)
        wide = [values for values in sample.feeds.values() if values.size > 1]
        self._constant += bool(wide) and all((values == values.flat[0]).all() for values in wide)
        for name, extent in self._extents.items():
            if sample.feeds[name].size:
                extent.see(sample.feeds[name])
        if isinstance(sample.label, int | np.integer) and len(self._labels) < _REMEMBERED:
            self._labels[int(sample.label)] += 1

    def suspicions(self) -> tuple[str, ...]:
        """Return what looks wrong, each in a sentence."""
        found = [*self._of_samples(), *self._of_labels()]
        if not _is_plain(self._ref.preprocess):
            for name, extent in self._extents.items():
                if extent.low <= extent.high:
                    found += _misfits(name, extent, self._ref.preprocess)
        return tuple(found)

    def notes(self, rescaled: Container[str] = ()) -> tuple[str, ...]:
        """Return what is wrong in some models only; ``rescaled`` are the inputs that the model itself scales."""
        if not _is_plain(self._ref.preprocess):
            return ()
        return tuple(
            f"{_span(name, extent)} in whole numbers, as raw pixels do: right only if the model scales them itself."
            for name, extent in self._extents.items()
            if name not in rescaled and extent.whole and extent.low >= 0 and PIXEL_MAX / 2 < extent.high <= PIXEL_MAX
        )

    def _of_samples(self) -> Iterable[str]:
        if self._constant:
            yield f"{_of(self._constant, self._samples)} hold the same value everywhere."
        if self._copies > max(1.0, MANY_COPIES * self._samples):
            yield f"{_of(self._copies, self._samples)} are copies of earlier ones: they teach nothing new."

    def _of_labels(self) -> Iterable[str]:
        names = self._ref.label_names
        classes = max(len(names), len(self._labels))
        counted = self._labels.total()
        if classes < 2 or counted < FEW_PER_CLASS * 2:
            return
        label, most = self._labels.most_common(1)[0]
        if most / counted > min(LARGEST_SHARE, max(LARGE_CLASS / classes, 0.2)):
            word = names[label] if 0 <= label < len(names) else str(label)
            yield f"{_of(most, counted)} are of the class {word!r}, one of {classes}: ranges will fit that class best."
        absent = [name for index, name in enumerate(names) if index not in self._labels]
        if absent and counted >= FEW_PER_CLASS * classes:
            some = ", ".join(repr(name) for name in absent[:3]) + (", …" if len(absent) > 3 else "")
            yield f"{len(absent)} of {classes} classes have no sample: {some}."


def _of(count: int, samples: int) -> str:
    return f"{count} of {samples} samples"


def _mark(sample: Sample) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(sample.feeds):
        values = np.ascontiguousarray(sample.feeds[name])
        digest.update(f"{name} {values.shape} {values.dtype.str}\n".encode())
        digest.update(values.tobytes())
    return digest.digest()


def _is_image(spec: TensorSpec, preprocess: Preprocess) -> bool:
    channels = spec.shape[-1 if preprocess.layout == "nhwc" else 1] if len(spec.shape) == 4 else 0
    return spec.dtype == "float32" and channels in (1, 3)


def rescaled_inputs(seen: Sequence[Seen], artefact: Signature) -> frozenset[str]:
    """Return the source's inputs of which the model makes something as large and much smaller in value.

    That is what a layer that divides pixels by 255 does; its output has as many elements as the input.
    """
    known = {one.tensor: one for one in seen}
    found = set()
    for spec in artefact.inputs:
        given = known.get(spec.name)
        if given is not None and any(_is_scaled(given, one) for one in seen if one is not given):
            found.add(spec.source_name or spec.name)
    return frozenset(found)


def _is_scaled(given: Seen, made: Seen) -> bool:
    width, before = made.high - made.low, given.high - given.low
    return made.elements == given.elements and 0 < width < SCALED * before


def _misfits(name: str, extent: _Extent, preprocess: Preprocess) -> Iterable[str]:
    """Hold an image input's values against what its preprocessing makes of pixels from 0 to 255."""
    low, high = _declared(preprocess)
    slack = TINY_FILL * (high - low)
    if extent.high - extent.low < slack:
        yield (
            f"{_span(name, extent)}, where the preprocessing turns pixels of 0 to 255 into {low:.4g} to {high:.4g}: "
            "scaled twice?"
        )
    if extent.low < low - slack or extent.high > high + slack:
        yield (
            f"{_span(name, extent)}, beyond the {low:.4g} to {high:.4g} "
            "that the preprocessing makes of pixels of 0 to 255."
        )


def _span(name: str, extent: _Extent) -> str:
    return f"The input {name!r} spans {extent.low:.4g} to {extent.high:.4g}"


def _is_plain(preprocess: Preprocess) -> bool:
    return preprocess.scale == 1 and not preprocess.mean and not preprocess.std


def _declared(preprocess: Preprocess) -> tuple[float, float]:
    mean = np.array(preprocess.mean or (0.0,), np.float64)
    std = np.array(preprocess.std or (1.0,), np.float64)
    ends = np.array([(pixel * preprocess.scale - mean) / std for pixel in (0.0, PIXEL_MAX)])
    return float(ends.min()), float(ends.max())
