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
    assert {"float32", "static-int8", "weight-int8"} <= set(recipe.recipe_names())


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


def test_a_missing_file_and_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Cannot read the recipe"):
        recipe.load_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="Unknown recipe 'static-int'") as caught:
        recipe.load_recipe("static-int")
    assert "Did you mean 'static-int8'?" in caught.value.hint
    with pytest.raises(SettingsError, match="Unknown recipe"):
        recipe.load_recipe("../recipes/float32")
