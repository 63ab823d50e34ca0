"""PyTorch: how a function is found without running anything, and what of an archive may reach PyTorch."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import pytest

from toolkit.core.errors import ModelError
from toolkit.core.tools import Tools
from toolkit.sources import _pt2_file, _torch_code, pytorch
from toolkit.stages import importer

MAKER = """
import pathlib
pathlib.Path(__file__).with_suffix(".ran").touch()
import torch
def make():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)), torch.rand(1, 4)
def fail():
    raise ValueError("no weights")
def nothing():
    return 3
"""


def test_a_function_is_found_without_running_its_module(tmp_path: Path) -> None:
    (tmp_path / "nets" / "inner").mkdir(parents=True)
    for name in ("one.py", "nets/inner/two.py", "nets/__init__.py"):
        (tmp_path / name).write_text(MAKER)
    for word, file in {
        "one:make": "one.py",
        "one.py:make": "one.py",
        "nets.inner.two:make": "nets/inner/two.py",
        "nets/inner/two.py:make": "nets/inner/two.py",
        "nets:make": "nets/__init__.py",
    }.items():
        place = _torch_code.place_of(tmp_path / word)
        assert place is not None, word
        assert (place.file, place.function) == (tmp_path / file, "make")
        assert pytorch.takes(tmp_path / word)
        assert pytorch.recognises(tmp_path / word) is None
        assert importer.is_there(tmp_path / word)
    assert not list(tmp_path.rglob("*.ran"))


@pytest.mark.parametrize("word", ["absent:make", "one.py", "one:", ":make", "one:2x", "a b:make", "one.x:make"])
def test_what_names_no_function(word: str, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(MAKER)
    (tmp_path / "deep").mkdir()
    assert not pytorch.takes(tmp_path / "deep" / word)
    with pytest.raises(ModelError):
        importer.recognise(tmp_path / "deep" / word)


def test_an_installed_module_is_found_too(tmp_path: Path) -> None:
    place = _torch_code.place_of(tmp_path / "json.decoder:JSONDecoder")
    assert place is not None
    assert place.file.name == "decoder.py"
    assert place.folder is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("s0", True),
        ("Symbol('s40', positive=True, integer=True)", True),
        ("Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(-1))", True),
        ("__import__('os')", False),
        ("Symbol('x y')", False),
        ("().__class__", False),
        ("open('s0')", False),
        ("s0.args", False),
        ("[s0]", False),
        ("s0 if 1 else s1", False),
        ("lambda: 0", False),
    ],
)
def test_only_formulas_of_sizes_are_evaluated(text: str, plain: bool) -> None:
    assert _pt2_file._plain_size(text) is plain


EVIL = b"cbuiltins\nprint\n(S'ran'\ntR."


def _archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"m/data.pkl": b""}, "pickle written by torch.save"),
        ({"m/constants.pkl": b"", "m/data.pkl": b""}, "TorchScript"),
        ({"serialized_exported_program.json": b"{}"}, "PyTorch 2.8 or older"),
        ({"m/data/aotinductor/model/a.so": b""}, "AOTInductor"),
        ({"m/readme": b""}, "without a model"),
    ],
)
def test_other_archives_are_told_apart(members: dict[str, bytes], words: str, tmp_path: Path) -> None:
    wrong = pytorch.recognises(_archive(tmp_path / "model.pt2", members))
    assert wrong is not None
    assert words in wrong


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("m/data/weights/model.pt", "unpickled"),
        ("m/data/constants/custom_obj_0", "unpickled"),
        ("m/data/constants/opaque_obj_0", "unpickled"),
    ],
)
def test_members_that_would_be_unpickled_are_refused(member: str, words: str, tmp_path: Path) -> None:
    path = _archive(tmp_path / "model.pt2", {"m/models/model.json": b"{}", member: EVIL})
    with pytest.raises(ModelError, match=words):
        _pt2_file.vetted(path)


def test_a_clean_archive_is_copied_member_by_member(tmp_path: Path) -> None:
    members = {"m/models/model.json": b'{"nodes": []}', "m/data/weights/weight_0": bytes(64)}
    copy = _pt2_file.vetted(_archive(tmp_path / "model.pt2", members))
    assert isinstance(copy, io.BytesIO)
    with zipfile.ZipFile(copy) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_function_becomes_one_model(tmp_path: Path, tools: Tools) -> None:
    (tmp_path / "one.py").write_text(MAKER)
    first = importer.read_source(tmp_path / "one.py:make", {}, tools)
    assert first.name == "one-make"
    assert first.blob.path.suffix == ".pt2"
    assert [spec.shape for spec in first.signature.outputs] == [(1, 3)]
    assert importer.read_source(tmp_path / "one:make", {}, tools).blob == first.blob
    (tmp_path / "one.py").write_text(MAKER.replace("seed(3)", "seed(4)"))
    assert importer.read_source(tmp_path / "one.py:make", {}, tools).blob.sha256 != first.blob.sha256
    with pytest.raises(ModelError, match="failed at line 9: ValueError: no weights"):
        importer.read_source(tmp_path / "one.py:fail", {}, tools)
    with pytest.raises(ModelError, match="returned a int, no model"):
        importer.read_source(tmp_path / "one.py:nothing", {}, tools)
