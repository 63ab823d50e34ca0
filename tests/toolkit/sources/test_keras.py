"""Keras: what is particular to `.keras` archives."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import zipfile
from pathlib import Path

import pytest
import source_jobs

from toolkit.core.errors import ModelError
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.sources import _keras_h5, keras
from toolkit.stages import importer


@pytest.fixture(scope="session")
def variants(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("keras-variants")
    bad, good = root / "bad", root / "good"
    bad.mkdir()
    good.mkdir()
    return bad, good


@pytest.fixture
def texts(variants: tuple[Path, Path], tools: Tools) -> dict[str, str]:
    return isolate(tools, 120, source_jobs.bad_and_good, "keras", *variants)


def test_refusals_say_which_layer_and_why(texts: dict[str, str], variants: tuple[Path, Path], tools: Tools) -> None:
    assert "'doubler' is a Lambda" in texts["lambda.keras"]
    assert "safe mode" in texts["lambda.keras"]
    assert "custom object" in texts["custom.keras"]
    assert "Twice" in texts["custom.keras"]
    assert "'half'" in texts["float16.keras"]
    assert "mixed precision" in texts["mixed.keras"]
    assert "set_dtype_policy('float32')" in texts["mixed.keras"]
    assert "'doubler' is a Lambda" in texts["old_lambda.h5"]
    assert "custom object" in texts["old_custom.h5"]
    assert "cut short" in texts["old_short.h5"]
    assert "quantized already" in texts["quantized.keras"]
    assert "'word' is string" in texts["string.keras"]
    assert "without config.json" in texts["archive.keras"]
    assert "--shape image=1,224,224,3" in texts["dynamic.keras"]

    dynamic = variants[0] / "dynamic.keras"
    signature = isolate(tools, 120, source_jobs.read_with, "keras", dynamic, {"image": (1, 20, 24, 3)})
    assert signature.inputs[0].shape == (1, 20, 24, 3)
    assert signature.outputs[0].shape == (1, 4)


def test_sizes_that_contradict_the_model(keras_model: Path, tools: Tools) -> None:
    given = ({"picture": (1, 12, 12, 1)}, {"image": (1, 12, 12)}, {"image": (1, 13, 12, 1)}, {"image": (0, 12, 12, 1)})
    texts = isolate(tools, 120, source_jobs.size_refusals, "keras", keras_model, given)
    assert "'picture', which the model does not have" in texts[0]
    assert all("does not fit the input 'image', whose shape is [?, 12, 12, 1]" in text for text in texts[1:])


@pytest.mark.parametrize(
    ("function", "known"),
    [("math.add", True), ("nn.relu", True), ("reshape", True), ("io.write_file", False), ("py_function", False)],
)
def test_old_files_call_arithmetic_alone(function: str, known: bool) -> None:
    item = {"class_name": "TFOpLambda", "config": {"name": "call", "function": function}}
    if known:
        _keras_h5.check_call(Path("old.h5"), item)
        return
    with pytest.raises(ModelError, match=f"calls the TensorFlow function '{function}'"):
        _keras_h5.check_call(Path("old.h5"), item)


def _archive(path: Path, config: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "config.json is damaged"),
        pytest.param(
            {"class_name": "system", "module": "os", "config": {"name": "rm"}},
            "custom object system",
            marks=pytest.mark.slow,
        ),
        ({"class_name": "Evil", "module": "kerassupply.layers", "config": {}}, "custom object Evil"),
        pytest.param(
            {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": "none"}},
            "Keras 3",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_hostile_config_is_refused(config: object, words: str, tmp_path: Path, tools: Tools) -> None:
    path = _archive(tmp_path / "model.keras", config)
    assert keras.recognises(path) is None
    with pytest.raises(ModelError, match=words):
        isolate(tools, 120, source_jobs.read_with, "keras", path, {})


def test_an_archive_that_unpacks_too_big_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
        archive.writestr("config.json", bytes((64 << 20) + 1))
    wrong = keras.recognises(path)
    assert wrong is not None
    assert "2 GB" in wrong


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tf_keras") is None, reason="tf-keras is not installed")
def test_a_file_that_only_keras_2_reads_says_so(tmp_path: Path, tools: Tools) -> None:
    path, heard = tmp_path / "old.h5", []
    isolate(tools, 300, source_jobs.make_keras_2_file, path)
    source = importer.read_source(path, {}, dataclasses.replace(tools, emit=heard.append))
    assert [library.name for library in source.toolchain] == ["tf-keras", "tensorflow"]
    assert [event.level for event in heard if "old.h5 was read by tf-keras 2." in event.message] == ["warning"]
