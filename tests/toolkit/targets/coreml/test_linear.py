"""The layers of an ML Program that are linear in their input, and programs with other biases."""

from __future__ import annotations

import coreml_linear_jobs as jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import system_tools

LAYERS = ("same", "kept", "by_channel", "one_axis", "y")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> jobs.Found:
    return isolate(system_tools(), 120, jobs.correct, tmp_path_factory.mktemp("linear"))


def test_a_build_has_the_layers_of_the_float_program_with_rounded_weights(found: jobs.Found) -> None:
    assert set(found.names.values()) == {LAYERS}
    assert found.rounded["float"] == 0
    assert 0 < found.rounded["float16"] < 1e-3
    assert 1e-3 < found.rounded["weight-int8"] < 1e-2
    assert 1e-2 < found.rounded["weight-int4-block"] < 0.2


def test_layers_that_share_a_bias_may_want_different_settings(found: jobs.Found) -> None:
    assert 1e-3 < found.rounded["one kept"] < 1e-2
    assert 1e-2 < found.rounded["lut-4bit"] < 0.5


def test_mean_inputs_and_weights_say_the_mean_output(found: jobs.Found) -> None:
    assert set(found.mean_error) == set(LAYERS)
    assert max(found.mean_error.values()) < 1e-5


def test_biases_move_by_what_is_asked_and_each_layer_alone(found: jobs.Found) -> None:
    assert set(found.moved) == set(LAYERS) - {"kept"}
    assert max(found.moved.values()) < 4e-3  # half a step of float16 below four
    assert found.untouched == 0, "it shares its bias with layers that were changed"
    assert found.bytes_after == found.bytes_before


@pytest.mark.parametrize("recipe", ["weight-int8", "weight-int4", "weight-int4-block", "uneven", "tensor"])
def test_integer_weights_are_given_to_a_layer_and_read_back(found: jobs.Found, recipe: str) -> None:
    made = found.reweighed[recipe]
    assert len(made.layers) >= 2
    assert made.largest < 0.02, "in steps: scales are in half precision"
    assert (made.others, made.size_change) == (0, 0)


@pytest.mark.parametrize("recipe", ["float16", "lut-4bit"])
def test_weights_that_are_no_steps_have_no_grid(found: jobs.Found, recipe: str) -> None:
    assert found.reweighed[recipe].layers == ()
