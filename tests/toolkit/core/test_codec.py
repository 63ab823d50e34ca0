"""Values to JSON and back: nothing is lost, nothing unknown is taken, and every fault is named."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_harness import records
from toolkit.core import artifacts, codec, events, manifest, recipe
from toolkit.core.errors import SettingsError

ROOMS = (artifacts, manifest, recipe, records, events)
VALUES = [
    value
    for room in ROOMS
    for value in vars(room).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type) and value.__module__ == room.__name__
]

# Paths travel as text, so any text that a path keeps as it is; numbers are 64 bits wide as JSON's readers have them.
st.register_type_strategy(Path, st.text("abc/._- ", min_size=1).map(Path))
NUMBERS = st.floats(allow_nan=False)


# The one value that refuses some of its numbers.
TENSOR_ERRORS = st.builds(artifacts.TensorError, output=st.text(), sqnr_db=NUMBERS, cosine=NUMBERS, max_abs=NUMBERS)
st.register_type_strategy(artifacts.TensorError, TENSOR_ERRORS)


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_every_value_comes_back_from_json_equal(kind: type) -> None:
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_type(kind))
    def check(value: Any) -> None:
        text = json.dumps(codec.unstructure(value), allow_nan=False)
        back = codec.structure(json.loads(text), kind, what="value")
        assert codec.canonical(back) == codec.canonical(value)  # equal but for NaN, which never equals itself
        assert type(back) is kind

    check()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.1, -0.0, 5e-324, 1.7976931348623157e308])
def test_floats_survive_to_the_bit(value: float) -> None:
    plain = json.loads(json.dumps(codec.unstructure(artifacts.Range(low=value, high=1.0)), allow_nan=False))
    back = codec.structure(plain, artifacts.Range, what="range")
    assert repr(back.low) == repr(value)


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"low": 1.0}, "'high' is missing"),
        ({"low": 1.0, "high": 2.0, "hihg": 3.0}, "did you mean 'high'?"),
        ({"low": True, "high": 1.0}, "True is not a number"),
        ({"low": "1.5", "high": 1.0}, "'1.5' is not a number"),
        ({"low": None, "high": 1.0}, "None is not a number"),
        ([1.0, 2.0], "list given where a table"),
        ("text", "str given where a table"),
        (None, "NoneType given where a table"),
    ],
)
def test_what_does_not_fit_is_named(plain: object, said: str) -> None:
    with pytest.raises(SettingsError, match="The range is not valid") as caught:
        codec.structure(plain, artifacts.Range, what="range")
    assert said in str(caught.value)


def test_all_faults_are_named_at_once_with_their_places() -> None:
    plain = {
        "inputs": [{"name": 1, "dtype": "float32", "shape": "12"}],
        "outputs": [{"nam": "y", "dtype": "x", "shape": [1.5]}],
    }
    with pytest.raises(SettingsError) as caught:
        codec.structure(plain, artifacts.Signature, what="signature")
    said = str(caught.value)
    assert "1 is not text @ $.inputs[0].name" in said
    assert "'12' is not a list @ $.inputs[0].shape" in said
    assert "unknown key 'nam' @ $.outputs[0] (did you mean 'name'?)" in said
    assert "1.5 is not a whole number @ $.outputs[0].shape[0]" in said


def test_the_nearest_key_is_offered_inside_optional_values_and_tables() -> None:
    build = {"source": {"shapes": {"x": [1]}, "nmae": "n"}, "calibration": {"dta": "x"}}
    with pytest.raises(SettingsError) as caught:
        codec.structure(build, manifest.Manifest, what="build")
    assert "did you mean 'name'?" in str(caught.value)
    assert "did you mean 'data'?" in str(caught.value)


def test_text_is_never_taken_for_a_list_of_letters() -> None:
    with pytest.raises(SettingsError, match="'abc' is not a list"):
        codec.structure({"name": "x", "dtype": "y", "shape": "abc"}, artifacts.TensorSpec, what="tensor")


def test_a_number_is_no_path() -> None:
    with pytest.raises(SettingsError, match="3 is not text"):
        codec.structure({"path": 3, "sha256": "", "size_bytes": 1}, artifacts.Blob, what="blob")


def test_canonical_text_ignores_the_order_of_keys_and_is_ascii() -> None:
    assert codec.canonical({"b": 1, "a": "ä"}) == codec.canonical({"a": "ä", "b": 1}) == b'{"a":"\\u00e4","b":1}'


def test_pretty_text_ends_in_a_newline_and_parses() -> None:
    text = codec.pretty(artifacts.Range(low=-math.inf, high=1.0))
    assert text.endswith("}\n")
    assert json.loads(text) == {"low": "-inf", "high": 1.0}
