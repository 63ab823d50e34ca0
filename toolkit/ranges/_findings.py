"""What the statistics of a pass say about the calibration itself: has it seen enough, and which tensors stand still."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from toolkit.ranges.base import Seen

COVERED = 0.95
"""A tensor's range has settled when it covers this share of its final width."""
OF_TENSORS = 0.95
"""A model's ranges have settled when this share of its tensors' have."""
AT_BOUND = 0.5
"""A tensor of which more than this share is at its greatest or least value has run into a bound."""


def settled_after(tensors: Iterable[Seen]) -> int | None:
    """Return after how many samples the ranges had settled; None when they still grew in the last third.

    Only a few moments are on record, so the number is rounded up to the next of them.
    """
    moving = [seen for seen in tensors if seen.high > seen.low]
    if not moving:
        return 1
    moments = sorted(_settled(seen) for seen in moving)
    samples = max(seen.samples for seen in moving)
    moment = moments[min(len(moments) - 1, math.ceil(OF_TENSORS * len(moments)) - 1)]
    return moment if moment * 3 <= samples * 2 else None


def _settled(seen: Seen) -> int:
    wide = (seen.history[:, 2] - seen.history[:, 1]) >= COVERED * (seen.high - seen.low)
    return int(seen.history[np.argmax(wide), 0]) if wide.any() else seen.samples


def constant(tensors: Iterable[Seen]) -> tuple[str, ...]:
    """Return the tensors that hold one and the same value throughout."""
    return tuple(seen.tensor for seen in tensors if seen.low == seen.high)


def at_bound(tensors: Iterable[Seen]) -> tuple[tuple[str, float], ...]:
    """Return the tensors that sit at their highest or lowest value more often than not, with the share, worst first.

    Zero does not count as a bound: it is where a ReLU leaves what it stops.
    """
    found = [
        (seen.tensor, share) for seen in tensors if seen.high > seen.low and (share := _outermost(seen)) > AT_BOUND
    ]
    return tuple(sorted(found, key=lambda item: -item[1]))


def _outermost(seen: Seen) -> float:
    ends = (seen.at_low if seen.low != 0 else 0, seen.at_high if seen.high != 0 else 0)
    return max(ends) / seen.elements
