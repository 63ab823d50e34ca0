"""Whole models: converted, quantized, executed on the host, and held against their source."""

from __future__ import annotations

import shutil
from pathlib import Path

import coreml_model_jobs as jobs
import pytest

from toolkit.core.errors import DataError, ModelError
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools, system_tools


@pytest.fixture(scope="module")
def keras_outcomes(keras_model: Path, tmp_path_factory: pytest.TempPathFactory) -> jobs.KerasOutcomes:
    return isolate(system_tools(), 300, jobs.keras_models, keras_model, tmp_path_factory.mktemp("keras"))


def test_keras_cnn(keras_outcomes: jobs.KerasOutcomes) -> None:
    outcome = keras_outcomes.cnn
    assert [spec.name for spec in outcome.signature.inputs] == ["image"]
    assert outcome.sqnr_db["kind"] > 60
    assert 25 < outcome.int8_sqnr_db["kind"] < 100
    assert outcome.int8_bytes < outcome.float_bytes
    assert {layer.weight_dtype for layer in outcome.layers if layer.operator == "conv"} >= {"int8"}
    assert outcome.requirements is not None
    assert outcome.requirements.ios_min == "16"
    assert "constexpr_affine_dequantize" in outcome.requirements.operators


def test_keras_with_two_inputs_and_two_outputs(keras_outcomes: jobs.KerasOutcomes) -> None:
    outcome = keras_outcomes.two_heads
    assert {spec.name: spec.dtype for spec in outcome.signature.inputs} == {"tokens": "int32", "picture": "float32"}
    assert {spec.name: spec.shape for spec in outcome.signature.outputs} == {"zebra": (1, 5), "ant": (1, 3)}
    assert min(outcome.sqnr_db.values()) > 60
    assert min(outcome.int8_sqnr_db.values()) > 25


def test_onnx_net(onnx_model: Path, tmp_path: Path, tools: Tools) -> None:
    outcome = isolate(tools, 300, jobs.onnx_net, onnx_model, tmp_path)
    assert outcome.sqnr_db["y"] > 60
    assert 25 < outcome.int8_sqnr_db["y"] < 100
    assert any("64 elements" in item.reason for item in outcome.kept_float)


def test_a_program_that_computes_something_else_is_refused(onnx_model: Path, tmp_path: Path, tools: Tools) -> None:
    with pytest.raises(ModelError, match=r"computes something else: its output 'y' differs by \d+\.\d%"):
        isolate(tools, 300, jobs.onnx_net_with_a_changed_weight, onnx_model, tmp_path)


def test_onnx_tensor_names_that_core_ml_cannot_spell(tmp_path: Path, tools: Tools) -> None:
    outcome = isolate(tools, 300, jobs.onnx_text_with_odd_names, tmp_path)
    assert [(spec.name, spec.source_name, spec.dtype) for spec in outcome.signature.inputs] == [
        ("input_ids_0", "input.ids:0", "int32")
    ]
    assert [(spec.name, spec.source_name) for spec in outcome.signature.outputs] == [
        ("_1_pooled", "1/pooled"),
        ("p", ""),
    ]
    assert min(outcome.sqnr_db.values()) > 60
    assert min(outcome.int8_sqnr_db.values()) > 25


def test_an_operator_that_cannot_be_converted_is_named(tmp_path: Path, tools: Tools) -> None:
    with pytest.raises(ModelError, match=r"Det.*'determinant'"):
        isolate(tools, 300, jobs.onnx_unsupported, tmp_path)
    assert not (tmp_path / "d.mlpackage").exists()


def test_float16_programs_run_in_float32(tmp_path: Path, tools: Tools) -> None:
    found = isolate(tools, 300, jobs.float16_program, tmp_path)
    assert min(found.values()) > 40


def test_compressed_weights_are_what_coremltools_expands_them_to(tmp_path: Path, tools: Tools) -> None:
    found = isolate(tools, 300, jobs.compressed_programs, tmp_path)
    assert len(found) == 11
    assert {name: db for name, db in found.items() if db < 100} == {}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (jobs.unsupported_program, "'random_normal' of layer 'dice'"),
        (jobs.stateful_program, "'memory' is a state"),
        (jobs.neural_network, "kind 'neuralNetwork'"),
        (jobs.tiny_weights, "nothing was quantized"),
    ],
)
def test_what_cannot_be_executed_or_quantized_is_refused_by_name(
    job: object, message: str, tmp_path: Path, tools: Tools
) -> None:
    with pytest.raises(ModelError, match=message):
        isolate(tools, 300, job, tmp_path)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "small.mlpackage"
    isolate(system_tools(), 300, jobs.small_package, path)
    return path


def test_opening_is_quick_and_imports_no_framework(package: Path, tools: Tools) -> None:
    cold = isolate(tools, 120, jobs.open_cold, package)
    assert cold.imported == ()
    assert cold.seconds < 6


def test_a_wrong_feed_is_refused(package: Path, tools: Tools) -> None:
    with pytest.raises(DataError, match="'x' wants float32"):
        isolate(tools, 120, jobs.wrong_feed, package)


def test_quantizing_leaves_nothing_behind(package: Path, tools: Tools) -> None:
    assert isolate(tools, 120, jobs.leftovers, package) == []


def test_a_weight_path_that_leaves_the_package_is_refused(package: Path, tmp_path: Path, tools: Tools) -> None:
    shutil.copytree(package, tmp_path / "evil.mlpackage")
    with pytest.raises(ModelError, match="leaves the package"):
        isolate(tools, 120, jobs.rewrite_weight_path, tmp_path / "evil.mlpackage", "@model_path/../../../../etc/passwd")
