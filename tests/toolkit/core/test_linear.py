"""Mean taps and mean shifts against the layer computed outright."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from toolkit.core.linear import LinearLayer, Window, mean_shift, mean_taps

SIZES = st.integers(1, 3)


def convolved(layer: LinearLayer, values: np.ndarray) -> np.ndarray:
    """Return a grouped convolution's outputs, place by place: values [batch, channels, height, width]."""
    window = layer.window
    assert window is not None
    pads = ((0, 0), (0, 0), *zip(window.before, window.after, strict=True))
    padded = np.pad(values.astype(np.float64), pads)
    inputs, (height, width) = layer.weight.shape[1], layer.weight.shape[2:]
    outputs = len(layer.weight) // layer.groups
    rows = range(0, padded.shape[2] - window.dilations[0] * (height - 1), window.strides[0])
    columns = range(0, padded.shape[3] - window.dilations[1] * (width - 1), window.strides[1])
    made = np.zeros((len(values), len(layer.weight), len(rows), len(columns)))
    for channel, kernel in enumerate(layer.weight.astype(np.float64)):
        first = channel // outputs * inputs
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                down = slice(row, row + window.dilations[0] * (height - 1) + 1, window.dilations[0])
                along = slice(column, column + window.dilations[1] * (width - 1) + 1, window.dilations[1])
                patch = padded[:, first : first + inputs, down, along]
                made[:, channel, y, x] = (patch * kernel).sum(axis=(1, 2, 3))
    return made


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[LinearLayer, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, inputs, outputs = draw(SIZES), draw(SIZES), draw(SIZES)
    kernel = (draw(SIZES), draw(SIZES))
    window = Window(
        strides=(draw(SIZES), draw(SIZES)),
        dilations=(draw(SIZES), draw(SIZES)),
        before=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        after=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
    )
    weight = rng.normal(size=(groups * outputs, inputs, *kernel)).astype(np.float32)
    bias = rng.normal(size=groups * outputs).astype(np.float32)
    layer = LinearLayer(name="conv", source="x", weight=weight, bias=bias, groups=groups, window=window)
    return layer, rng.normal(1, 1, (2, groups * inputs, 7 + draw(SIZES), 7 + draw(SIZES))).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_weights_times_mean_taps_are_the_mean_output(case: tuple[LinearLayer, np.ndarray]) -> None:
    layer, values = case
    taps = mean_taps(layer, values)
    by_group = layer.weight.reshape(layer.groups, -1, taps.shape[1])
    assert_allclose(np.einsum("gok,gk->go", by_group, taps).ravel(), convolved(layer, values).mean(axis=(0, 2, 3)))


@settings(max_examples=15, deadline=None)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_a_mean_shift_added_to_the_bias_restores_the_mean(case: tuple[LinearLayer, np.ndarray], seed: int) -> None:
    layer, values = case
    rng = np.random.default_rng(seed)
    rounded = LinearLayer(
        name="conv",
        source="x",
        weight=layer.weight + rng.normal(0, 0.1, layer.weight.shape).astype(np.float32),
        bias=rng.normal(size=len(layer.weight)).astype(np.float32),
        groups=layer.groups,
        window=layer.window,
    )
    shift = mean_shift(layer, rounded, mean_taps(layer, values))
    before = convolved(layer, values).mean(axis=(0, 2, 3)) + layer.bias
    after = convolved(rounded, values).mean(axis=(0, 2, 3)) + rounded.bias + shift
    assert_allclose(after, before, atol=1e-6)


def test_channels_may_be_last() -> None:
    rng = np.random.default_rng(0)
    window = Window(strides=(2, 1), dilations=(1, 1), before=(1, 0), after=(1, 2))
    weight = rng.normal(size=(4, 3, 3, 2)).astype(np.float32)
    values = rng.normal(size=(1, 3, 6, 5)).astype(np.float32)
    first = LinearLayer(name="conv", source="x", weight=weight, bias=None, window=window)
    last = LinearLayer(name="conv", source="x", weight=weight, bias=None, window=window, channel_axis=-1)
    assert_allclose(mean_taps(last, np.moveaxis(values, 1, -1)), mean_taps(first, values))


def test_a_product_averages_over_every_row() -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    layer = LinearLayer(name="product", source="x", weight=np.ones((2, 4), np.float32), bias=None)
    assert_allclose(mean_taps(layer, values), [[4, 5, 6, 7]])
