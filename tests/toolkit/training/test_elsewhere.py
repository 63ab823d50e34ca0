"""Models that were trained with quantization by other tools: known by their text, undone, their ranges kept."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import training_jobs
from test_frameworks import needs_torch

from toolkit import pipeline
from toolkit.core import isolation, pins
from toolkit.core.errors import FolderTaken, ModelError, OutputError
from toolkit.core.tools import Tools
from toolkit.sources import _pt2_file
from toolkit.training import elsewhere
from toolkit.training.elsewhere import tfmot
from toolkit.training.values import TuneRequest


def test_each_kind_is_known_by_its_text(tmp_path: Path, keras_model: Path, onnx_model: Path) -> None:
    training_jobs.write_tfmot(tmp_path / "wrapped.h5")
    for name, member, text in (
        ("wrapped.keras", "config.json", '{"registered_name": "TensorflowModelOptimization>QuantizeWrapperV2"}'),
        ("plain.keras", "config.json", "{}"),
        ("pt2e.pt2", "a/models/model.json", '{"target": "torch.ops.quantized_decomposed.quantize_per_tensor.default"}'),
        ("plain.pt2", "a/models/model.json", "{}"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, text)
    (tmp_path / "qdq.onnx").write_bytes(b"..DequantizeLinear..")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "empty.onnx").touch()
    found = {path.name: elsewhere.recognise(path) for path in tmp_path.iterdir()}
    assert found == {
        "wrapped.h5": "tfmot", "wrapped.keras": "tfmot", "plain.keras": None, "pt2e.pt2": "pt2e", "plain.pt2": None,
        "qdq.onnx": "qdq", "cut.h5": None, "empty.onnx": None,
    }  # fmt: skip
    assert elsewhere.recognise(keras_model) is None
    assert elsewhere.recognise(onnx_model) is None
    assert elsewhere.recognise(tmp_path / "nets.py:make") is None


def test_a_damaged_archive_is_no_crash(tmp_path: Path, keras_model: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"layers": [f"{number * 7919 % 1000}" for number in range(400)]}))
    whole = (tmp_path / "net.keras").read_bytes()
    begins = whole.index(b"config.json") + len("config.json")
    raised = set()
    for place in range(begins, begins + 64):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        (tmp_path / "broken.keras").write_bytes(broken)
        assert elsewhere.recognise(tmp_path / "broken.keras") is None
        try:
            zipfile.ZipFile(tmp_path / "broken.keras").read("config.json")
        except (zlib.error, zipfile.BadZipFile, EOFError) as error:
            raised.add(type(error))
    assert zlib.error in raised, "the kind that is no error of a zip file was met"


def test_a_damaged_program_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/models/model.json", json.dumps([f"{number * 7919 % 1000}" for number in range(400)]))
    whole = bytearray(path.read_bytes())
    begins = whole.index(b"model.json") + len("model.json")
    for place in range(begins, begins + 64):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        with pytest.raises(ModelError, match="damaged"):
            _pt2_file.vetted(path)


def test_wrappers_of_pruning_are_refused_by_name(tmp_path: Path, tools: Tools) -> None:
    for name in elsewhere.SHRINKERS:
        path = tmp_path / f"{name}.h5"
        inner = {"class_name": "Dense", "config": {"name": "k", "units": 2}}
        wrapper = {"class_name": name, "module": "somewhere", "config": {"name": "shrunk_k", "layer": inner}}
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [wrapper]}})
        assert elsewhere.recognise(path) == elsewhere.TFMOT
        with pytest.raises(ModelError, match=f"'shrunk_k' is a wrapper of pruning or clustering .{name}") as failure:
            tfmot.convert(path, {}, tmp_path / "out.keras")
        assert "strip_clustering" in failure.value.hint


def test_damaged_files_of_wrappers_are_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(b'\x89HDF\r\n\x1a\n "QuantizeWrapperV2"' + bytes(200))
    assert elsewhere.recognise(path) == elsewhere.TFMOT
    with pytest.raises(ModelError, match=r"net\.h5: it is damaged"):
        tfmot.convert(path, {}, tmp_path / "out.keras")
    for config in ("[", '{"layers": [{"class_name": "QuantizeWrapperV2", "config": {"name": "a"}}]}', "null"):
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = config
        with pytest.raises(ModelError, match=r"damaged|holds no layer"):
            tfmot.convert(path, {}, tmp_path / "out.keras")


def test_channels_that_do_not_end_where_a_build_does_are_counted() -> None:
    even = np.array([[127, -127, 3], [0, 5, 126]], np.int8)
    assert elsewhere.falling_short(even, np.zeros(3, np.int8), 1) == 1
    assert elsewhere.falling_short(even, np.zeros(2, np.int8), 0) == 1
    assert elsewhere.falling_short(even, np.zeros((), np.int8), None) == 0
    shifted = (even.astype(np.int64) + 128).astype(np.uint8)
    assert elsewhere.falling_short(shifted, np.uint8(128), None) == 0, "steps count from the zero point"
    assert elsewhere.falling_short(shifted, np.full(3, 128, np.uint8), 1) == 1
    assert elsewhere.falling_short(shifted, np.zeros(3, np.uint8), 1) == 3


def test_ranges_that_are_lost_are_named() -> None:
    assert elsewhere.dropped([]) == ()
    (words,) = elsewhere.dropped(f"l{number}" for number in range(10))
    assert words.startswith("Ranges that could not be kept")
    assert words.endswith("10 (l0, l1, l2, l3, l4, l5, l6, l7 and 2 more).")


def test_a_graph_of_quantize_and_dequantize(tmp_path: Path, tools: Tools) -> None:
    made = isolation.isolate(tools, 120, training_jobs.undo_qdq, tmp_path)
    assert {name: (round(one.low, 4), round(one.high, 4)) for name, one in made.ranges.items()} == {
        "x": (0.0, 1.0),
        "m": (-5.0, 7.75),
    }
    assert made.error < 1e-6
    assert made.notes == ()
    assert "xq" in made.refused["integers"]
    assert "QLinearMatMul" in made.refused["operator"]


def test_what_has_no_float_form_is_refused_by_name(tmp_path: Path, tools: Tools) -> None:
    path = tmp_path / "wrapped.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"registered_name": "TensorflowModelOptimization>QuantizeWrapperV2"}')
    with pytest.raises(ModelError, match=r"TensorFlow Model Optimization") as failure:
        pipeline.tune(TuneRequest(model=path, out=tmp_path / "out", data=None), tools)
    assert "NAME.h5" in failure.value.hint
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises((OutputError, FolderTaken), match="not empty"):
        pipeline.tune(TuneRequest(model=path, out=tmp_path / "out", data=None), tools)


@pytest.mark.slow
def test_wrappers_of_tfmot(tmp_path: Path, tools: Tools) -> None:
    training_jobs.write_tfmot(tmp_path / "wrapped.h5")
    made = isolation.isolate(tools, 300, training_jobs.undo_tfmot, tmp_path / "wrapped.h5", tmp_path / "a.keras")
    assert {name: (one.low, one.high) for name, one in made.ranges.items()} == {
        "quantize_layer": (-1.5, 2.0),
        "quant_d": (-3.0, 3.5),
    }
    assert made.error < 1e-5
    tuned = pipeline.tune(TuneRequest(model=tmp_path / "wrapped.h5", out=tmp_path / "out", data=None), tools)
    assert (tuned.model, tuned.ranges, tuned.finished) == ("wrapped.keras", "wrapped.ranges.json", True)
    assert "2 activation ranges kept" in tuned.note
    assert "could not be kept, so that calibration finds them: 1 (quant_k)" in tuned.note
    assert len(pins.read(tmp_path / "out" / tuned.ranges)) == 2
    again = pipeline.tune(TuneRequest(model=tmp_path / "wrapped.h5", out=tmp_path / "out", data=None), tools)
    assert again == tuned


@pytest.mark.slow
@needs_torch
def test_a_program_of_pt2e(tmp_path: Path, tools: Tools) -> None:
    made = isolation.isolate(tools, 300, training_jobs.undo_pt2e, tmp_path)
    assert [(round(one.low, 4), round(one.high, 4)) for one in made.ranges.values()] == [(-1.28, 1.27)]
    assert made.error < 1e-6
    assert "3 channels" in made.notes[0]


MAKER = """
import torch
from torch import nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver
class Net(nn.Sequential):
    def forward(self, x):
        return self[1](self[0](x))
def make():
    torch.manual_seed(0)
    noted = FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8)
    net = Net(noted, nn.Linear(4, 3))
    net(torch.tensor([[-1.0, 0.0, 1.0, 1.55]]))
    net.spare = nn.Sequential(FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255))
    return net, torch.rand(1, 4)
"""


@pytest.mark.slow
@needs_torch
def test_a_module_with_fake_quantization(tmp_path: Path, tools: Tools) -> None:
    (tmp_path / "maker.py").write_text(MAKER)
    made = isolation.isolate(tools, 300, training_jobs.undo_prepared, tmp_path)
    ((low, high),) = [(one.low, one.high) for one in made.ranges.values()]
    assert (low, high) == (pytest.approx(-1.0, abs=0.01), pytest.approx(1.55, abs=0.01))
    assert made.error < 1e-6
    assert made.notes[0].endswith(": 1 (spare.0).")
    tuned = pipeline.tune(TuneRequest(model=tmp_path / "maker.py:make", out=tmp_path / "out", data=None), tools)
    assert (tuned.model, tuned.format) == ("maker-make.pt2", "prepared")
