"""ONNX: what is particular to `.onnx` files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import source_jobs

from toolkit.core import store
from toolkit.core.errors import ModelError
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.sources import onnx
from toolkit.sources._onnx_file import outer_fault
from toolkit.stages import importer


@pytest.fixture
def variants(tmp_path: Path) -> tuple[Path, Path]:
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.mkdir()
    good.mkdir()
    return bad, good


def test_refusals_say_what_and_where(variants: tuple[Path, Path], tools: Tools) -> None:
    (variants[0].parent / "secret.bin").write_bytes(bytes(10_000))
    texts = isolate(tools, 120, source_jobs.bad_and_good, "onnx", *variants)
    assert "already is an INT8 model" in texts["quantized.onnx"]
    assert "'to_int' is a QuantizeLinear" in texts["quantized.onnx"]
    assert "opset 99" in texts["opset.onnx"]
    assert "custom operator org.example.Sparkle" in texts["custom.onnx"]
    assert "Sparkle" in texts["unknown.onnx"]
    assert "outside the model's folder" in texts["outside.onnx"]
    assert "missing" in texts["absent.onnx"]
    assert "cut short" in texts["short.onnx"]
    assert "larger than 2 GB" in texts["huge.onnx"]
    assert "its input 'x' is float64" in texts["double_input.onnx"]
    assert "its input 'x' is float16" in texts["half_input.onnx"]
    assert "float64 weights: 'w' is float64" in texts["mixed.onnx"]
    assert "--shape x=1,3,224,224" in texts["dynamic.onnx"]

    dynamic = variants[0] / "dynamic.onnx"
    signature = isolate(tools, 60, source_jobs.read_with, "onnx", dynamic, {"x": (1, 3, 10, 12)})
    assert signature.outputs[0].shape == (1, 4, 8, 10)


def test_external_data_behind_a_symlink_is_refused(variants: tuple[Path, Path], tools: Tools) -> None:
    bad, good = variants
    isolate(tools, 120, source_jobs.bad_and_good, "onnx", bad, good)
    data = good / "external.bin"
    data.rename(good.parent / "elsewhere.bin")
    data.symlink_to(good.parent / "elsewhere.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        isolate(tools, 60, source_jobs.read_with, "onnx", good / "external.onnx", {})


def test_changed_external_data_is_another_model(variants: tuple[Path, Path], tools: Tools) -> None:
    good = variants[1]
    isolate(tools, 120, source_jobs.bad_and_good, "onnx", *variants)
    path, data = good / "external.onnx", good / "external.bin"
    before = importer.read_source(path, {}, tools).blob
    assert onnx.files(path) == (path, data)
    assert before.size_bytes == path.stat().st_size + data.stat().st_size

    moved = good.rename(good.with_name("moved")) / path.name
    assert importer.source_blob(moved, "onnx", {}, tools).sha256 == before.sha256
    data = moved.with_name(data.name)
    data.write_bytes(data.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    assert importer.read_source(moved, {}, tools).blob.sha256 != before.sha256
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(ModelError, match="cut short"):
        importer.read_source(moved, {}, tools)
    alone = moved.with_name("weights_as_inputs.onnx")
    assert importer.source_blob(alone, "onnx", {}, tools) == store.blob_of(alone)


@pytest.mark.parametrize(
    "name", [b"../secret.bin", b"/etc/hostname", b"gone.bin", b"\xff", b"a\0b", b"x" * 300, b"link"]
)
def test_external_data_elsewhere_is_not_hashed(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret.bin")
    (folder / "data.bin").write_bytes(b"weights")
    entries = [b"\x0a\x08location\x12\x08data.bin", b"\x0a\x08location\x12" + bytes([len(name) & 0x7F]) + name]
    (folder / "m.onnx").write_bytes(b"..".join([*entries, b"\x0a\x08location\x12"]))
    assert onnx.files(folder / "m.onnx") == (folder / "m.onnx", folder / "data.bin")


def test_weights_listed_as_inputs_are_none_and_wrong_output_shapes_are_mended(
    variants: tuple[Path, Path], tools: Tools
) -> None:
    good = variants[1]
    isolate(tools, 120, source_jobs.bad_and_good, "onnx", *variants)
    listed = isolate(tools, 60, source_jobs.read_with, "onnx", good / "weights_as_inputs.onnx", {})
    assert [spec.name for spec in listed.inputs] == ["x"]
    mended = isolate(tools, 60, source_jobs.read_with, "onnx", good / "weights_as_constants.onnx", {})
    assert mended.outputs[0].shape == (1, 4, 6, 6)


def test_an_unknown_form_is_refused(onnx_model: Path, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not exported as 'saved_model'"):
        isolate(tools, 60, source_jobs.export_to, "onnx", onnx_model, "saved_model", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x08\x08", "no graph"),
        (b"\x08\x08\x3a\x05abc", "cut short"),
        (b"\x08\x08\x3a\x00\xff\xff", "byte 4 does not belong"),
        (b"\x08" + b"\xff" * 12, "cut short"),
        (b"\x0a\x03abc", "does not begin like one"),
    ],
)
def test_outer_fields(content: bytes, words: str) -> None:
    fault = outer_fault(io.BytesIO(content), len(content))
    assert fault is not None
    assert words in fault


def test_a_graph_is_enough(onnx_model: Path) -> None:
    assert outer_fault(io.BytesIO(b"\x08\x08\x3a\x00"), 4) is None
    assert onnx.recognises(onnx_model) is None
