"""What every source format promises, run over whatever lies in `toolkit/sources`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import source_jobs

from toolkit.core import discovery
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools

ROOM = "toolkit.sources"
FORMS = {"saved_model", "onnx"}
SPECIMENS = {"keras": "keras_model", "onnx": "onnx_model"}
"""The fixture with a good model of each format; a new format adds a line here and to `source_jobs.MAKE_VARIANTS`."""

pytestmark = pytest.mark.parametrize("source", discovery.names(ROOM))


@pytest.fixture
def specimen(source: str, request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue(SPECIMENS[source])
    assert isinstance(path, Path)
    return path


def test_a_module_satisfies_the_protocol(source: str) -> None:
    module = discovery.load(ROOM, source)
    for verb in ("recognises", "read", "export", "open_session", "toolchain"):
        assert callable(getattr(module, verb)), verb
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in module.SUFFIXES)
    assert module.FORMS
    assert set(module.FORMS) <= FORMS
    assert all(tool.name and tool.version for tool in module.toolchain())


def test_a_good_model_is_recognised(source: str, specimen: Path) -> None:
    assert discovery.load(ROOM, source).recognises(specimen) is None


BAD_FILES: dict[str, Callable[[Path, Path], None]] = {
    "missing": lambda path, good: None,
    "empty": lambda path, good: path.write_bytes(b"") and None,
    "truncated": lambda path, good: path.write_bytes(good.read_bytes()[: good.stat().st_size // 2]) and None,
    "cut at the end": lambda path, good: path.write_bytes(good.read_bytes()[:-1]) and None,
    "web page": lambda path, good: path.write_bytes(b"<!DOCTYPE html><p>404</p>") and None,
    "noise": lambda path, good: path.write_bytes(bytes(range(255, 0, -1)) * 40) and None,
    "text": lambda path, good: path.write_bytes(b"the quick brown fox\n" * 30) and None,
    "hdf5": lambda path, good: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500)) and None,
    "tflite": lambda path, good: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(500)) and None,
    "lfs pointer": lambda path, good: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x\n") and None,
    "folder": lambda path, good: path.mkdir(),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_told_at_first_sight(source: str, kind: str, specimen: Path, tmp_path: Path) -> None:
    module = discovery.load(ROOM, source)
    path = tmp_path / f"model{module.SUFFIXES[0]}"
    BAD_FILES[kind](path, specimen)
    wrong = module.recognises(path)
    assert wrong is not None
    assert wrong.startswith(("it ", "there "))
    assert "\n" not in wrong
    assert not wrong.endswith(".")


def test_other_formats_under_its_suffix_are_not_taken(
    source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    module = discovery.load(ROOM, source)
    for other, fixture in SPECIMENS.items():
        if other != source:
            path = tmp_path / f"{other}{module.SUFFIXES[0]}"
            shutil.copyfile(request.getfixturevalue(fixture), path)
            assert module.recognises(path) is not None


def test_unusable_models_are_refused_with_a_next_step(
    source: str, specimen: Path, tools: Tools, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.mkdir()
    good.mkdir()
    suffix = discovery.load(ROOM, source).SUFFIXES[0]
    (bad / f"truncated{suffix}").write_bytes(specimen.read_bytes()[:-40])
    (bad / f"empty{suffix}").touch()
    texts = isolate(tools, 120, source_jobs.bad_and_good, source, bad, good)
    assert {"zero_input", "dynamic", "float16", "truncated", "empty"} <= {Path(name).stem for name in texts}
    for name, text in texts.items():
        assert text, f"{name} was read"
        assert "\n" not in text, name
        assert "NO HINT" not in text, text
        assert 40 < len(text) < 700, text
    assert "--shape" in texts[f"dynamic{suffix}"]
    assert "float16 weights" in texts[f"float16{suffix}"]
    assert "no input" in texts[f"zero_input{suffix}"]


def test_names_and_shapes_agree_everywhere(source: str, specimen: Path, tools: Tools, tmp_path: Path) -> None:
    good, out = tmp_path / "good", tmp_path / "out"
    good.mkdir()
    out.mkdir()
    (tmp_path / "bad").mkdir()
    isolate(tools, 120, source_jobs.bad_and_good, source, tmp_path / "bad", good)
    shutil.copyfile(specimen, good / f"specimen{specimen.suffix}")
    results = isolate(tools, 200, source_jobs.exercise_all, source, good, out)
    assert len(results) >= 2
    for name, result in results.items():
        assert result.read == result.session, name
        assert result.repeatable, name
        assert all(spec.shape and min(spec.shape) >= 1 for spec in result.read.inputs), name
        names = [spec.name for spec in (*result.read.inputs, *result.read.outputs)]
        assert len(set(names)) == len(names), name
        for form, signature in result.forms.items():
            assert set(signature.inputs) == set(result.read.inputs), (name, form)
            assert set(signature.outputs) == set(result.read.outputs), (name, form)
            assert result.form_errors[form] < 1e-5, (name, form)
        assert all(result.refused.values()), (name, result.refused)
