"""Operators that are written anew for TFLite compute the same: pools that round up, and some activations."""

from __future__ import annotations

import pooling_jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools


def test_padding_stands_for_rounding_up(tools: Tools) -> None:
    found = isolate(tools, 120, pooling_jobs.errors, 60, 4)
    assert len(found) > 50
    assert {case: error for case, error in found.items() if error > 1e-6} == {}


def test_an_average_that_counts_its_padding_is_left_alone(tools: Tools) -> None:
    assert isolate(tools, 60, pooling_jobs.left, {"ceil_mode": 1, "count_include_pad": 1}) == 1


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("HardSigmoid", {}), ("HardSigmoid", {"alpha": 0.1, "beta": 0.4}), ("HardSwish", {}), ("Reciprocal", {})],
)
def test_plain_activations(kind: str, attributes: dict[str, float], tools: Tools) -> None:
    assert isolate(tools, 60, pooling_jobs.activation_error, kind, attributes) < 1e-6
