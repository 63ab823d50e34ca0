"""One pass keeps what methods and report need, and no more of it for more samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from toolkit.core.errors import DataError
from toolkit.ranges import _findings
from toolkit.ranges._survey import Survey


def seen_of(samples, axis: int = 1):
    survey = Survey(axis)
    for sample in samples:
        survey.see("t", np.asarray(sample, np.float32))
    return survey.seen()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_and_leaves_no_trace(bad: float) -> None:
    survey = Survey()
    survey.see("conv/out", np.array([0.0, 1.0], np.float32))
    with pytest.raises(DataError, match="'conv/out'"):
        survey.see("conv/out", np.array([0.5, bad], np.float32))
    with pytest.raises(DataError):
        survey.see("never", np.array([bad], np.float32))
    (seen,) = survey.seen()
    assert (seen.tensor, seen.samples, seen.elements) == ("conv/out", 1, 2)


def test_memory_does_not_grow_with_the_samples() -> None:
    rng = np.random.default_rng(0)

    def peak(samples: int) -> int:
        tracemalloc.start()
        survey = Survey()
        for _ in range(samples):
            survey.see("a", rng.normal(0, 1, (1, 8, 16, 16)).astype(np.float32))
            survey.see("b", rng.normal(0, 1, (1, 100)).astype(np.float32))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(5)
    assert peak(1000) < 1.05 * peak(20)


def test_channels_that_never_move_are_known_in_either_layout() -> None:
    rng = np.random.default_rng(0)
    samples = np.maximum(rng.normal(0, 1, (12, 1, 4, 5, 5)), 0)
    samples[:, :, 1] = 0
    samples[:, :, 3] = 6
    (nchw,) = seen_of(samples)
    assert (nchw.still_channels.tolist(), nchw.still_values.tolist()) == ([1, 3], [0, 6])
    (nhwc,) = seen_of(samples.transpose(0, 1, 3, 4, 2), axis=-1)
    assert (nhwc.still_channels.tolist(), nhwc.still_values.tolist()) == ([1, 3], [0, 6])
    samples[11, 0, 1, 4, 4] = 0.5
    (woken,) = seen_of(samples)
    assert woken.still_channels.tolist() == [3]


def test_a_vector_s_features_count_as_channels_once_a_second_sample_came() -> None:
    (seen,) = seen_of([[[0.0, 1.0, 2.0]], [[0.0, 1.5, 2.0]]])
    assert (seen.still_channels.tolist(), seen.still_values.tolist()) == ([0, 2], [0, 2])


def test_ranges_have_settled_when_later_samples_add_nothing() -> None:
    rng = np.random.default_rng(0)
    early = [rng.uniform(-1, 1, 50) for _ in range(100)]
    early[7] = np.array([-2.0, 2.0])
    settled = _findings.settled_after(seen_of(early))
    assert settled is not None
    assert 8 <= settled <= 12
    late = [*early[:99], np.array([-9.0, 9.0])]
    assert _findings.settled_after(seen_of(late)) is None
    assert _findings.settled_after(seen_of([[1.0]] * 5)) == 1


def test_tensors_at_a_bound_are_found_and_relus_are_not_blamed_for_zeros() -> None:
    rng = np.random.default_rng(0)
    survey = Survey()
    survey.see("relu6", np.clip(rng.normal(8, 2, 1000), 0, 6).astype(np.float32))
    survey.see("relu", np.maximum(rng.normal(-2, 1, 1000), 0).astype(np.float32))
    survey.see("constant", np.full(9, 2.5, np.float32))
    seen = survey.seen()
    assert seen[0].at_high == round(_findings.at_bound(seen)[0][1] * 1000)
    ((name, share),) = _findings.at_bound(seen)
    assert name == "relu6"
    assert 0.8 < share < 0.9
    assert _findings.constant(seen) == ("constant",)


def test_values_at_the_ends_are_counted_exactly() -> None:
    (seen,) = seen_of([[0.0, 6.0, 1.0], [6.0, 6.0, -1.0], [-1.0, 2.0, 7.0], [7.0, 6.0, -1.0]])
    assert (seen.low, seen.at_low, seen.high, seen.at_high) == (-1.0, 3, 7.0, 2)
