"""ONNX: what is particular to `.onnx` files."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest
import source_jobs

from toolkit.core import process, store
from toolkit.core.clock import SystemClock
from toolkit.core.errors import ModelError
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.probe import SAME_MODEL
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.sources import onnx
from toolkit.sources._onnx_file import outer_fault
from toolkit.stages import importer


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of odd models that must be read."""
    root = tmp_path_factory.mktemp("onnx-variants")
    for name in ("bad", "good"):
        (root / name).mkdir()
    maker = Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(root / "store"))
    isolate(maker, 120, source_jobs.make_onnx_variants, root / "bad", root / "good")
    return root / "good"


@pytest.fixture
def good(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "good"))


def test_external_data_behind_a_symlink_is_refused(good: Path, tools: Tools) -> None:
    data = good / "external.bin"
    data.rename(good.parent / "elsewhere.bin")
    data.symlink_to(good.parent / "elsewhere.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        isolate(tools, 60, source_jobs.read_with, "onnx", good / "external.onnx", {})


def test_changed_external_data_is_another_model(good: Path, tools: Tools) -> None:
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


def test_weights_listed_as_inputs_are_none_and_wrong_output_shapes_are_mended(good: Path, tools: Tools) -> None:
    odd = good / "weights_as_inputs.onnx", good / "weights_as_constants.onnx"
    listed, mended = isolate(tools, 60, source_jobs.read_each, "onnx", odd)
    assert [spec.name for spec in listed.inputs] == ["x"]
    assert mended.outputs[0].shape == (1, 4, 6, 6)


def test_an_unknown_form_is_refused(onnx_model: Path, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not exported as 'saved_model'"):
        isolate(tools, 60, source_jobs.export_to, "onnx", onnx_model, "saved_model", tmp_path / "out")


def test_rounding_in_a_saturated_output_is_no_fault_of_simplifying(tmp_path: Path, tools: Tools) -> None:
    error, refusal = isolate(tools, 60, source_jobs.saturated_detector, tmp_path)
    assert error > SAME_MODEL
    assert re.search(r"its output 'y' differs by \d+\.\d% from the original's", refusal)


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
