"""Which samples to take when fewer are wanted than a data set holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

_GOLDEN = (5**0.5 - 1) / 2


def spread(count: int, limit: int | None, classes: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """Choose which samples a data set uses: evenly spread over its order and balanced over its classes.

    Files are often sorted by class or recorded in sequence, so the first N samples would calibrate on one class or one
    scene. The choice is a function of the arguments alone; no random numbers take part.

    Args:
        count: how many samples there are.
        limit: how many to use at most; None for all.
        classes: the class of each sample, if they are known.

    Returns:
        Ascending indices, or None when every sample is used.

    >>> spread(10, 3)
    (1, 3, 8)
    >>> spread(6, 4, [0, 0, 0, 0, 0, 7])
    (0, 1, 4, 5)
    """
    if limit is None or limit >= count:
        return None
    if classes is None:
        return _even(range(count), limit)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(classes):
        members[label].append(index)
    chosen: list[int] = []
    left = limit
    present = _even(sorted(members), min(limit, len(members)))
    by_size = sorted((members[label] for label in present), key=lambda indices: (len(indices), indices))
    for position, indices in enumerate(by_size):
        share = min(len(indices), left // (len(by_size) - position))
        chosen += _even(indices, share)
        left -= share
    return tuple(sorted(chosen))


def _even(items: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Take one of each of ``wanted`` equal stretches, never at the same place in one as in the next.

    Data sets have rhythms, such as every other picture mirrored: equal steps would hear one beat only. So the place in
    a stretch follows multiples of the golden ratio, whose fractions keep no rhythm (Weyl's equidistribution theorem).
    """
    ends = [step * len(items) // wanted for step in range(wanted + 1)]
    places = ((0.5 + step * _GOLDEN) % 1 for step in range(wanted))
    return tuple(
        items[low + int(place * (high - low))] for place, low, high in zip(places, ends, ends[1:], strict=False)
    )
