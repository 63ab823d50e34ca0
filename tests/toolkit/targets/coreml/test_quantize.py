"""Which recipes the target takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from toolkit.core.errors import SettingsError
from toolkit.core.recipe import load_recipe
from toolkit.targets import coreml

FLOAT = load_recipe("float32")
WEIGHTS = load_recipe("weight-int8")


@pytest.mark.parametrize(
    "recipe", [FLOAT, WEIGHTS, dataclasses.replace(WEIGHTS, granularity="tensor", symmetric=False)]
)
def test_expressible(recipe: object) -> None:
    assert coreml.not_expressible(recipe) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (load_recipe("static-int8"), "macOS"),
        (dataclasses.replace(WEIGHTS, activation_mode="dynamic", activation_bits=8), "no dynamic"),
        (dataclasses.replace(FLOAT, weight_bits=16, activation_bits=16), "float16"),
        (dataclasses.replace(WEIGHTS, scheme="lut"), "look-up-table"),
        (dataclasses.replace(WEIGHTS, weight_bits=4), "4-bit"),
        (dataclasses.replace(WEIGHTS, granularity="block"), "blockwise"),
    ],
)
def test_not_expressible_says_why(recipe: object, reason: str, tmp_path: Path) -> None:
    assert reason in str(coreml.not_expressible(recipe))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="not expressible on coreml"):
        coreml.quantize(tmp_path / "m.mlpackage", recipe, {}, tmp_path / "q.mlpackage")  # type: ignore[arg-type]


def test_the_toolchain_names_its_libraries() -> None:
    assert {tool.name for tool in coreml.toolchain()} >= {"coremltools", "onnxruntime"}
