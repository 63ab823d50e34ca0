"""Which layer of one runtime is which of another: told by the weights, whatever names and axis orders they have.

Converters keep weights to the last bit, or scale output channels where they fold a normalisation, or round a little
otherwise. So layers are paired by a hash of the sorted weights first, then by quantiles of the weights, then by what
scaling a channel leaves alone; each time among layers with equally many weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError
from toolkit.stages.order import target_of

_QUANTILES = np.linspace(0, 1, 17)
_HEAD = 2
_TOLERANCE = 2e-3
"""How far quantiles may differ, as a share of the largest: rounding moves them by less, another layer by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A layer's weights as a hash, and as statistics that bear small changes of the values.

    ``fingerprint`` holds the number of weights and of output channels, 17 quantiles of the weights, and over the
    channels 17 quantiles each of two ratios of their norms, which scaling does not change.
    """

    sha256: str
    fingerprint: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A layer of a target's float artefact."""

    layer: str
    identity: Identity


def of(weights: NDArray[np.float32], channel: int) -> Identity:
    """Return the identity of a layer's weights.

    Args:
        weights: float32 of one axis or more, at least one value.
        channel: the axis of the output channels.

    >>> one = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> of(one, 0).sha256 == of(one.T.copy(), 1).sha256
    True
    """
    values = np.asarray(weights, np.float32) + np.float32(0)  # minus zero becomes zero
    flat = np.sort(values, axis=None)
    digest = hashlib.sha256(f"{flat.size}\n".encode() + flat.astype("<f4").tobytes()).hexdigest()
    rows = np.moveaxis(values, channel, 0).reshape(values.shape[channel], -1).astype(np.float64)
    energy = np.sqrt(np.mean(rows**2, axis=1))
    safe = np.where(energy > 0, energy, 1)
    flatness = np.mean(np.abs(rows), axis=1) / safe
    peaks = np.mean((rows / safe[:, None]) ** 4, axis=1) ** 0.25
    numbers = (
        np.array([flat.size, len(rows)]),
        np.quantile(flat, _QUANTILES),
        np.quantile(flatness, _QUANTILES),
        np.quantile(peaks, _QUANTILES),
    )
    return Identity(sha256=digest, fingerprint=tuple(float(f"{number:.7g}") for number in np.concatenate(numbers)))


def read(target: str, model: Path) -> tuple[Named, ...]:
    """Return the layers with weights of a target's float artefact, in the order of execution.

    Raises:
        ModelError: the target does not show its weights, or the artefact is damaged.
    """
    module = target_of(target)
    if not hasattr(module, "learned_weights"):
        raise ModelError(f"The target {target} does not show its weights, so no layer can be known again.")
    return tuple(
        Named(layer=layer, identity=of(np.asarray(values, np.float32), channel))
        for layer, values, channel in module.learned_weights(model)
        if np.size(values)
    )


def pairs(ours: Sequence[Identity], theirs: Sequence[Identity]) -> dict[int, int]:
    """Return by place in ``ours`` the place in ``theirs`` of the same layer; both are in the order of execution.

    Layers with the very same weights are paired in that order.
    """
    found: dict[int, int] = {}
    waiting: dict[str, list[int]] = {}
    for place, identity in enumerate(theirs):
        waiting.setdefault(identity.sha256, []).append(place)
    for place, identity in enumerate(ours):
        if waiting.get(identity.sha256):
            found[place] = waiting[identity.sha256].pop(0)
    for distance in (_values_apart, _shapes_apart):
        taken = set(found.values())
        near = [
            (apart, abs(one / max(1, len(ours)) - other / max(1, len(theirs))), one, other)
            for one in range(len(ours))
            if one not in found
            for other in range(len(theirs))
            if other not in taken and (apart := distance(ours[one], theirs[other])) <= _TOLERANCE
        ]
        for _, _, one, other in sorted(near):
            if one not in found and other not in taken:
                found[one] = other
                taken.add(other)
    return found


def _values_apart(one: Identity, other: Identity) -> float:
    return _apart(one, other, slice(_HEAD, _HEAD + len(_QUANTILES)), 1)


def _shapes_apart(one: Identity, other: Identity) -> float:
    return _apart(one, other, slice(_HEAD + len(_QUANTILES), None), _HEAD)


def _apart(one: Identity, other: Identity, part: slice, head: int) -> float:
    """Return the largest difference as a share of the largest number; infinite where the counts differ."""
    if one.fingerprint[:head] != other.fingerprint[:head] or not one.fingerprint:
        return float("inf")
    ours, theirs = np.array(one.fingerprint[part]), np.array(other.fingerprint[part])
    return float(np.max(np.abs(ours - theirs)) / max(float(np.max(np.abs(ours))), 1e-30))
