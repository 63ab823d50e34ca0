"""Does the build compute on this device what it computed on the reference interpreter? Pure: values in, verdict out.

The check runs before any timing and a build that fails it has no figures: a fast wrong answer is not a measurement.
What it must find is a wrong file, a wrong layout, a broken kernel or NaN, all of which move outputs by large parts of
their range; what it must let pass is another order of additions and a rounding step that falls the other way.

- floats: 1/128 of the largest golden magnitude of that output. Behind a float output there often is an 8-bit tensor
  whose step is 1/255 of its range; this is two such steps. Half floats have eleven bits, so the same bound covers them.
- 8-bit integers: 2 counts, for the same reason. 16-bit integers: 512 counts, the same part of their range.
- wider integers and booleans: 0. They are indices, counts or classes, and one off is another answer.

Besides, the cosine of a float output must be at least 0.999: it finds an output whose large values are right by chance
while the small ones are noise. It says nothing of an output that is all zero and is not asked there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobile_harness.records import Parity

COSINE_MIN = 0.999
UNCHECKED = Parity(ok=False, max_abs=math.nan, cosine=math.nan, samples=0, tolerance=0.0)

_FLOAT_SHARE = 1 / 128
_COUNTS = {"int8": 2.0, "uint8": 2.0, "int16": 512.0, "uint16": 512.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the host knows of one golden output; ``scale`` is its largest magnitude over all samples."""

    output: str
    dtype: str
    scale: float
    samples: int

    @property
    def tolerance(self) -> float:
        """The largest absolute difference that passes."""
        if np.dtype(self.dtype).kind == "f":
            return max(self.scale * _FLOAT_SHARE, float(np.finfo(np.float32).tiny))
        return _COUNTS.get(self.dtype, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the device says of one output (:class:`mobile_harness.wire.messages.ParityReading`)."""

    output: str
    max_abs: float
    cosine: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict, and in words why a failed one failed."""

    parity: Parity
    reason: str = ""


def expect(outputs: Mapping[str, NDArray[Any]]) -> tuple[Expected, ...]:
    """Describe golden outputs, arrays whose first axis is the sample."""
    return tuple(
        Expected(
            output=name,
            dtype=str(values.dtype),
            scale=float(np.max(np.abs(values.astype(np.float64)), initial=0.0)),
            samples=len(values),
        )
        for name, values in outputs.items()
    )


def judge(expected: Sequence[Expected], readings: Sequence[Reading]) -> Judgement:
    """Hold what the device read against what was expected; the worst output decides and is the one recorded."""
    if not expected:
        return Judgement(parity=UNCHECKED)
    given = {reading.output: reading for reading in readings}
    missing = [item.output for item in expected if item.output not in given]
    if missing:
        return Judgement(parity=UNCHECKED, reason=f"the device did not check the output {missing[0]!r}")
    pairs = [(item, given[item.output]) for item in expected]
    faults = [fault for item, reading in pairs if (fault := _fault(item, reading))]
    item, reading = max(pairs, key=lambda pair: _severity(*pair))
    parity = Parity(
        ok=not faults,
        max_abs=reading.max_abs,
        cosine=min((other.cosine for _, other in pairs), key=_nan_first),
        samples=min(other.samples for _, other in pairs),
        tolerance=item.tolerance,
    )
    return Judgement(parity=parity, reason="; ".join(faults))


def _nan_first(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _severity(item: Expected, reading: Reading) -> float:
    if math.isnan(reading.max_abs):
        return math.inf
    return reading.max_abs / item.tolerance if item.tolerance else reading.max_abs


def _fault(item: Expected, reading: Reading) -> str:
    if reading.samples < item.samples:
        return f"only {reading.samples} of {item.samples} golden samples were checked on output {item.output!r}"
    if not reading.max_abs <= item.tolerance:
        return (
            f"output {item.output!r} is off by up to {reading.max_abs:.4g}, "
            f"where {item.tolerance:.4g} is allowed ({item.dtype}, largest value {item.scale:.4g})"
        )
    if np.dtype(item.dtype).kind == "f" and item.scale > 0 and not reading.cosine >= COSINE_MIN:
        return f"output {item.output!r} has cosine {reading.cosine:.4f}, where {COSINE_MIN} is the least"
    return ""
