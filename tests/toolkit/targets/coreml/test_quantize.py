"""Which recipes the target takes, and what it makes of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import coreml_recipe_jobs as jobs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.core.errors import SettingsError
from toolkit.core.isolation import isolate
from toolkit.core.recipe import Override, Recipe, load_recipe
from toolkit.core.tools import Tools, system_tools
from toolkit.targets import coreml
from toolkit.targets.coreml.compress import block_of

FLOAT = load_recipe("float32")
WEIGHTS = load_recipe("weight-int8")


STATIC = load_recipe("static-int8")


@pytest.mark.parametrize(
    "recipe",
    [
        FLOAT,
        WEIGHTS,
        STATIC,
        replace(FLOAT, weight_bits=16, activation_bits=16),
        replace(WEIGHTS, granularity="tensor", symmetric=False),
        replace(WEIGHTS, weight_bits=4, granularity="block", block_size=32, activation_bits=16),
        replace(WEIGHTS, weight_bits=6, scheme="lut"),
        replace(STATIC, weight_bits=4),
    ],
)
def test_expressible(recipe: Recipe) -> None:
    assert coreml.not_expressible(recipe) is None


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (replace(WEIGHTS, activation_mode="dynamic", activation_bits=8), "no dynamic"),
        (replace(STATIC, activation_bits=16), "to 8 bits, not 16"),
        (replace(FLOAT, weight_bits=16), "activation_bits 16"),
        (replace(FLOAT, activation_bits=16), "no float32 weights beside"),
        (replace(WEIGHTS, weight_bits=6), "look-up tables only"),
        (replace(STATIC, io="int8"), "8-bit inputs and outputs"),
        (replace(STATIC, overrides=(Override(layers=("conv",), activation_bits=16),)), "not 16"),
    ],
)
def test_not_expressible_says_why(recipe: Recipe, reason: str, tmp_path: Path) -> None:
    assert reason in str(coreml.not_expressible(recipe))
    with pytest.raises(SettingsError, match="not expressible on coreml"):
        coreml.quantize(tmp_path / "m.mlpackage", recipe, {}, tmp_path / "q.mlpackage")


def test_static_recipes_want_ranges(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs activation ranges"):
        coreml.quantize(tmp_path / "m.mlpackage", STATIC, {}, tmp_path / "q.mlpackage")


@settings(deadline=None)
@given(size=st.integers(1, 200), power=st.integers(4, 8))
def test_a_block_divides_the_channels_and_is_not_tiny(size: int, power: int) -> None:
    block = block_of(size, 2**power)
    assert size % block == 0
    assert block == size or 8 <= block <= 2**power


LEAST_DB = {"float16": 50, "weight-int8": 30, "static-int8": 25, "int4": 8, "int4 block": 11, "w4a8": 8, "kept": 25}
LEAST_DB |= {"lut tensor": 11, "lut channel": 18, "lut group uniform": 10}
IOS = {"float16": "16", "weight-int8": "16", "static-int8": "17", "int4": "18", "int4 block": "18", "w4a8": "18"}
IOS |= {"kept": "17", "lut tensor": "16", "lut channel": "18", "lut group uniform": "18"}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> jobs.Builds:
    return isolate(system_tools(), 300, jobs.build, tmp_path_factory.mktemp("recipes"), jobs.OFTEN)


def test_a_recipe_computes_nearly_what_the_float_program_does(builds: jobs.Builds) -> None:
    assert builds.sqnr_db.keys() == set(jobs.OFTEN)
    assert {name: db for name, db in builds.sqnr_db.items() if db < LEAST_DB[name]} == {}


def test_each_recipe_asks_for_the_system_that_has_its_operators(builds: jobs.Builds) -> None:
    assert builds.ios_min == {name: IOS[name] for name in jobs.OFTEN}


@pytest.mark.slow
def test_every_recipe(tmp_path: Path, tools: Tools) -> None:
    made = isolate(tools, 600, jobs.build, tmp_path, tuple(jobs.RECIPES))
    assert {name: db for name, db in made.sqnr_db.items() if db < LEAST_DB[name]} == {}
    assert made.ios_min == IOS
    assert made.sqnr_db["int4 block"] > made.sqnr_db["int4"]


def test_eight_bit_activations_surround_the_layers_that_coremltools_takes(builds: jobs.Builds) -> None:
    facts = {layer.name: layer for layer in builds.layers["static-int8"]}
    taken = ("first", "second", "joined_conv", "sum", "y")
    assert {name: facts[name].activation_dtype for name in taken} == {
        "first": "int8",  # reads the picture, which has both signs
        "second": "uint8",  # the others read what a ReLU yields, or a sum with it
        "joined_conv": "uint8",
        "sum": "int8",
        "y": "int8",
    }
    assert facts["first"].weight_dtype == facts["y"].weight_dtype == "int8"
    assert [item.layer for item in builds.kept["static-int8"]] == ["product"]
    assert "only" in builds.kept["static-int8"][0].reason


def test_tensors_joined_by_a_concat_share_their_scale(builds: jobs.Builds) -> None:
    assert len(set(builds.concat_scales)) == 1


def test_layers_kept_float_by_name_are_float(builds: jobs.Builds) -> None:
    facts = {layer.name: layer for layer in builds.layers["kept"]}
    assert facts["first"].weight_dtype == facts["first"].activation_dtype == "float16"
    assert facts["second"].weight_dtype == "int8"
    kept = {item.layer: item.reason for item in builds.kept["kept"]}
    assert "keeps 'first' float" in kept["first"]


def test_a_tap_of_a_build_has_the_names_of_the_float_program(builds: jobs.Builds) -> None:
    assert set(builds.tapped) <= set(builds.float_names)
    assert set(builds.float_names) - set(builds.tapped) == set()
    assert min(builds.tapped.values()) > 20


def test_a_value_that_float16_cannot_hold_is_refused(builds: jobs.Builds) -> None:
    assert re.search(r"ModelError: .*takes values up to 2e\+05, more than float16 holds", builds.refusals[0])


def test_an_unknown_layer_is_refused_with_the_nearest(builds: jobs.Builds) -> None:
    assert re.search("SettingsError: .*Did you mean 'second'", builds.refusals[1])


def test_the_toolchain_names_its_libraries() -> None:
    assert {tool.name for tool in coreml.toolchain()} >= {"coremltools", "onnxruntime"}
