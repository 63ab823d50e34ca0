"""Rounding by inputs: on the grid, never worse than nearest where it learned, near the best there is, rows in order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from toolkit.core import rounding
from toolkit.core.linear import Grid, LinearLayer, Window, grid_of
from toolkit.core.rounding import PLACES, Moments, inputs_of, rounded

SIZES = st.integers(1, 3)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[LinearLayer, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, inputs, outputs = draw(SIZES), draw(SIZES), draw(SIZES)
    kernel = (draw(SIZES), draw(SIZES))
    last = draw(st.booleans())
    window = Window(
        strides=(draw(SIZES), draw(SIZES)),
        dilations=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        before=(draw(st.integers(0, 1)), draw(st.integers(0, 1))),
        after=(draw(st.integers(0, 1)), draw(st.integers(0, 1))),
    )
    weight = rng.normal(size=(groups * outputs, inputs, *kernel)).astype(np.float32)
    axis = -1 if last else 1
    layer = LinearLayer(
        name="conv", source="x", weight=weight, bias=None, groups=groups, window=window, channel_axis=axis
    )
    size = (draw(st.integers(5, 6)), draw(st.integers(5, 6)))  # so that all of the places are looked at
    values = rng.normal(1, 1, (2, groups * inputs, *size)).astype(np.float32)
    return layer, np.moveaxis(values, 1, -1) if last else values


def alike(rng: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """Return inputs that vary together, as a layer's do."""
    return (rng.normal(size=(rows, 2)) @ rng.normal(size=(2, size)) + 0.2 * rng.normal(size=(rows, size))).astype("f4")


def product(weight: np.ndarray) -> LinearLayer:
    return LinearLayer(name="product", source="x", weight=weight, bias=None)


def steps_of(weight: np.ndarray, top: int) -> Grid:
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-6) / top
    return grid_of(np.clip(np.rint(weight / scale), -top, top), scale, np.zeros((1, 1)), (-top, top))


def errors(weight: np.ndarray, chosen: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    return np.square(inputs.astype(np.float64) @ (weight.astype(np.float64) - chosen).T).sum(axis=0)


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_rows_are_what_a_convolution_multiplies_its_weights_by(case: tuple[LinearLayer, np.ndarray]) -> None:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    layer, values = case
    rows = inputs_of(layer, values)
    made = np.einsum("grk,gok->gro", rows, layer.weight.reshape(layer.groups, -1, rows.shape[2]))
    window, images = layer.window, np.moveaxis(values, layer.channel_axis, 1)
    assert window is not None
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], group=layer.groups, strides=window.strides, dilations=window.dilations,
        pads=[*window.before, *window.after],
    )  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xwy"]
    model = helper.make_model(
        helper.make_graph([node], "conv", ends[:2], ends[2:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": np.ascontiguousarray(images), "w": layer.weight})
    by_group = wanted.reshape(len(wanted), layer.groups, -1, wanted.shape[2] * wanted.shape[3])
    assert_allclose(made, by_group.transpose(1, 0, 3, 2).reshape(made.shape), rtol=1e-3, atol=1e-4)


def test_of_a_large_image_an_even_grid_of_places_is_looked_at() -> None:
    window = Window(strides=(1, 1), dilations=(1, 1), before=(0, 0), after=(0, 0))
    weight = np.ones((1, 1, 1, 1), np.float32)
    layer = LinearLayer(name="conv", source="x", weight=weight, bias=None, window=window)
    values = np.arange(200 * 300, dtype=np.float32).reshape(1, 1, 200, 300)
    rows = inputs_of(layer, values)[0, :, 0]
    assert PLACES[0] / 2 < len(rows) <= PLACES[0]
    assert_allclose(rows.mean(), values.mean(), rtol=0.15)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 150), st.sampled_from([1, 7, 127]))
def test_weights_lie_on_the_grid_and_an_output_is_no_worse_than_nearest(
    seed: int, outputs: int, size: int, top: int
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(outputs, size)).astype(np.float32)
    inputs, grid, moments = alike(rng, 300, size), steps_of(weight, top), Moments(product(weight))
    moments.add(inputs)
    second = moments.second(centred=False)
    made = rounded(weight, grid, second)
    steps = made / grid.step
    assert made.dtype == np.float32
    assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert np.abs(steps).max() <= top + 1e-3
    nearest = np.clip(np.rint(weight / grid.step), -top, top) * grid.step
    lost = [np.einsum("ok,kl,ol->o", weight - one, second[0], weight - one) for one in (made, nearest)]
    assert (lost[0] <= lost[1] * 1.01 + 1e-12).all()


def test_it_comes_near_the_best_of_all_choices_and_far_below_nearest() -> None:
    """Every choice of up or down is tried; over many layers the sums are compared."""
    rng = np.random.default_rng(5)
    found, best, nearest = 0.0, 0.0, 0.0
    for _ in range(30):
        weight, inputs = rng.normal(size=(1, 8)).astype(np.float32), alike(rng, 400, 8)
        grid, moments = steps_of(weight, 3), Moments(product(weight))
        moments.add(inputs)
        made = rounded(weight, grid, moments.second(centred=False))
        low = np.floor(weight / grid.step)
        choices = np.clip(low + np.array(list(itertools.product((0, 1), repeat=8))), -3, 3) * grid.step
        found += errors(weight, made, inputs)[0]
        nearest += errors(weight, np.rint(weight / grid.step) * grid.step, inputs)[0]
        best += min(errors(weight, one[None], inputs)[0] for one in choices)
    assert found < 0.5 * nearest
    assert found < 2 * best


def test_where_a_bias_makes_good_the_mean_only_what_varies_counts() -> None:
    rng = np.random.default_rng(6)
    weight = rng.normal(size=(16, 12)).astype(np.float32)
    inputs = alike(rng, 600, 12) + 20
    grid, moments = steps_of(weight, 7), Moments(product(weight))
    moments.add(inputs)
    plain, centred = (rounded(weight, grid, moments.second(centred=word)) for word in (False, True))
    around = inputs - inputs.mean(axis=0)
    assert errors(weight, centred, around).sum() < errors(weight, plain, around).sum()
    assert errors(weight, plain, inputs).sum() < errors(weight, centred, inputs).sum()


def test_what_few_rows_cannot_know_is_left_to_the_nearest_step() -> None:
    """One row for 64 weights: whatever it says, others see no worse than a little above nearest."""
    rng = np.random.default_rng(7)
    weight, others = rng.normal(size=(32, 64)).astype(np.float32), rng.normal(size=(500, 64))
    grid, moments = steps_of(weight, 7), Moments(product(weight))
    moments.add(rng.normal(size=(1, 64)).astype(np.float32))
    made = rounded(weight, grid, moments.second(centred=False))
    nearest = np.rint(weight / grid.step) * grid.step
    assert errors(weight, made, others).sum() < 1.15 * errors(weight, nearest, others).sum()


@pytest.mark.parametrize("values", [np.zeros((4, 6), np.float32), np.ones((4, 6), np.float32)], ids=["zero", "one"])
def test_inputs_that_never_vary_harm_nothing(values: np.ndarray) -> None:
    weight = np.random.default_rng(8).normal(size=(3, 6)).astype(np.float32)
    grid, moments = steps_of(weight, 127), Moments(product(weight))
    moments.add(values)
    for centred in (False, True):
        made = rounded(weight, grid, moments.second(centred=centred))
        assert np.abs(made - weight).max() <= 3 * grid.step.max()


def test_a_layer_that_saw_nan_or_nothing_is_not_usable() -> None:
    weight = np.ones((1, 2), np.float32)
    moments = Moments(product(weight))
    assert not moments.is_usable
    moments.add(np.array([[1, np.nan]], np.float32))
    assert not moments.is_usable


def test_a_grid_reaches_no_further_than_the_quantizer_went() -> None:
    even = grid_of(np.array([[-3, 5]], np.int8), np.float64([[0.5]]), np.zeros((1, 1)), (-128, 127))
    assert (even.lowest.item(), even.highest.item(), even.step.item()) == (-5, 5, 0.5)
    silent = grid_of(np.zeros((2, 1), np.int8), np.float64([[0.5], [0]]), np.zeros((1, 1)), (-128, 127))
    assert silent.step.tolist() == [[0.5], [1]]
    assert silent.highest.tolist() == [[0], [0]]
    uneven = grid_of(np.array([[0, 3], [5, 9]], np.uint8), np.float64([[0.5]]), np.float64([[4], [6]]), (0, 255))
    assert uneven.lowest.tolist() == [[-4], [-6]]
    assert uneven.highest.tolist() == [[5], [3]]


@pytest.mark.parametrize(
    ("integers", "limits", "ends"), [([[0, 9]], (0, 255), (0, 9)), ([[-128, 4]], (-128, 127), (-128, 127))]
)
def test_a_grid_ends_where_its_type_does(integers: list[list[int]], limits: tuple[int, int], ends: tuple) -> None:
    found = grid_of(np.array(integers), np.float64([[1]]), np.zeros((1, 1)), limits)
    assert (found.lowest.item(), found.highest.item()) == ends


def far_from_zero(rng: np.random.Generator) -> np.ndarray:
    return (10 + 0.01 * rng.normal(size=(3000, 1)) @ rng.normal(size=(1, 24))).astype(np.float32)


HARD = {
    "one row": lambda rng: rng.normal(size=(1, 24)).astype(np.float32),
    "the same row": lambda rng: np.tile(rng.normal(size=(1, 24)), (50, 1)).astype(np.float32),
    "far from zero": far_from_zero,
    "one channel far": lambda rng: np.hstack([np.full((500, 1), 3e3), rng.normal(3, 0.1, (500, 23))]).astype("f4"),
    "timestamps": lambda rng: (2000 + 0.2 * rng.normal(size=(100, 1)) + np.zeros((1, 24))).astype(np.float32),
    "huge": lambda rng: (1e18 * rng.normal(size=(100, 24))).astype(np.float32),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("centred", [False, True])
def test_no_inputs_are_too_hard(name: str, centred: bool) -> None:
    rng = np.random.default_rng(9)
    weight, inputs = rng.normal(size=(5, 24)).astype(np.float32), HARD[name](rng)
    grid, moments = steps_of(weight, 127), Moments(product(weight))
    for part in np.array_split(inputs, 3):
        if len(part):
            moments.add(part)
    made = rounded(weight, grid, moments.second(centred=centred))
    assert np.isfinite(made).all()
    around = inputs - (inputs.mean(axis=0) if centred else 0)
    nearest = np.rint(weight / grid.step) * grid.step
    assert errors(weight, made, around).sum() <= 1.05 * errors(weight, nearest, around).sum() + 1e-9


def test_outputs_are_rounded_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    weight, inputs = rng.normal(size=(40, 30)).astype(np.float32), alike(rng, 300, 30)
    moments, grid = Moments(product(weight)), steps_of(weight, 7)
    moments.add(inputs)
    second = moments.second(centred=True)
    whole = rounded(weight, grid, second)
    monkeypatch.setattr(rounding, "_ELEMENTS", 100)
    assert_allclose(rounded(weight, grid, second), whole)
