"""Models with branches and loops: built with what is inside kept float and said, or refused with the layer's name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import control_flow_jobs as jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools

INSIDE = "it is inside the body of an If, Loop or Scan"
DEADLINE_S = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flow")


def check_refused(text: str, *words: str) -> None:
    """A refusal names the operator and the layer, and says what to do."""
    assert text.startswith("ModelError: ")
    assert all(word in text for word in (*words, "target")), text


def test_onnx_runtime_takes_a_branch_and_says_what_stays_float(folder: Path, tools: Tools, tmp_path: Path) -> None:
    found = isolate(tools, DEADLINE_S, jobs.branch_on_onnx, folder, tmp_path)
    assert f"choose/one_product: {INSIDE}" in found["onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "refused"),
    [("if", "choose/one_product", ("Greater", "'ask'")), ("loop", "repeat/step", ("Loop", "'repeat'"))],
)
def test_onnx(name: str, layer: str, refused: tuple[str, ...], folder: Path, tools: Tools, tmp_path: Path) -> None:
    isolate(tools, DEADLINE_S, jobs.make_onnx, folder)
    found = isolate(tools, DEADLINE_S, jobs.outcomes, "onnx", folder / f"{name}.onnx", "static-int8", tmp_path)
    assert f"{layer}: {INSIDE}" in found["onnx"]
    check_refused(found["tflite"], *refused)
    assert "Error" not in found["coreml"]


@pytest.mark.slow
def test_a_loop_of_tensorflow(folder: Path, tools: Tools, tmp_path: Path) -> None:
    isolate(tools, DEADLINE_S, jobs.make_saved_model, folder)
    found = isolate(tools, DEADLINE_S, jobs.outcomes, "saved_model", folder / "while", "static-int8", tmp_path)
    assert "has control flow (WHILE that makes " in found["tflite"]
    assert "weight-int8" in found["tflite"]
    assert not found["onnx"].startswith("ChildFailed")
    assert found["coreml"].startswith("ModelError: ")
    assert "while" in found["coreml"]
    (tmp_path / "tflite").mkdir()
    found = isolate(
        tools, DEADLINE_S, jobs.outcomes, "tflite", folder / "while.tflite", "weight-int8", tmp_path / "tflite"
    )
    assert INSIDE in found["onnx"]
    assert "Error" not in found["tflite"]  # its own loop, weights in 8 bits


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_condition_of_pytorch(folder: Path, tools: Tools, tmp_path: Path) -> None:
    isolate(tools, DEADLINE_S, jobs.make_pytorch, folder)
    found = isolate(tools, DEADLINE_S, jobs.outcomes, "pytorch", folder / "cond.pt2", "static-int8", tmp_path)
    assert INSIDE in found["onnx"]
    check_refused(found["tflite"], "Greater")
    assert "Error" not in found["coreml"]
