"""TFLite: two real models through every recipe, and the refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tflite_jobs

from toolkit.core import process
from toolkit.core.artifacts import Range, Signature
from toolkit.core.clock import SystemClock
from toolkit.core.errors import ModelError, PalmtopError
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.recipe import Override, Recipe, load_recipe
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.targets import tflite
from toolkit.targets.tflite.flatbuffer import Graph, Operator, Tensor, read_graph
from toolkit.targets.tflite.runtime_floor import requirements_of


def _tools(folder: Path) -> Tools:
    return Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(folder / "cache"))


@pytest.fixture(scope="session")
def cnn(keras_model: Path, shapes_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> tflite_jobs.Whole:
    folder = tmp_path_factory.mktemp("tflite-keras")
    return isolate(_tools(folder), 240, tflite_jobs.whole_job, "keras", keras_model, shapes_npz, folder)


@pytest.fixture(scope="session")
def net(onnx_model: Path, noise_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> tflite_jobs.Whole:
    folder = tmp_path_factory.mktemp("tflite-onnx")
    return isolate(_tools(folder), 240, tflite_jobs.whole_job, "onnx", onnx_model, noise_npz, folder)


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tflite_jobs.Case]:
    folder = tmp_path_factory.mktemp("tflite-cases")
    return isolate(_tools(folder), 240, tflite_jobs.convert_cases, folder)


Cases = dict[str, tflite_jobs.Case]


def _signature(case: tflite_jobs.Case) -> Signature:
    assert case.signature is not None, case.error
    return case.signature


@pytest.mark.parametrize("which", [pytest.param("cnn", marks=pytest.mark.slow), "net"])
def test_every_recipe_keeps_the_models_answers(which: str, request: pytest.FixtureRequest) -> None:
    whole: tflite_jobs.Whole = request.getfixturevalue(which)
    builds = whole.builds
    assert builds["float32"].sqnr_db > 80
    assert builds["weight-int8"].sqnr_db > 25
    assert builds["static-int8"].sqnr_db > 20
    assert builds["static-int8"].sqnr_db < 80, "nothing was quantized"
    for build in builds.values():
        assert build.kept_float == ()
        assert build.signature == build.session_signature == whole.float_signature
    assert builds["float32"].path.read_bytes() == whole.float_path.read_bytes()


@pytest.mark.parametrize("which", [pytest.param("cnn", marks=pytest.mark.slow), "net"])
def test_census_of_a_static_build(which: str, request: pytest.FixtureRequest, tools: Tools) -> None:
    whole: tflite_jobs.Whole = request.getfixturevalue(which)
    found = isolate(tools, 60, tflite.inspect, whole.builds["static-int8"].path)
    weighted = [layer for layer in found.layers if layer.weight_dtype]
    assert weighted
    assert {layer.weight_dtype for layer in weighted} == {"int8"}
    inner = [layer for layer in found.layers if layer.operator not in ("QUANTIZE", "DEQUANTIZE")]
    assert {layer.activation_dtype for layer in inner} == {"int8"}
    assert found.signature == whole.float_signature
    before = isolate(tools, 60, tflite.inspect, whole.float_path)
    assert {layer.weight_dtype for layer in before.layers if layer.weight_dtype} == {"float32"}
    assert sum(layer.weight_bytes for layer in weighted) < 0.5 * sum(layer.weight_bytes for layer in before.layers)
    assert found.requirements is not None
    assert found.requirements.runtime_min == "1.14.0"
    assert found.requirements.android_api_min == 21
    assert "CONV_2D" in found.requirements.operators


def test_a_weight_build_computes_in_float(net: tflite_jobs.Whole, tools: Tools) -> None:
    found = isolate(tools, 60, tflite.inspect, net.builds["weight-int8"].path)
    weighted = [layer for layer in found.layers if layer.weight_dtype]
    assert {(layer.weight_dtype, layer.activation_dtype) for layer in weighted} == {("int8", "float32")}
    assert found.requirements is not None
    assert found.requirements.runtime_min == "2.7.0"  # DEQUANTIZE per channel


@pytest.mark.slow
def test_names_of_a_keras_model_stay(cnn: tflite_jobs.Whole) -> None:
    assert [(spec.name, spec.perm) for spec in cnn.float_signature.inputs] == [("image", ())]
    assert [spec.name for spec in cnn.float_signature.outputs] == ["kind"]


def test_names_and_axes_come_from_the_source(net: tflite_jobs.Whole, tools: Tools) -> None:
    (image,) = net.float_signature.inputs
    assert (image.name, image.source_name, image.perm, image.shape) == ("x", "x", (0, 2, 3, 1), (1, 16, 16, 3))
    found = isolate(tools, 60, tflite.inspect, net.float_path)
    assert "TRANSPOSE" not in {layer.operator for layer in found.layers}
    assert net.builds["static-int8"].signature.inputs[0].perm == (0, 2, 3, 1)


def test_like_shaped_inputs_are_not_mixed_up(cases: Cases) -> None:
    signature = _signature(cases["two"])  # seen to compute the same: subtraction tells its inputs apart
    assert [spec.name for spec in signature.inputs] == ["b", "a"]
    assert [spec.name for spec in signature.outputs] == ["later", "early"]
    assert all(spec.perm == () for spec in (*signature.inputs, *signature.outputs)), "nothing to gain by turning"


def test_erf_is_written_out_and_gelu_is_one_operator(cases: Cases) -> None:
    _signature(cases["erf"])  # converting means: seen to compute the same
    _signature(cases["gelu"])
    assert [operator.kind for operator in read_graph(cases["gelu"].path).operators] == ["GELU"]


def test_odd_names_and_a_float_island(cases: Cases, tools: Tools, tmp_path: Path) -> None:
    signature = _signature(cases["map"])
    assert [spec.name for spec in (*signature.inputs, *signature.outputs)] == ["input.1", "out/0"]
    assert {spec.perm for spec in (*signature.inputs, *signature.outputs)} == {(0, 2, 3, 1)}
    layers = isolate(tools, 60, tflite.inspect, cases["map"].path).layers
    ranges = dict.fromkeys(("input.1", "out/0", *(layer.name for layer in layers)), Range(low=-6.0, high=6.0))
    out = tmp_path / "q.tflite"
    kept = isolate(tools, 120, tflite_jobs.quantize_job, cases["map"].path, load_recipe("static-int8"), ranges, out)
    assert len(kept) == 1
    assert "no INT8 form of MINIMUM" in kept[0].reason  # half of a PRelu
    assert kept[0].layer in {layer.name for layer in layers}


def test_whole_numbers_may_be_wide(cases: Cases, tools: Tools) -> None:
    assert _signature(cases["tokens"]).inputs[0].dtype == "int32"
    assert isolate(tools, 60, tflite_jobs.run_job, cases["tokens"].path, True) == {"y": "float32 [1, 6, 3]"}


def test_an_operator_without_a_form_is_named(cases: Cases) -> None:
    assert "'Det'" in cases["det"].error
    assert "'volume'" in cases["det"].error
    assert "Replace that operator" in cases["det"].error


def test_a_tensor_that_does_not_stand_for_its_source_is_refused(cases: Cases) -> None:
    assert "turned 'later' from float32 [1, 3, 4, 6] into float32 [1, 3, 4, 5]" in cases["false"].error


def test_ranges_must_be_there_and_finite(net: tflite_jobs.Whole, tools: Tools, tmp_path: Path) -> None:
    recipe, out = load_recipe("static-int8"), tmp_path / "q.tflite"
    some = dict(list(net.ranges.items())[1:])
    with pytest.raises(ModelError, match="saw no values of the tensor 'x'"):
        isolate(tools, 60, tflite_jobs.quantize_job, net.float_path, recipe, some, out)
    endless = {**net.ranges, "x": Range(low=0.0, high=float("inf"))}
    with pytest.raises(ModelError, match="'x' gave the range"):
        isolate(tools, 60, tflite_jobs.quantize_job, net.float_path, recipe, endless, out)


def test_a_build_that_changes_nothing_is_refused(cases: Cases, tools: Tools, tmp_path: Path) -> None:
    recipe = load_recipe("weight-int8")
    with pytest.raises(ModelError, match=r"Nothing in exp\.tflite was quantized"):
        isolate(tools, 60, tflite_jobs.quantize_job, cases["exp"].path, recipe, {}, tmp_path / "q.tflite")


_STATIC = load_recipe("static-int8")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (replace(_STATIC, scheme="lut"), "lut"),
        (replace(_STATIC, granularity="block"), "block"),
        (replace(_STATIC, symmetric=False), "symmetric"),
        (replace(_STATIC, overrides=(Override(layers=("@last",), symmetric=False),)), "symmetric"),
        (replace(_STATIC, weight_bits=4, activation_mode="none", granularity="block"), "dynamic activations"),
        (replace(_STATIC, weight_bits=4, activation_mode="dynamic", granularity="block", block_size=16), "not 16"),
    ],
)
def test_what_cannot_be_expressed_is_said(recipe: Recipe, words: str) -> None:
    reason = tflite.not_expressible(recipe)
    assert reason is not None
    assert words in reason


def test_what_can_be_expressed() -> None:
    assert [tflite.not_expressible(load_recipe(name)) for name in tflite_jobs.RECIPES] == [None, None, None]
    assert tflite.not_expressible(replace(_STATIC, granularity="tensor")) is None


def test_weights_per_tensor_are_honoured(net: tflite_jobs.Whole, tools: Tools, tmp_path: Path) -> None:
    out = tmp_path / "tensor.tflite"
    recipe = replace(_STATIC, name="per-tensor", granularity="tensor")
    isolate(tools, 60, tflite_jobs.quantize_job, net.float_path, recipe, net.ranges, out)
    assert out.stat().st_size < net.builds["static-int8"].size_bytes


@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "offsets", "page"])
def test_damaged_files_are_errors(damage: str, net: tflite_jobs.Whole, tools: Tools, tmp_path: Path) -> None:
    whole = net.float_path.read_bytes()
    content = {
        "empty": b"",
        "noise": b"\x10\x00\x00\x00TFL3" + bytes(range(256)) * 8,
        "cut": whole[: len(whole) // 3],
        "offsets": whole[:16] + b"\xff" * 64 + whole[80:],
        "page": b"<html>not found</html>",
    }[damage]
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(PalmtopError, match=r"model\.tflite|child process"):
        isolate(tools, 60, tflite.inspect, path)
    with pytest.raises(PalmtopError, match=r"model\.tflite|child process"):
        isolate(tools, 60, tflite_jobs.run_job, path, False)


def _graph(kind: str, version: int, dtype: str, scales: int, noted: str = "", builtin: bool = True) -> Graph:
    tensor = Tensor(name="t", dtype=dtype, shape=(1, 4), constant_bytes=0, scales=scales)
    return Graph(
        tensors=(tensor, tensor),
        operators=(Operator(kind, version, (0,), (1,), builtin),),
        inputs=(("t", 0),),
        outputs=(("t", 1),),
        axes={},
        runtime_noted=noted,
        subgraphs=1,
    )


@pytest.mark.parametrize(
    ("graph", "runtime", "floor", "api"),
    [
        (_graph("CONV_2D", 1, "float32", 0), "TensorFlow Lite or LiteRT", "1.5.0", 21),
        (_graph("CONV_2D", 1, "int8", 1), "TensorFlow Lite or LiteRT", "1.14.0", 21),
        (_graph("CONV_2D", 6, "float32", 0), "TensorFlow Lite or LiteRT", "2.9.0", 21),
        (_graph("CONV_2D", 1, "float32", 0, noted="2.10.0"), "TensorFlow Lite or LiteRT", "2.10.0", 21),
        (_graph("CONV_2D", 99, "float32", 0), "LiteRT", "2.3.0", 24),
        (_graph("Sparkle", 1, "float32", 0, builtin=False), "LiteRT", "2.3.0", 24),
        (_graph("DEQUANTIZE", 1, "int8", 3), "TensorFlow Lite or LiteRT", "2.7.0", 21),
    ],
)
def test_runtime_floor(graph: Graph, runtime: str, floor: str, api: int) -> None:
    found = requirements_of((graph,))
    assert (found.runtime, found.runtime_min, found.android_api_min) == (runtime, floor, api)


def test_the_toolchain_is_named() -> None:
    assert {"tensorflow", "litert-quantizer", "ai-edge-litert"} <= {tool.name for tool in tflite.toolchain()}
