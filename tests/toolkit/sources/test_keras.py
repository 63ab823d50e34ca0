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

GIVEN = ({"picture": (1, 12, 12, 1)}, {"image": (1, 12, 12)}, {"image": (1, 13, 12, 1)}, {"image": (0, 12, 12, 1)})
HOSTILE = {
    "damaged": ("{", "config.json is damaged"),
    "system": ({"class_name": "system", "module": "os", "config": {"name": "rm"}}, "custom object system"),
    "evil": ({"class_name": "Evil", "module": "kerassupply.layers", "config": {}}, "custom object Evil"),
    "layers": ({"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": "none"}}, "Keras 3"),
}


def test_hostile_configs_and_sizes_that_contradict_the_model_are_refused(
    keras_model: Path, tmp_path: Path, tools: Tools
) -> None:
    for name, (config, _) in HOSTILE.items():
        assert keras.recognises(_archive(tmp_path / f"{name}.keras", config)) is None
    hostile, sizes = isolate(tools, 120, source_jobs.refusals_of, "keras", tmp_path, keras_model, GIVEN)
    for name, (_, words) in HOSTILE.items():
        assert words in hostile[f"{name}.keras"], name
    assert "'picture', which the model does not have" in sizes[0]
    assert all("does not fit the input 'image', whose shape is [?, 12, 12, 1]" in text for text in sizes[1:])


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
