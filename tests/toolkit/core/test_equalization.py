"""Equalised chains compute what they did, and share their range between the channels."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from toolkit.core.equalization import Link, equalise
from toolkit.core.linear import LinearLayer, Window

POINT = Window(strides=(1, 1), dilations=(1, 1), before=(0, 0), after=(0, 0))


def applied(layer: LinearLayer, values: np.ndarray) -> np.ndarray:
    """Return what a layer makes of [samples, channels], its kernel of one place."""
    outputs = len(layer.weight) // layer.groups
    parts = np.split(values, layer.groups, axis=1)
    weights = layer.weight.reshape(layer.groups, outputs, -1)
    made = np.concatenate([part @ weight.T for part, weight in zip(parts, weights, strict=True)], axis=1)
    return made + (0 if layer.bias is None else layer.bias)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[LinearLayer], float, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cap = draw(st.sampled_from([math.inf, 6.0, 1.0]))
    width = draw(st.integers(1, 5))
    layers = []
    for place in range(draw(st.integers(2, 4))):
        depthwise = draw(st.booleans())
        spread = np.exp(rng.normal(0, 2, (width, 1, 1, 1)))
        weight = rng.normal(size=(width, 1 if depthwise else width, 1, 1)) * spread
        weight[rng.random(width) < 0.1] = 0
        bias = rng.normal(size=width) if draw(st.booleans()) else None
        groups = width if depthwise else 1
        layers.append(LinearLayer(name=f"{place}", source="", weight=weight, bias=bias, groups=groups, window=POINT))
    return layers, cap, rng.normal(0, 1, (16, width))


def run(layers: list[LinearLayer], cap: float, values: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    largest = {}
    for layer in layers[:-1]:
        values = np.clip(applied(layer, values), 0, cap)
        largest[f"tensor {layer.name}"] = values.max(axis=0)
    return applied(layers[-1], values), largest


@settings(max_examples=80, deadline=None)
@given(chains())
def test_a_chain_computes_the_same_on_the_data_seen(case: tuple[list[LinearLayer], float, np.ndarray]) -> None:
    layers, cap, values = case
    wanted, largest = run(layers, cap, values)
    links = [
        Link(first=one.name, second=two.name, tensor=f"tensor {one.name}", cap=cap)
        for one, two in itertools.pairwise(layers)
    ]
    changed = equalise({layer.name: layer for layer in layers}, links, largest)
    got, _ = run([changed.get(layer.name, layer) for layer in layers], cap, values)
    assert_allclose(got, wanted, rtol=1e-9, atol=1e-9 * float(np.abs(wanted).max() + 1))


def test_channels_of_both_layers_end_with_one_range() -> None:
    first = LinearLayer(
        name="a", source="x", weight=np.array([[1.0, -2], [100, 50]]).reshape(2, 2, 1, 1), bias=None, window=POINT
    )
    second = replace(first, name="b", source="y", weight=np.array([[8.0, 0.1], [4, -0.02]]).reshape(2, 2, 1, 1))
    changed = equalise({"a": first, "b": second}, [Link(first="a", second="b", tensor="y")], {})
    assert_allclose(np.abs(changed["a"].weight).max(axis=(1, 2, 3)), np.abs(changed["b"].weight).max(axis=(0, 2, 3)))
    assert np.array_equal(np.sign(changed["b"].weight), np.sign(second.weight))


def test_a_link_that_hardly_moves_is_kept_whole() -> None:
    """The second link moves by less than is worth a change; its first layer changes all the same."""
    weights = {"a": 1.0, "b": 8 / 2.001, "c": 2.001}
    layers = {
        name: LinearLayer(name=name, source="", weight=np.full((1, 1, 1, 1), value), bias=None, window=POINT)
        for name, value in weights.items()
    }
    links = [Link(first="a", second="b", tensor="x"), Link(first="b", second="c", tensor="y")]
    changed = equalise(layers, links, {})
    assert_allclose(changed["a"].weight, 2, rtol=1e-3)
    made = [changed.get(name, layers[name]).weight.item() for name in layers]
    assert_allclose(math.prod(made), math.prod(weights.values()), rtol=1e-12)


def test_links_that_do_not_fit_or_change_nothing_are_left() -> None:
    layer = LinearLayer(name="a", source="x", weight=np.ones((2, 2, 1, 1)), bias=None, window=POINT)
    wide = replace(layer, name="b", weight=np.ones((2, 3, 1, 1)))
    both = {"a": layer, "b": wide, "c": replace(layer, name="c")}
    capped = Link(first="a", second="c", tensor="never seen", cap=6.0)
    links = [Link(first="a", second="b", tensor="y"), Link(first="a", second="c", tensor="y"), capped]
    assert equalise(both, links, {}) == {}
