"""Recipes are data, read strictly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolkit.core import recipe
from toolkit.core.errors import SettingsError


@pytest.mark.parametrize("name", recipe.recipe_names())
def test_every_recipe_that_comes_along_reads_under_its_own_name(name: str) -> None:
    read = recipe.load_recipe(name)
    assert read.name == name
    assert read.summary.endswith(".")
    assert read.needs_data == (read.activation_mode == "static")
    assert read.is_float == (read.weight_bits >= 16)


def test_the_recipes_of_the_contract_are_there() -> None:
    named = {"float32", "float16", "static-int8", "dynamic-int8", "weight-int8", "static-int8-act16", "weight-int4"}
    assert named | {"lut-4bit", "mixed-int8"} <= set(recipe.recipe_names())


def test_a_recipe_file_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    shutil.copy(recipe.RECIPES / "static-int8.toml", mine)
    assert recipe.load_recipe(str(mine)).name == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weight_bit = 8", "did you mean 'weight_bits'?"),
        ('summary = "x"\nweight_bits = 7\nactivation_bits = 8\nactivation_mode = "static"', "7"),
        ('summary = "x"\nweight_bits = 8\nactivation_bits = 8\nactivation_mode = "sometimes"', "sometimes"),
        (
            'summary = "x"\nweight_bits = 8\nactivation_bits = 8\nactivation_mode = "static"\nsymmetric = 1',
            "neither true nor",
        ),
        ("summary = ", "Cannot read the recipe"),
        ("\x00", "Cannot read the recipe"),
        (f"x = {'[' * 100_000}", "Cannot read the recipe"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(tmp_path: Path, text: str, said: str) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    with pytest.raises(SettingsError) as caught:
        recipe.load_recipe(str(mine))
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)


PLAIN = 'summary = "x."\nweight_bits = 8\nactivation_bits = 8\nactivation_mode = "static"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN.replace("activation_bits = 8", "activation_bits = 32"), "8 or 16 bits, not 32"),
        (PLAIN.replace("static", "dynamic").replace("activation_bits = 8", "activation_bits = 16"), "8 bits, not 16"),
        (PLAIN.replace("static", "none"), "static or dynamic"),
        (PLAIN.replace("weight_bits = 8", "weight_bits = 16"), "weights of 4, 6 or 8"),
        (PLAIN.replace("weight_bits = 8", "weight_bits = 6"), "look-up tables only"),
        (PLAIN + "block_size = 24", "power of two"),
        (PLAIN.replace("static", "dynamic") + 'io = "int8"', "io int8"),
        (PLAIN + "[[overrides]]\nlayers = []\nweight_bits = 4", "names no layers"),
        (PLAIN + '[[overrides]]\nlayers = ["a"]', "changes nothing"),
        (PLAIN.replace("static", "dynamic") + '[[overrides]]\nlayers = ["a"]\nactivation_bits = 16', "ahead"),
        (PLAIN + 'keep_float = "Conv"', "not a list"),
        (PLAIN + '[[overrides]]\nlayer = ["a"]', "did you mean 'layers'?"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, text: str, said: str) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    with pytest.raises(SettingsError) as caught:
        recipe.load_recipe(str(mine))
    assert said in str(caught.value)


def test_layers_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        PLAIN
        + 'io = "int8"\nkeep_float = ["@last", "onnx:Softmax"]\n'
        + '[[overrides]]\nlayers = ["stem"]\nactivation_bits = 16\n'
    )
    read = recipe.load_recipe(str(mine))
    assert read.keep_float == ("@last", "onnx:Softmax")
    assert read.overrides == (recipe.Override(layers=("stem",), activation_bits=16),)
    assert read.io == "int8"


def test_a_missing_file_and_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Cannot read the recipe"):
        recipe.load_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="Unknown recipe 'static-int'") as caught:
        recipe.load_recipe("static-int")
    assert "Did you mean 'static-int8'?" in caught.value.hint
    with pytest.raises(SettingsError, match="Unknown recipe"):
        recipe.load_recipe("../recipes/float32")
