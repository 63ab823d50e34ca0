"""One figure for how close a build is: what is silent does not count, and nothing counts as more than lost."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.core.errors import ModelError
from toolkit.core.metrics import ErrorMeter
from toolkit.stages.closeness import BEST_DB, level_of


def meter(reference: float, noise: float) -> ErrorMeter:
    made = ErrorMeter(output="t")
    values = np.full((1, 8), reference)
    made.add(values, values + noise)
    return made


def test_the_noisiest_tensor_counts_most() -> None:
    assert level_of([meter(1, 0.1)]) == pytest.approx(20)
    assert level_of([meter(1, 0.1), meter(1, 0.001)]) == pytest.approx(23, abs=0.1)


def test_a_silent_tensor_does_not_count() -> None:
    assert level_of([meter(1, 0.1), meter(0, 1e-9)]) == pytest.approx(20)
    with pytest.raises(ModelError, match="no tensor"):
        level_of([meter(0, 1)])


def test_a_tensor_is_at_most_lost() -> None:
    assert level_of([meter(1e-9, 1.0)]) == pytest.approx(0)
    assert level_of([meter(1e-9, 1.0), meter(1, 0)]) == pytest.approx(3, abs=0.1)
    assert level_of([meter(1, float("nan"))]) == pytest.approx(0)


def test_equal_tensors_are_at_best() -> None:
    assert level_of([meter(1, 0)]) == pytest.approx(BEST_DB)
