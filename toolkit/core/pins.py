"""Activation ranges that a model brings along, because it was trained with them: ``NAME.ranges.json`` beside it.

Tensors have other names in every runtime, and fused ones vanish, so a range belongs to a *fingerprint*: a few numbers
that do not depend on the order of a tensor's axes, taken on the made-up inputs of :mod:`toolkit.core.probe`. A tensor
of another runtime that has the same fingerprint on the same inputs is the same tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.core import codec, store
from toolkit.core.artifacts import Range
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.ports import Array

SUFFIX = ".ranges.json"
SAME = 2e-4
"""Largest difference between two fingerprints of one tensor, as a share of its largest absolute value."""
_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A tensor's number of elements, and mean, mean absolute, least and largest value."""

    size: int
    mean: float
    mean_abs: float
    low: float
    high: float

    def is_same(self, other: Fingerprint) -> bool:
        """Whether both are of one tensor, as far as two runtimes can agree."""
        scale = max(abs(self.low), abs(self.high), 1e-30)
        pairs = (
            (self.mean, other.mean),
            (self.mean_abs, other.mean_abs),
            (self.low, other.low),
            (self.high, other.high),
        )
        return self.size == other.size and all(abs(one - two) <= SAME * scale for one, two in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The range ``[low, high]`` that training gave to one tensor; ``site`` is its name in the framework."""

    site: str
    low: float
    high: float
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The whole of a ``.ranges.json``."""

    schema: Literal[1] = 1
    pins: tuple[Pin, ...]


def beside(model: Path) -> Path:
    """Return where the ranges of a model file lie if it brings any."""
    return model.with_suffix(SUFFIX)


def files(model: Path) -> tuple[Path, ...]:
    """Return a model file, and its ranges where it brings some: what its content lies in."""
    return (model, beside(model)) if beside(model).is_file() else (model,)


def fingerprint(values: Array) -> Fingerprint:
    """Take a tensor's fingerprint, in float64."""
    wide: NDArray[np.float64] = np.asarray(values, np.float64)
    return Fingerprint(
        size=wide.size,
        mean=float(wide.mean()),
        mean_abs=float(np.abs(wide).mean()),
        low=float(wide.min()),
        high=float(wide.max()),
    )


def write(path: Path, pins: Sequence[Pin]) -> None:
    """Write a ``.ranges.json``.

    Raises:
        OutputError: the folder cannot be written.
    """
    store.write_atomic(path, codec.pretty(Pins(pins=tuple(pins))))


def read(path: Path) -> tuple[Pin, ...]:
    """Read a ``.ranges.json``.

    Raises:
        ModelError: it is damaged, or a range in it is none.
    """
    hint = "It belongs to the model beside it; `palmtop tune` writes both. Without it ranges are calibrated."
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise ModelError(f"{path} is larger than any list of ranges.", hint=hint)
        found = codec.structure(json.loads(path.read_text(encoding="utf-8")), Pins, what=str(path)).pins
    except (OSError, ValueError, RecursionError, SettingsError) as error:
        raise ModelError(f"Cannot read the ranges {path}: {error}", hint=hint) from error
    for pin in found:
        if not -math.inf < pin.low <= pin.high < math.inf:
            raise ModelError(f"{path} gives {pin.site!r} the range [{pin.low}, {pin.high}].", hint=hint)
    return found


def matched(pins: Sequence[Pin], tensors: Iterable[tuple[str, Fingerprint]]) -> dict[str, Range]:
    """Return the range of each tensor whose fingerprint is a pin's; of several such pins, the widest."""
    found: dict[str, Range] = {}
    for name, mark in tensors:
        same = [pin for pin in pins if pin.fingerprint.is_same(mark)]
        if same:
            found[name] = Range(low=min(pin.low for pin in same), high=max(pin.high for pin in same))
    return found
