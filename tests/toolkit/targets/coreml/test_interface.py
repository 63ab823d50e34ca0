"""What a model takes and gives beyond plain arrays."""

from __future__ import annotations

from pathlib import Path

import coreml_interface_jobs as jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import system_tools


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> jobs.Interfaces:
    folder: Path = tmp_path_factory.mktemp("interfaces")
    return isolate(system_tools(), 300, jobs.interfaces, folder)


def test_a_picture_goes_in_as_decoders_have_it(found: jobs.Interfaces) -> None:
    for colour in ("RGB", "BGR"):
        spec = found.signatures[colour].inputs[0]
        assert (spec.dtype, spec.shape) == ("uint8", (1, 6, 8, 3))
        assert found.probability_errors[colour] < 1e-5


def test_a_picture_comes_out_as_one(found: jobs.Interfaces) -> None:
    assert found.picture_error == 0


def test_a_classifier_names_its_label(found: jobs.Interfaces) -> None:
    assert found.labels == found.expected_labels
    outputs = [(spec.name, spec.dtype, spec.shape) for spec in found.signatures["RGB"].outputs]
    assert outputs == [("classLabel", "str", (1,)), ("classLabel_probs", "float32", (3,))]


def test_flexible_shapes_are_executed_within_what_the_model_allows(found: jobs.Interfaces) -> None:
    for kind in ("range", "choice"):
        assert found.signatures[kind].inputs[0].shape == (1, -1, 5)
        assert found.signatures[kind].outputs[0].shape == (1, -1, 4)
        assert found.flexible_errors[kind] < 1e-5
    assert "2 to 6" in found.refusals["range"]
    assert "one of [1, 5, 5], [1, 2, 5]" in found.refusals["choice"]


def test_half_precision_is_rounded_on_request(found: jobs.Interfaces) -> None:
    assert found.unrounded_error > 0
    assert found.rounded_error == 0
