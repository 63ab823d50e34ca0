"""Whole models: converted, quantized, executed on the host, and held against their source."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import coreml_edited_jobs as edited
import coreml_program_jobs as program_jobs
import coreml_source_jobs as sources
import coreml_whole_jobs
import pytest

from toolkit.core.errors import ModelError
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools, system_tools
from toolkit.targets import coreml


@pytest.mark.slow
def test_keras_cnn(keras_model: Path, tmp_path: Path, tools: Tools) -> None:
    outcome = isolate(tools, 300, sources.keras_cnn, keras_model, tmp_path)
    assert [spec.name for spec in outcome.signature.inputs] == ["image"]
    assert outcome.sqnr_db["kind"] > 60
    assert 25 < outcome.int8_sqnr_db["kind"] < 100
    assert outcome.int8_bytes < outcome.float_bytes
    assert {layer.weight_dtype for layer in outcome.layers if layer.operator == "conv"} >= {"int8"}
    assert outcome.requirements is not None
    assert outcome.requirements.ios_min == "16"
    assert "constexpr_affine_dequantize" in outcome.requirements.operators


@pytest.mark.slow
def test_keras_with_two_inputs_and_two_outputs(tmp_path: Path, tools: Tools) -> None:
    outcome = isolate(tools, 300, sources.keras_two_heads, tmp_path)
    assert {spec.name: spec.dtype for spec in outcome.signature.inputs} == {"tokens": "int32", "picture": "float32"}
    assert {spec.name: spec.shape for spec in outcome.signature.outputs} == {"zebra": (1, 5), "ant": (1, 3)}
    assert min(outcome.sqnr_db.values()) > 60
    assert min(outcome.int8_sqnr_db.values()) > 25


@pytest.fixture(scope="module")
def onnx_outcomes(onnx_model: Path, tmp_path_factory: pytest.TempPathFactory) -> sources.OnnxOutcomes:
    return isolate(system_tools(), 300, sources.onnx_models, onnx_model, tmp_path_factory.mktemp("onnx"))


def test_onnx_net(onnx_outcomes: sources.OnnxOutcomes) -> None:
    outcome = onnx_outcomes.net
    assert outcome.sqnr_db["y"] > 60
    assert 25 < outcome.int8_sqnr_db["y"] < 100
    assert any("64 elements" in item.reason for item in outcome.kept_float)


def test_a_program_that_computes_something_else_is_refused(onnx_outcomes: sources.OnnxOutcomes) -> None:
    wanted = r"computes something else: its output 'y' differs by \d+\.\d%"
    assert re.search(wanted, onnx_outcomes.refusals["changed"])


def test_onnx_tensor_names_that_core_ml_cannot_spell(onnx_outcomes: sources.OnnxOutcomes) -> None:
    outcome = onnx_outcomes.odd_names
    assert [(spec.name, spec.source_name, spec.dtype) for spec in outcome.signature.inputs] == [
        ("input_ids_0", "input.ids:0", "int32")
    ]
    assert [(spec.name, spec.source_name) for spec in outcome.signature.outputs] == [
        ("_1_pooled", "1/pooled"),
        ("p", ""),
    ]
    assert min(outcome.sqnr_db.values()) > 60
    assert min(outcome.int8_sqnr_db.values()) > 25


def test_an_operator_that_cannot_be_converted_is_named(onnx_outcomes: sources.OnnxOutcomes) -> None:
    assert re.search(r"RandomNormalLike.*'dice'", onnx_outcomes.refusals["unsupported"])


REFUSED = {
    edited.unsupported_program: "'random_normal' of layer 'dice'",
    edited.stateful_program: "keeps state between calls ('memory')",
    edited.neural_network: "kind 'neuralNetwork'",
    edited.tiny_weights: "nothing was quantized",
    edited.contradiction: "contradicts itself",
    edited.absurd_shape: "absurd shape",
}
"""What each job is refused with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutcomes:
    """What came of programs of coremltools' own; refusals by the name of the job."""

    float16: dict[str, float]
    compressed: dict[str, float]
    functions: dict[str, float]
    refusals: dict[str, str]
    inspected_state: tuple[str, ...]
    shared_bytes: tuple[int, int]


def look(folder: Path) -> ProgramOutcomes:
    """Do all that starts from a program of coremltools' own, in one child."""
    refusals = {job.__name__: sources.refusal(job, folder) for job in REFUSED}
    return ProgramOutcomes(
        float16=program_jobs.float16_program(folder),
        compressed=program_jobs.compressed_programs(folder, *program_jobs.OFTEN),
        functions=program_jobs.several_functions(folder),
        refusals=refusals,
        inspected_state=coreml.requirements(folder / "s.mlpackage").operators,
        shared_bytes=program_jobs.shared_weights(folder),
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> ProgramOutcomes:
    return isolate(system_tools(), 300, look, tmp_path_factory.mktemp("programs"))


def test_float16_programs_run_in_float32(programs: ProgramOutcomes) -> None:
    assert min(programs.float16.values()) > 40


def test_compressed_weights_are_what_coremltools_expands_them_to(programs: ProgramOutcomes) -> None:
    assert programs.compressed.keys() == set(program_jobs.OFTEN)
    assert {name: db for name, db in programs.compressed.items() if db < 100} == {}


@pytest.mark.slow
def test_every_compression_is_what_coremltools_expands_it_to(tmp_path: Path, tools: Tools) -> None:
    found = isolate(tools, 600, program_jobs.compressed_programs, tmp_path)
    assert len(found) == 17
    assert {name: db for name, db in found.items() if db < 100} == {}


def test_of_several_functions_the_default_one_is_executed(programs: ProgramOutcomes) -> None:
    assert programs.functions == {"small": 0, "large": 0}


def test_a_weight_that_two_layers_share_is_counted_once(programs: ProgramOutcomes) -> None:
    found, wanted = programs.shared_bytes
    assert found == wanted


def test_a_program_that_keeps_state_can_be_looked_into(programs: ProgramOutcomes) -> None:
    assert programs.inspected_state == ("add", "read_state")


@pytest.mark.parametrize(("job", "message"), REFUSED.items())
def test_what_cannot_be_executed_or_quantized_is_refused_by_name(
    job: Callable[[Path], None], message: str, programs: ProgramOutcomes
) -> None:
    assert message in programs.refusals[job.__name__]


def test_opening_is_quick_and_imports_no_framework(sound: Path, tools: Tools) -> None:
    cold = isolate(tools, 120, program_jobs.open_cold, sound)
    assert cold.imported == ()
    assert cold.seconds < 6


def test_a_wrong_feed_is_refused_and_quantizing_leaves_nothing_behind(sound: Path, tools: Tools) -> None:
    handled = isolate(tools, 120, program_jobs.handle, sound)
    assert "'x' wants float32" in handled.wrong_feed
    assert handled.left == []


def test_a_weight_path_that_leaves_the_package_is_refused(sound: Path, tmp_path: Path, tools: Tools) -> None:
    shutil.copytree(sound, tmp_path / "evil.mlpackage")
    with pytest.raises(ModelError, match="leaves the package"):
        isolate(
            tools, 120, edited.rewrite_weight_path, tmp_path / "evil.mlpackage", "@model_path/../../../../etc/passwd"
        )


APPLICATIONS = ("MobileNetV2",)
TORCH_NETS = ("lstm", "gru", "attentive", "pyramid", "text", "audio")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_known_architectures(name: str, tmp_path: Path, tools: Tools) -> None:
    found = isolate(tools, 900, coreml_whole_jobs.application, name, 96, tmp_path)
    assert found["float32"] > 60
    assert found["float16"] > min(40, found["source"] - 0.5), "no worse than Keras with its weights in half precision"


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("name", TORCH_NETS)
def test_torch_nets(name: str, tmp_path: Path, tools: Tools) -> None:
    found = isolate(tools, 900, coreml_whole_jobs.torch_net, name, tmp_path)
    assert found["float32"] > 60
    assert found["float16"] > 40
