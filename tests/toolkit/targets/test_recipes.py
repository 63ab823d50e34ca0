"""ONNX and TFLite: what recipes say of single layers, of the borders and of transformers, seen in the builds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recipe_jobs as jobs
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.core import process
from toolkit.core.artifacts import LayerFact
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.recipe import Override, load_recipe, recipe_names
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.targets.onnx.products import to_blocks

DEADLINE_S = 300
STATIC, WEIGHTS = load_recipe("static-int8"), load_recipe("weight-int8")
OWN = (
    replace(STATIC, name="io", io="int8"),
    replace(STATIC, name="float-ends-io", io="int8", keep_float=("@first", "@last")),
    replace(STATIC, name="float-convs", keep_float=("conv",)),
    replace(STATIC, name="wide-last", overrides=(Override(layers=("@last",), activation_bits=16),)),
    replace(STATIC, name="one-scale", overrides=(Override(layers=("@first",), granularity="tensor"),)),
    replace(WEIGHTS, name="four-last", overrides=(Override(layers=("@last",), weight_bits=4),)),
    replace(WEIGHTS, name="float-last", keep_float=("@last",)),
    replace(STATIC, name="elsewhere", keep_float=("coreml:conv",)),
    replace(STATIC, name="lost", keep_float=("convs",)),
)
TRANSFORMERS = tuple(load_recipe(name) for name in recipe_names() if name != "float32")
Trials = dict[str, jobs.Trial]


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def net(target: str, onnx_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    folder = tmp_path_factory.mktemp(f"{target}-net")
    blocks = (replace(WEIGHTS, name="blocks-of-8-bits", granularity="block", block_size=16),)
    return tried(target, onnx_model, (*OWN, *(blocks if target == "onnx" else ())), folder)


def tried(target: str, model: Path, recipes, folder: Path) -> Trials:
    maker = Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(folder / "store"))
    return isolate(maker, DEADLINE_S, jobs.try_recipes, target, model, recipes, folder / "builds")


def weighted(trial: jobs.Trial) -> dict[str, str]:
    assert not trial.error, trial.error
    return {layer.name: layer.weight_dtype for layer in trial.layers if layer.weight_dtype and layer.weight_bytes > 64}


def test_borders_are_what_io_says(net: Trials) -> None:
    for trial in net.values():
        if trial.signature is not None:
            integers = trial in (net["io"], net["float-ends-io"])
            for spec in (*trial.signature.inputs, *trial.signature.outputs):
                assert (spec.dtype in ("int8", "uint8")) == integers
                assert (spec.scale > 0) == integers


def test_integers_at_the_borders(net: Trials) -> None:
    trial = net["io"]
    assert trial.sqnr_db > 25
    assert trial.census is not None
    assert trial.census.islands == 0


def test_float_ends_between_integer_borders_stay_float_in_the_runtime(net: Trials) -> None:
    trial = net["float-ends-io"]
    assert trial.sqnr_db > 25
    assert trial.census is not None
    assert trial.census.layers["float"] == 2
    assert trial.census.islands == 2
    assert trial.census.weight_tensors.get("int8") == 2
    assert ["recipe keeps it: @" in kept.reason for kept in trial.kept_float] == [True, True]


def test_layers_kept_by_operator(net: Trials) -> None:
    trial = net["float-convs"]
    kept = [item.layer for item in trial.kept_float if item.reason.startswith("the recipe keeps it: conv")]
    assert len(kept) == 3
    assert trial.census is not None
    assert sum(trial.census.weight_tensors.get(word, 0) for word in ("float32", "int16")) == 3
    assert trial.census.weight_tensors["int8"] == 1
    assert trial.sqnr_db > net["one-scale"].sqnr_db


def test_activations_of_one_layer_in_16_bits(net: Trials) -> None:
    dtypes = {layer.activation_dtype for layer in net["wide-last"].layers}
    assert dtypes & {"int16", "uint16"} or net["wide-last"].census.layers.get("float")  # type: ignore[union-attr]
    assert net["wide-last"].sqnr_db > 25


def test_weights_of_one_layer_in_4_bits(net: Trials, target: str) -> None:
    four, eight = net["four-last"], net["float-last"]
    assert {"int4", "int8"} == {layer.weight_dtype for layer in four.layers} - {"float32", ""}
    assert four.census is not None
    assert eight.census is not None
    # ONNX Runtime turns 8-bit weights into floats once, when it loads the build
    loaded = "float32" if target == "onnx" else "int8"
    assert four.census.weight_tensors == {"int4": 1, loaded: 3}
    assert eight.census.weight_tensors == ({"float32": 4} if target == "onnx" else {"float32": 1, "int8": 3})
    assert net["four-last"].sqnr_db < net["float-last"].sqnr_db


def test_a_pattern_for_another_target_changes_nothing(net: Trials) -> None:
    assert net["elsewhere"].kept_float == ()
    assert not net["elsewhere"].error


def test_a_pattern_that_matches_nothing_names_the_nearest(net: Trials, target: str) -> None:
    assert f"matches no layer of the {target} model" in net["lost"].error
    assert f"Did you mean {'Conv' if target == 'onnx' else 'CONV_2D'!r}" in net["lost"].error


def test_products_in_blocks_of_8_bits(net: Trials, target: str) -> None:
    if target == "onnx":
        trial = net["blocks-of-8-bits"]
        assert "MatMulNBits" in {layer.operator for layer in trial.layers}
        assert trial.sqnr_db > 35
        assert trial.requirements is not None
        assert trial.requirements.runtime_min == "1.22"


@pytest.fixture(scope="module", params=["text", pytest.param("vision", marks=pytest.mark.slow)])
def transformer(request: pytest.FixtureRequest, target: str, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    folder = tmp_path_factory.mktemp(f"{target}-{request.param}")
    (jobs.make_text_encoder if request.param == "text" else jobs.make_vision_encoder)(folder / "model.onnx")
    return tried(target, folder / "model.onnx", TRANSFORMERS, folder)


def test_a_transformer_keeps_its_answers(transformer: Trials) -> None:
    least = {"float16": 55.0, "weight-int8": 28.0, "dynamic-int8": 25.0, "static-int8": 20.0, "static-int8-act16": 28.0}
    for name, sqnr_db in least.items():
        assert transformer[name].sqnr_db > sqnr_db, (name, transformer[name].error)
    assert transformer["weight-int4"].sqnr_db > 5
    assert transformer["lut-4bit"].error


def test_what_a_transformer_computes_in_is_said(transformer: Trials, target: str) -> None:
    static, dynamic = transformer["static-int8"], transformer["dynamic-int8"]
    assert static.census is not None
    assert dynamic.census is not None
    assert static.census.weight_tensors["int8"] >= 14
    assert static.census.layers["integer"] > static.census.layers.get("float", 0)
    assert dynamic.census.layers["dynamic"] >= 13
    reasons = " ".join(kept.reason for kept in static.kept_float)
    if target == "onnx":
        assert "what Softmax makes" in reasons
        assert "what LayerNormalization makes" in reasons
        assert "GELU" in reasons
    else:
        assert "GELU" in {layer.operator for layer in static.layers}
    named = {kept.layer for kept in static.kept_float}
    floats = {layer.name for layer in static.layers if layer.activation_dtype == "float32" and computes(layer)}
    assert floats <= named


def test_what_a_logarithm_listens_to_stays_float(target: str, tmp_path: Path) -> None:
    jobs.make_spectrum_net(tmp_path / "model.onnx")
    trial = tried(target, tmp_path / "model.onnx", (STATIC,), tmp_path)["static-int8"]
    assert not trial.error, trial.error
    kept = [item.layer for item in trial.kept_float if "a logarithm tells values apart that 8 bits" in item.reason]
    assert len(kept) >= 6  # two convolutions, two squares, two sums
    assert trial.census is not None
    assert trial.census.weight_tensors["int8"] == 2
    assert trial.sqnr_db > 25  # at most 12 with the spectrum in integers


def computes(layer: LayerFact) -> bool:
    """Whether a layer does more than move values."""
    return layer.operator.upper() not in ("GATHER", "IDENTITY", "RESHAPE", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE")


@given(st.integers(1, 70), st.integers(1, 5), st.sampled_from([4, 8]), st.sampled_from([16, 32]), st.integers(0, 9))
@settings(max_examples=40)
def test_blocks_unpack_to_within_half_a_step(inputs: int, outputs: int, bits: int, size: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 1, (inputs, outputs)).astype(np.float32)
    packed, scales = to_blocks(weight, bits, size)
    blocks = -(-inputs // size)
    assert packed.shape == (outputs, blocks, size * bits // 8)
    values = np.stack([packed & 15, packed >> 4], -1).reshape(outputs, blocks, size) if bits == 4 else packed
    floats = (values.astype(np.float64) - 2 ** (bits - 1)) * scales[..., None]
    back = floats.reshape(outputs, blocks * size).T
    steps = np.repeat(scales, size, axis=1).T
    assert np.all(np.abs(back[:inputs] - weight) <= steps[:inputs] * 0.5001)
    assert not back[inputs:].any()
