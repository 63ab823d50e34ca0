"""Keras, ONNX and PyTorch models become W8A8 packages on any host, with a score and its interval."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import coreml_labelled
import pytest

from toolkit import pipeline
from toolkit.core import manifest
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.stages.requests import QuantizeRequest, VerifyRequest
from toolkit.targets import coreml

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def scored(model: Path, data: Path, out: Path, tools: Tools) -> manifest.BuildEntry:
    """Quantize and verify; return the one build as `build.json` has it."""
    request = QuantizeRequest(
        model=model, out=out, data=str(data), targets=("coreml",), recipes=("static-int8",), samples=24, jobs=1
    )
    pipeline.quantize(request, tools)
    pipeline.verify(VerifyRequest(folder=out, data=str(data)), tools)
    (build,) = manifest.read(out).builds
    return build


def check(build: manifest.BuildEntry, out: Path, tools: Tools) -> None:
    assert build.score is not None
    assert build.score.metric == "top1"
    assert build.score.n >= 64
    assert build.score.ci_low <= build.score.drop <= build.score.ci_high
    assert build.score.drop < 0.1
    assert [(step.step, step.reason) for step in build.care] == [("bias correction", "")]
    found = isolate(tools, 120, coreml.inspect, out / build.path)
    facts = {(layer.weight_dtype, layer.activation_dtype) for layer in found.layers}
    assert facts & {("int8", "int8"), ("int8", "uint8")}
    assert found.requirements is not None
    assert found.requirements.ios_min == "17"


def test_from_onnx(onnx_model: Path, tmp_path: Path, tools: Tools) -> None:
    isolate(tools, 120, coreml_labelled.label_by_onnx, onnx_model, tmp_path / "data.npz")
    check(scored(onnx_model, tmp_path / "data.npz", tmp_path / "out", tools), tmp_path / "out", tools)


@pytest.mark.slow
def test_from_keras(keras_model: Path, shapes_npz: Path, tmp_path: Path, tools: Tools) -> None:
    check(scored(keras_model, shapes_npz, tmp_path / "out", tools), tmp_path / "out", tools)


@needs_torch
@pytest.mark.slow
def test_from_torch(tmp_path: Path, tools: Tools) -> None:
    isolate(tools, 300, coreml_labelled.label_by_torch, tmp_path / "data.npz")
    model = Path(f"{coreml_labelled.__file__}:classifier")
    check(scored(model, tmp_path / "data.npz", tmp_path / "out", tools), tmp_path / "out", tools)
