"""Two runs of one model: what is rounding, and what is a fault."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.ports import Array, Feeds
from toolkit.core.probe import SAME_MODEL, difference, probe_feeds, relative_error

PICTURE = TensorSpec(name="x", dtype="float32", shape=(1, 64))
TOKENS = TensorSpec(name="ids", dtype="int64", shape=(1, 6))
FLOATS = Signature(inputs=(PICTURE,), outputs=())


def sigmoid(logits: Array) -> Array:
    """A fast kernel's, 0.5 added last: what lies near 0 has the digits of 0.5, the last of them by chance.

    The hyperbolic tangent is Lambert's continued fraction.
    """
    half = logits * np.float32(0.5)
    fraction = np.full_like(half, 41)
    for odd in range(39, 0, -2):
        fraction = np.float32(odd) + half * half / fraction
    return np.asarray(np.float32(0.5) + np.float32(0.5) * (half / fraction), np.float32)


def detector(weight: Array, bias: float) -> Callable[[dict[str, Array]], Feeds]:
    """On noise in [0, 1) it says "nothing here" with hardly a digit, on larger values it answers."""
    return lambda feeds: {"y": sigmoid((feeds["x"] * weight).cumsum(axis=1, dtype=np.float32) + np.float32(bias))}


def reordered(weight: Array, bias: float) -> Callable[[dict[str, Array]], Feeds]:
    """The same sums, added from the other end."""

    def run(feeds: dict[str, Array]) -> Feeds:
        terms = feeds["x"] * weight
        total = terms.sum(axis=1, dtype=np.float32, keepdims=True)
        after = terms[:, ::-1].cumsum(axis=1, dtype=np.float32)[:, ::-1] - terms
        return {"y": sigmoid(total - after + np.float32(bias))}

    return run


@pytest.fixture
def weight(rng: np.random.Generator) -> Array:
    return rng.normal(0, 0.05, (1, 64)).astype(np.float32)


def test_rounding_on_noise_is_no_difference(weight: Array) -> None:
    own, other = detector(weight, -15.0), reordered(weight, -15.0)
    feeds = probe_feeds(FLOATS)
    assert relative_error(own(feeds), other(feeds))[1] > SAME_MODEL, "no digits left on noise"
    assert difference(FLOATS, own, other) is None


@pytest.mark.parametrize("fault", [1.02, 0.5, -1.0])
def test_a_fault_in_a_sensitive_model_is_one(weight: Array, fault: float) -> None:
    """Noise of the usual magnitude does not tell 2 % in the weights of such a model; larger values do."""
    found = difference(FLOATS, detector(weight, -15.0), reordered(weight * np.float32(fault), -15.0))
    assert found is not None
    assert found[0] == "y"
    assert found[1] > SAME_MODEL


def test_a_small_fault_in_a_model_with_digits_is_one(weight: Array) -> None:
    found = difference(FLOATS, detector(weight, 0.5), detector(weight * np.float32(1.1), 0.5))
    assert found is not None
    assert SAME_MODEL < found[1] < 0.1


def test_a_sensitive_output_hides_no_other(weight: Array) -> None:
    def both(run: Callable[[dict[str, Array]], Feeds], gain: float) -> Callable[[dict[str, Array]], Feeds]:
        return lambda feeds: {**run(feeds), "z": feeds["x"] * np.float32(gain)}

    sensitive = detector(weight, -15.0), reordered(weight, -15.0)
    assert difference(FLOATS, both(sensitive[0], 1.0), both(sensitive[1], 1.0)) is None
    found = difference(FLOATS, both(sensitive[0], 1.0), both(sensitive[1], 1.002))
    assert found is not None
    assert found[0] == "z"
    assert found[1] == pytest.approx(0.002, rel=0.1)


def test_a_model_of_nothing_but_rounding_is_not_taken_on_trust() -> None:
    """Two runs that share no digit prove nothing, however sensitive the model is."""

    def chaos(factor: float) -> Callable[[dict[str, Array]], Feeds]:
        return lambda feeds: {"y": np.sin(feeds["x"].astype(np.float64) * 1e12 * factor).astype(np.float32)}

    found = difference(FLOATS, chaos(1.0), chaos(1.0 + 1e-9))
    assert found is not None
    assert found[1] > 0.1


def test_whole_numbers_are_not_moved() -> None:
    """An identifier that is off by a rounding is another word; such models are held to the plain bound."""
    table = np.linspace(1, 2, 8, dtype=np.float32)
    seen: list[Array] = []

    def run(feeds: dict[str, Array]) -> Feeds:
        seen.append(feeds["ids"])
        return {"y": table[feeds["ids"]]}

    signature = Signature(inputs=(TOKENS,), outputs=())
    assert difference(signature, run, run) is None
    found = difference(signature, run, lambda feeds: {"y": table[feeds["ids"]] * np.float32(1.01)})
    assert found == ("y", pytest.approx(0.01, rel=1e-3))
    assert all(np.array_equal(ids, seen[0]) for ids in seen)


@pytest.mark.parametrize(
    "other",
    [
        lambda feeds: {},
        lambda feeds: {"y": feeds["x"][:, :-1]},
        lambda feeds: {"y": np.where(feeds["x"] > 0.5, np.nan, feeds["x"])},
    ],
    ids=["missing", "shape", "nan"],
)
def test_what_cannot_be_compared_differs_without_bound(other: Callable[[dict[str, Array]], Feeds]) -> None:
    assert difference(FLOATS, lambda feeds: {"y": feeds["x"]}, other) == ("y", math.inf)
