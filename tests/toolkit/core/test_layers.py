"""Patterns of layers: what each kind means, and what is said when one means nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.core.errors import SettingsError
from toolkit.core.layers import Layer, choose, matching
from toolkit.core.recipe import Override, load_recipe

LAYERS = (
    Layer(name="stem/conv", operator="Conv", weighted=True, aliases=("c1",)),
    Layer(name="stem/relu", operator="Relu", weighted=False),
    Layer(name="block_1/depthwise", operator="Conv", weighted=True, words=("depthwise",)),
    Layer(name="block_2/CONV", operator="DEPTHWISE_CONV_2D", weighted=True, words=("depthwise",)),
    Layer(name="head", operator="FULLY_CONNECTED", weighted=True),
    Layer(name="odd[1]", operator="Softmax", weighted=False),
)
STATIC = load_recipe("static-int8")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("stem/conv", ["stem/conv"]),
        ("c1", ["stem/conv"]),
        ("stem/*", ["stem/conv", "stem/relu"]),
        ("block_?/*", ["block_1/depthwise", "block_2/CONV"]),
        ("odd[1]", ["odd[1]"]),
        ("Conv", ["stem/conv", "block_1/depthwise", "block_2/CONV"]),
        ("depthwise_conv_2d", ["block_2/CONV"]),
        ("depthwise", ["block_1/depthwise", "block_2/CONV"]),
        ("linear", ["head"]),
        ("softmax", ["odd[1]"]),
        ("@first", ["stem/conv"]),
        ("@last", ["head"]),
        ("onnx:Conv", ["stem/conv", "block_1/depthwise", "block_2/CONV"]),
        ("tflite:nothing like it", []),
    ],
)
def test_what_a_pattern_means(pattern: str, names: list[str]) -> None:
    assert list(matching(pattern, LAYERS, "onnx")) == names


@pytest.mark.parametrize(
    ("pattern", "nearest"), [("stem/con", "stem/conv"), ("FULLYCONECTED", "FULLY_CONNECTED"), ("onnx:haed", "head")]
)
def test_a_pattern_that_means_nothing_names_the_nearest(pattern: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match="matches no layer of the onnx model") as caught:
        matching(pattern, LAYERS, "onnx")
    assert f"Did you mean {nearest!r}?" in caught.value.hint


def test_first_and_last_want_a_layer_with_weights() -> None:
    with pytest.raises(SettingsError, match="@first"):
        matching("@first", LAYERS[1:2], "onnx")


def test_float_wins_over_earlier_overrides_and_loses_to_later_ones() -> None:
    recipe = replace(
        STATIC,
        keep_float=("head", "stem/*"),
        overrides=(
            Override(layers=("conv",), granularity="tensor"),
            Override(layers=("depthwise",), weight_bits=32),
            Override(layers=("block_2/*",), activation_bits=16),
            Override(layers=("block_2/CONV",), symmetric=False),
        ),
    )
    choice = choose(recipe, LAYERS, "onnx")
    assert choice.floats == {"head": "head", "stem/relu": "stem/*", "block_1/depthwise": "depthwise"}
    assert choice.overrides.keys() == {"stem/conv", "block_2/CONV"}
    merged = choice.overrides["block_2/CONV"]
    assert (merged.granularity, merged.activation_bits, merged.symmetric) == ("tensor", 16, False)
