"""What every source format promises, run over whatever lies in `toolkit/sources`."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import source_jobs

from toolkit.core import discovery, process
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.store import Store
from toolkit.core.tools import Tools

ROOM = "toolkit.sources"
FORMS = {"saved_model", "onnx", "tflite"}
SPECIMENS = {"keras": "keras_model", "onnx": "onnx_model"}
"""The fixture with a good model of a format, where there is one; the other formats make theirs."""
ODD = {"zero_input", "dynamic", "float16", "truncated", "empty"}
NOT_MADE = {"tflite": {"zero_input"}}
"""What TensorFlow's converter does not write."""

WORDS = {
    "keras": {
        "lambda": "'doubler' is a Lambda, whose code would have to be run from the file",
        "custom": "'twice' is the custom object Twice",
        "float16": "the layer 'half' has the policy 'float16'",
        "mixed": "mixed precision: the layer 'mixed'",
        "old_lambda": "'doubler' is a Lambda",
        "old_custom": "the custom object Twice",
        "old_short": "cut short",
        "quantized": "quantized already",
        "string": "'word' is string",
        "archive": "without config.json",
    },
    "onnx": {
        "quantized": "already is an INT8 model: its node 'to_int' is a QuantizeLinear",
        "opset": "opset 99",
        "custom": "its node 'glitter' is the custom operator org.example.Sparkle",
        "unknown": "its node 'own' is a Sparkle, which opset 17 of ONNX does not have",
        "misspelt": "nearest that it has is Relu",
        "later": "with opset 20, the first with that operator",
        "outside": "outside the model's folder",
        "absent": "missing",
        "short": "cut short",
        "huge": "larger than 2 GB",
        "double_input": "its input 'x' is float64",
        "half_input": "its input 'x' is float16",
        "mixed": "float64 weights: 'w' is float64",
    },
    "pytorch": {
        "training": "it was exported in training mode: 'batch_norm' is aten.batch_norm",
        "weights": "pickle written by torch.save",
        "whole": "pickle written by torch.save",
        "evaluated": "no formula of sizes",
        "unpickled": "would have to be unpickled",
        "looked_up": "'torch.hub.load', a custom operator",
    },
    "saved_model": {
        "several": "several signatures (lone, other)",
        "string": "its input 'image' is string",
        "quantized": "is a FakeQuantWithMinMaxArgs",
        "writer": "is a WriteFile, which reaches outside",
        "python": "is a PyFunc, which reaches outside",
        "bare": "a folder without saved_model.pb",
        "truncated": "cut short",
        "double": "float64 weights",
    },
    "tflite": {
        "quantized": "already is an INT8 model",
        "hybrid": "already is an INT8 model",
        "flex": "TensorFlow's operator MatrixDeterminant (flex)",
    },
}
"""What the refusal of a model says, by the model's name."""

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
NAMES = discovery.names(ROOM)
SOURCES = [pytest.param(name, marks=(needs_torch, pytest.mark.slow) if name == "pytorch" else ()) for name in NAMES]

pytestmark = pytest.mark.parametrize("source", SOURCES, scope="session")


@pytest.fixture(scope="session")
def work_out(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, session_tools: Tools
) -> Callable[[str], tuple[Path, source_jobs.Workout]]:
    """A function from a format to the folder with its models and what became of them.

    All formats but PyTorch are worked out in one child process, for loading TensorFlow takes long.
    """
    done: dict[str, tuple[Path, source_jobs.Workout]] = {}

    def found(source: str) -> tuple[Path, source_jobs.Workout]:
        if source not in done:
            together = ("pytorch",) if source == "pytorch" else tuple(one for one in NAMES if one != "pytorch")
            folders = tuple(tmp_path_factory.mktemp(name) for name in together)
            for name, folder in zip(together, folders, strict=True):
                for part in ("bad", "good", "out"):
                    (folder / part).mkdir()
                if name in SPECIMENS:
                    given = request.getfixturevalue(SPECIMENS[name])
                    shutil.copyfile(given, folder / "good" / f"specimen{given.suffix}")
            workouts = isolate(session_tools, 400, source_jobs.work_out_each, together, folders)
            done.update(zip(together, zip(folders, workouts, strict=True), strict=True))
        return done[source]

    return found


@pytest.fixture(scope="session")
def worked_out(
    source: str, work_out: Callable[[str], tuple[Path, source_jobs.Workout]]
) -> tuple[Path, source_jobs.Workout]:
    """A folder with a format's good and bad models, and what became of them."""
    return work_out(source)


@pytest.fixture(scope="session")
def session_tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return Tools(
        run=process.run, emit=silent, clock=SystemClock(), store=Store(tmp_path_factory.mktemp("session-store"))
    )


@pytest.fixture
def specimen(worked_out: tuple[Path, source_jobs.Workout]) -> Path:
    return next((worked_out[0] / "good").glob("specimen*"))


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


def content(model: Path) -> bytes:
    return (model / "saved_model.pb" if model.is_dir() else model).read_bytes()


BAD_FILES: dict[str, Callable[[Path, Path], None]] = {
    "missing": lambda path, good: None,
    "empty": lambda path, good: path.write_bytes(b"") and None,
    "truncated": lambda path, good: path.write_bytes(content(good)[: len(content(good)) // 2]) and None,
    "cut at the end": lambda path, good: path.write_bytes(content(good)[:-1]) and None,
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
    if kind == "tflite" and source == "tflite":
        kind = "noise"
    if kind == "cut at the end" and source == "tflite":
        kind = "truncated"  # the format says where its buffers end, not where the file does
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
    source: str, worked_out: tuple[Path, source_jobs.Workout]
) -> None:
    texts = {Path(name).stem: text for name, text in worked_out[1].refused.items()}
    assert ODD - NOT_MADE.get(source, set()) <= set(texts)
    for name, text in texts.items():
        assert text, f"{name} was read"
        assert "\n" not in text, name
        assert "NO HINT" not in text, text
        assert 40 < len(text) < 800, text
    for name, words in WORDS.get(source, {}).items():
        assert words in texts[name], texts[name]
    assert not list(worked_out[0].glob("escaped"))
    assert "--shape" in texts["dynamic"]
    assert "float16 weights" in texts["float16"]
    assert "no input" in texts.get("zero_input", "no input")


def test_sizes_given_as_the_hint_says_are_those_of_the_model(
    source: str, worked_out: tuple[Path, source_jobs.Workout]
) -> None:
    told, read = worked_out[1].as_advised
    assert {spec.name: spec.shape for spec in read.inputs} == told
    assert all(min(spec.shape) >= 1 for spec in read.outputs)


def test_names_and_shapes_agree_everywhere(source: str, worked_out: tuple[Path, source_jobs.Workout]) -> None:
    results = worked_out[1].done
    assert len(results) >= 2
    for name, result in results.items():
        assert result.read == result.session, name
        assert result.repeatable, name
        assert all(spec.shape and min(spec.shape) >= 1 for spec in result.read.inputs), name
        names = [spec.name for spec in (*result.read.inputs, *result.read.outputs)]
        assert len(set(names)) == len(names), name
        assert result.forms, name
        for form, signature in result.forms.items():
            assert set(signature.inputs) == set(result.read.inputs), (name, form)
            assert set(signature.outputs) == set(result.read.outputs), (name, form)
            assert result.form_errors[form] < 1e-5, (name, form)
        assert all(result.refused.values()), (name, result.refused)
