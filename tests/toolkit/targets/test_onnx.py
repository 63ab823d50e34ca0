"""The ONNX target on graphs that break naive quantizers, its limits, and its arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contracts import onnx_jobs as jobs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toolkit.core import process
from toolkit.core.artifacts import Range
from toolkit.core.clock import SystemClock
from toolkit.core.errors import ModelError
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.recipe import Override, Recipe, load_recipe
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.targets import onnx as target
from toolkit.targets.onnx import facts
from toolkit.targets.onnx.weights import to_integers

DEADLINE_S = 120
STATIC, WEIGHTS = load_recipe("static-int8"), load_recipe("weight-int8")
HARD = [
    "shared_bias_beside_a_tensor_of_its_numbered_name",
    "weights_as_constant_nodes",
    "clip_that_does_not_hold_zero",
    "grouped_transposed_convolution",
    "gemms_with_odd_biases",
    "one_weight_with_two_channel_axes",
    "one_weight_in_two_convolutions",
    "embedding_of_int32",
    "branches",
    "float_only_layers",
]


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> dict[str, jobs.Trial]:
    return tried([*HARD, "product_of_two_inputs"], STATIC, tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def weight_only(tmp_path_factory: pytest.TempPathFactory) -> dict[str, jobs.Trial]:
    return tried(HARD, WEIGHTS, tmp_path_factory.mktemp("weights"))


def tried(cases: list[str], recipe: Recipe, folder: Path) -> dict[str, jobs.Trial]:
    maker = Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(folder / "store"))
    return isolate(maker, DEADLINE_S, jobs.trials, cases, recipe, folder)


@pytest.mark.parametrize("case", [*HARD, "product_of_two_inputs"])
def test_static_int8_survives(case: str, static: dict[str, jobs.Trial]) -> None:
    assert static[case].sqnr_db > 25
    assert "uint8" in {layer.activation_dtype for layer in static[case].layers}


@pytest.mark.parametrize("case", HARD)
def test_weight_int8_survives(case: str, weight_only: dict[str, jobs.Trial]) -> None:
    layers = weight_only[case].layers
    assert weight_only[case].sqnr_db > 28
    assert "int8" in {layer.weight_dtype for layer in layers}
    assert {layer.activation_dtype for layer in layers} <= {"float32", "int8", "int32", "bool", ""}


@pytest.mark.parametrize(
    "recipe",
    [
        replace(STATIC, name="tensor", granularity="tensor"),
        replace(STATIC, name="unsigned", granularity="tensor", symmetric=False),
        replace(WEIGHTS, name="tensor", granularity="tensor"),
        replace(WEIGHTS, name="asymmetric", symmetric=False),
        replace(WEIGHTS, name="both", granularity="tensor", symmetric=False),
    ],
    ids=lambda recipe: f"{recipe.activation_mode}-{recipe.name}",
)
def test_other_grids_of_the_weights(recipe, tools: Tools, tmp_path: Path) -> None:
    assert target.not_expressible(recipe) is None
    done = isolate(tools, DEADLINE_S, jobs.trial, "gemms_with_odd_biases", recipe, tmp_path)
    assert done.sqnr_db > 25, done.sqnr_db


def test_what_stays_float_is_named_with_the_reason(static: dict[str, jobs.Trial]) -> None:
    done = static["float_only_layers"]
    reasons = {kept.layer: kept.reason for kept in done.kept_float}
    assert reasons == {
        "slopes": "ONNX Runtime has no integer PRelu",
        "recur": "ONNX Runtime has no integer LSTM",
        "norm": "8 bits of what LayerNormalization makes can ruin a model",
    }


def test_weights_inside_branches_are_named_as_left_in_float(static: dict[str, jobs.Trial]) -> None:
    done = static["branches"]
    kept = {kept.layer: kept.reason for kept in done.kept_float}
    assert kept.pop("ask").startswith("ONNX Runtime has no integer")
    assert kept.keys() == {"relu", "choose/yes_product", "choose/no_product"}
    assert all("If, Loop or Scan" in reason for reason in kept.values())


def test_a_clip_without_zero_is_kept_and_still_clips(static: dict[str, jobs.Trial]) -> None:
    done = static["clip_that_does_not_hold_zero"]
    assert [kept.layer for kept in done.kept_float] == ["clip"]
    assert "Clip" in {layer.operator for layer in done.layers}


def test_an_embedding_table_becomes_a_quarter(weight_only: dict[str, jobs.Trial]) -> None:
    done = weight_only["embedding_of_int32"]
    table = next(layer for layer in done.layers if layer.name == "embed")
    assert (table.weight_dtype, table.weight_bytes) == ("int8", 64 * 24)
    assert done.build_bytes < done.float_bytes / 2


def test_facts_of_a_quantized_convolution(static: dict[str, jobs.Trial]) -> None:
    done = static["weights_as_constant_nodes"]
    (conv,) = [layer for layer in done.layers if layer.operator == "Conv"]
    scales, zeros, bias = 16 * 4, 16 * 1, 16 * (4 + 4 + 4)
    assert (conv.weight_dtype, conv.activation_dtype) == ("int8", "uint8")
    assert conv.weight_bytes == 16 * 27 + scales + zeros + bias


@pytest.mark.parametrize(
    ("case", "recipe", "ranges", "words"),
    [
        ("nothing_to_quantize", STATIC, {"x": Range(low=0, high=1), "y": Range(low=0, high=1)}, "No operator"),
        ("nothing_to_quantize", WEIGHTS, {}, "no weights"),
        ("gemms_with_odd_biases", STATIC, {}, "No operator .* never saw its tensor"),
        (
            "logarithm_of_small_numbers",
            STATIC,
            # ranges of other data than this: what lies below the first step becomes zero
            {name: Range(low=0.5 if name == "a" else 0, high=100) for name in ("x", "g", "a", "y")},
            "output 'y' is not a number",
        ),
        ("weights_elsewhere", WEIGHTS, {}, "keeps the weight 'w' in another file"),
        ("gemms_with_odd_biases", replace(WEIGHTS, name="table", scheme="lut"), {}, "table is not expressible"),
    ],
)
def test_refusals(case: str, recipe, ranges, words: str, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        isolate(tools, DEADLINE_S, jobs.quantize_with, case, recipe, ranges, tmp_path)


@pytest.mark.parametrize(
    ("case", "declared", "words"),
    [("old_operator_set", "x", "operator set 13"), ("gemms_with_odd_biases", "z", r"\['x'\], the source's \['z'\]")],
)
def test_a_form_that_does_not_fit_is_refused(
    case: str, declared: str, words: str, tools: Tools, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=words):
        isolate(tools, DEADLINE_S, jobs.convert_onnx, case, tmp_path, declared)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheme": "lut"}, "lut"),
        ({"weight_bits": 4}, "4-bit"),
        ({"weight_bits": 32}, "32-bit"),
        ({"granularity": "block"}, "block"),
        ({"activation_mode": "dynamic", "symmetric": False}, "asymmetric weights with dynamic"),
        ({"overrides": (Override(layers=("@last",), weight_bits=4),)}, "4-bit"),
        ({"overrides": (Override(layers=("@last",), symmetric=False),)}, "one zero point"),
        ({"symmetric": False}, "one zero point"),
    ],
)
def test_says_what_it_cannot_express(changes, words: str) -> None:
    reason = target.not_expressible(replace(STATIC, **changes))
    assert reason is not None
    assert words in reason


def test_calibration_shows_every_float_tensor_once_a_sample(
    onnx_model: Path, noise_npz: Path, tools: Tools, tmp_path: Path
) -> None:
    shown = isolate(tools, DEADLINE_S, jobs.shown_in_calibration, onnx_model, noise_npz)
    wanted = isolate(tools, DEADLINE_S, jobs.every_inner_tensor, onnx_model, noise_npz)
    assert shown.keys() == wanted.keys()
    for name, (count, low, high) in wanted.items():
        assert shown[name] == pytest.approx((count, low, high), abs=1e-5), name


def test_numpy_scalars_are_taken_for_tensors_without_axes(tools: Tools, tmp_path: Path) -> None:
    assert isolate(tools, DEADLINE_S, jobs.run_scalar, tmp_path) == 12


def test_a_closed_session_says_so(tools: Tools, tmp_path: Path) -> None:
    assert isolate(tools, DEADLINE_S, jobs.run_after_close, tmp_path) == "the session is closed"


def test_floors_follow_operator_set_and_file_format() -> None:
    assert facts.since(facts.OPSET_SINCE, 17) == "1.12"
    assert facts.since(facts.OPSET_SINCE, 9) == "1.10"
    assert facts.since(facts.FORMAT_SINCE, 10) == "1.18"


WEIGHT_ARRAYS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-1e6, 1e6, width=32, allow_nan=False),
)


@given(weights=WEIGHT_ARRAYS, symmetric=st.booleans(), by_channel=st.booleans())
def test_integers_are_within_half_a_step_and_keep_zero(weights, symmetric: bool, by_channel: bool) -> None:
    axis = 0 if by_channel else None
    made = to_integers(weights, axis, symmetric=symmetric)
    assert made.values.shape == weights.shape
    assert made.scale.shape == made.zero_point.shape == ((weights.shape[0],) if by_channel else ())
    assert not symmetric or not made.zero_point.any()
    spread = (-1,) + (1,) * (weights.ndim - 1)
    scale = made.scale.reshape(spread) if by_channel else made.scale
    zero = made.zero_point.reshape(spread) if by_channel else made.zero_point
    back = (made.values.astype(np.float64) - zero) * scale
    assert (np.abs(back - weights) <= scale * (0.502 if symmetric else 1.002)).all()
    assert (back[weights == 0] == 0).all()


@given(weights=WEIGHT_ARRAYS)
def test_integers_of_a_channel_do_not_depend_on_the_others(weights) -> None:
    whole = to_integers(weights, 1, symmetric=True)
    alone = to_integers(weights[:, :1], 1, symmetric=True)
    assert (whole.values[:, :1] == alone.values).all()
    assert whole.scale[0] == alone.scale[0]
