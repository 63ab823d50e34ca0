"""Made-up inputs, and how far two runs of them are apart: a conversion that changed the model is caught on the spot."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.ports import Array, Feeds

SAME_MODEL = 1e-3
"""Largest relative error (60 dB) at which two float conversions of one model count as equal; good ones reach 1e-5."""

_MAGNITUDES = (1.0, 255.0)
_NUDGE = 2.0**-23
"""One unit in the last place of a float32 of 1."""
_NUDGED_RUNS = 3
_LEEWAY = 3.0
_TELLING = 0.1
"""Largest error (20 dB) that rounding may explain: two runs further apart prove nothing."""

Run = Callable[[dict[str, Array]], Feeds]
"""One execution of a model: arrays in and out by the names of its source."""


def probe_feeds(signature: Signature, seed: int = 0) -> dict[str, Array]:
    """Return one array per input by the signature's own names: floats in [0, 1), whole numbers 0 or 1.

    Non-negative values keep roots and logarithms finite; 0 and 1 are valid indices of nearly every table.
    """
    rng = np.random.default_rng(seed)
    return {spec.name: _values(spec, rng) for spec in signature.inputs}


def difference(signature: Signature, reference: Run, other: Run, seed: int = 0) -> tuple[str, float] | None:
    """Return the output in which two conversions of one model differ by more than rounding, and its relative error.

    Noise drives a detector's last sigmoid, say, to where float32 has no digits left, and there two right conversions
    differ by more than :data:`SAME_MODEL`. The yardstick is then the reference itself: its inputs moved by one unit in
    the last place show how much of an answer is rounding. What lies within three times that, and within 20 dB for
    noise of one magnitude or another, is no difference.

    Args:
        signature: the source model's.
        reference: the model that is right.
        other: what was made of it.
        seed: of the made-up inputs.

    Returns:
        None when there is no difference.
    """
    least: tuple[str, float] | None = None
    for magnitude in _MAGNITUDES:
        feeds = _scaled(probe_feeds(signature, seed), magnitude)
        wanted = reference(feeds)
        if least is not None and not all(np.isfinite(values).all() for values in wanted.values()):
            break  # too large for this model: it tells nothing more
        errors = _errors(wanted, other(feeds))
        if max(errors.values()) <= SAME_MODEL:
            return None
        rounding = _own_rounding(reference, feeds, wanted, np.random.default_rng(seed))
        far = {name: error for name, error in errors.items() if error > max(SAME_MODEL, _LEEWAY * rounding[name])}
        if far:
            return _worst(far)
        least = min(filter(None, (least, _worst(errors))), key=lambda found: found[1])
    return least if least is not None and least[1] > _TELLING else None


def relative_error(reference: Feeds, other: Feeds) -> tuple[str, float]:
    """Return the output that differs most and its error ``|other - reference| / |reference|`` (Euclidean norms).

    The error is infinite where an output is missing, of another shape, or not finite in one run only.
    """
    return _worst(_errors(reference, other))


def _errors(reference: Feeds, other: Feeds) -> dict[str, float]:
    return {name: _error(values, other.get(name)) for name, values in reference.items()}


def _worst(errors: dict[str, float]) -> tuple[str, float]:
    return max(errors.items(), key=lambda item: item[1])


def _own_rounding(reference: Run, feeds: Feeds, wanted: Feeds, rng: np.random.Generator) -> dict[str, float]:
    """Return how far each output moves, at most, when every float of the inputs moves by one unit in the last place."""
    runs = [_errors(wanted, reference(_nudged(feeds, rng))) for _ in range(_NUDGED_RUNS)]
    return {name: max(errors[name] for errors in runs) for name in wanted}


def _nudged(feeds: Feeds, rng: np.random.Generator) -> dict[str, Array]:
    return _with_floats(feeds, lambda values: values * (1 + _NUDGE * rng.choice((-1.0, 1.0), values.shape)))


def _scaled(feeds: Feeds, magnitude: float) -> dict[str, Array]:
    return _with_floats(feeds, lambda values: values * magnitude)


def _with_floats(feeds: Feeds, change: Callable[[Array], Array]) -> dict[str, Array]:
    return {
        name: np.asarray(change(values), values.dtype) if values.dtype.kind == "f" else values
        for name, values in feeds.items()
    }


def _values(spec: TensorSpec, rng: np.random.Generator) -> Array:
    dtype = np.dtype(spec.dtype)
    shape = tuple(1 if size < 0 else size for size in spec.shape)
    if dtype.kind == "f":
        return np.asarray(rng.random(shape), dtype)
    return np.asarray(rng.integers(0, 2, shape), dtype)


def _error(reference: Array, other: Array | None) -> float:
    if other is None or other.shape != reference.shape:
        return math.inf
    wanted, got = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)):
        return math.inf
    gap = float(np.linalg.norm(got[finite] - wanted[finite]))
    scale = float(np.linalg.norm(wanted[finite]))
    return gap / max(scale, 1e-6 * math.sqrt(max(1, wanted.size)))
