"""Made-up inputs, and how far two runs of them are apart: a conversion that changed the model is caught on the spot."""

from __future__ import annotations

import math

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.ports import Array, Feeds

SAME_MODEL = 1e-3
"""Largest relative error (60 dB) at which two float conversions of one model count as equal; good ones reach 1e-5."""


def probe_feeds(signature: Signature, seed: int = 0) -> dict[str, Array]:
    """Return one array per input by the signature's own names: floats in [0, 1), whole numbers 0 or 1.

    Non-negative values keep roots and logarithms finite; 0 and 1 are valid indices of nearly every table.
    """
    rng = np.random.default_rng(seed)
    return {spec.name: _values(spec, rng) for spec in signature.inputs}


def relative_error(reference: Feeds, other: Feeds) -> tuple[str, float]:
    """Return the output that differs most and its error ``|other - reference| / |reference|`` (Euclidean norms).

    The error is infinite where an output is missing, of another shape, or not finite in one run only.
    """
    errors = {name: _error(values, other.get(name)) for name, values in reference.items()}
    worst = max(errors, key=lambda name: errors[name])
    return worst, errors[worst]


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
