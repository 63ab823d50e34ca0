"""Operators that are written anew for TFLite compute the same: pools that round up, some activations and Squeeze."""

from __future__ import annotations

from pathlib import Path

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


def test_plain_activations(tools: Tools) -> None:
    hard = (("HardSigmoid", {}), ("HardSigmoid", {"alpha": 0.1, "beta": 0.4}), ("HardSwish", {}), ("Reciprocal", {}))
    assert max(isolate(tools, 60, pooling_jobs.activation_errors, hard)) < 1e-6


def test_squeezing_beside_channels_is_reshaping(tools: Tools) -> None:
    mixed, channels = isolate(tools, 60, pooling_jobs.reshaped, (((2,), 12), ((2, 3), 1)))
    assert mixed == ["Conv", "Reshape", "Transpose", "MatMul"]
    assert channels == ["Conv", "Squeeze", "MatMul"], "channels alone have no order to lose"


@pytest.mark.slow
def test_squeezing_the_height_of_an_image_converts(tools: Tools, tmp_path: Path) -> None:
    """PP-OCR reads a line of text so: the height is dropped, and channels and width change places."""
    assert isolate(tools, 120, pooling_jobs.squeezed, tmp_path), "the translator has learned it; the rewriting can go"
