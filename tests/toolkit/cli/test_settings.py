"""``palmtop.toml`` and its place in the order: option, variable, file, default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from toolkit.cli import quantize, settings, verify
from toolkit.cli.options import common_options
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import SettingsError
from toolkit.stages.requests import QuantizeRequest

WHOLE = """
[model]
path = "nets/net.onnx"
shapes = { x = [1, 3, 8, 8] }
[data]
calibration = "cal.npz"
labelled = "my.package:samples"
samples = 64
[preprocess]
resize = [8, 8]
colour = "bgr"
scale = 0.5
mean = [1.0, 2.0, 3.0]
layout = "nchw"
[quantize]
targets = ["onnx"]
recipes = ["float32", "static-int8"]
out = "built"
jobs = 1
[verify]
metric = "top1"
output = "y"
max_drop = 0.02
confidence = 0.9
[bench]
plan = "quick"
device = ["host"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose settings name everything; the current folder is deep inside."""
    inner = tmp_path / "deep" / "inside"
    inner.mkdir(parents=True)
    (tmp_path / settings.FILE).write_text(WHOLE)
    monkeypatch.chdir(inner)
    return tmp_path


def request_of(*words: str) -> QuantizeRequest:
    """Return what the options of `quantize` make of the words."""
    taken: list[QuantizeRequest] = []

    @click.command()
    @quantize.quantize_options
    @common_options
    def take(request: QuantizeRequest, console: object) -> None:
        taken.append(request)

    result = CliRunner().invoke(take, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return taken[0]


def test_the_file_is_found_upward_and_its_paths_are_meant_from_it(project: Path) -> None:
    read = settings.load()
    assert read.model.path == str(project / "nets/net.onnx")
    assert read.data.calibration == str(project / "cal.npz")
    assert read.data.labelled == "my.package:samples", "a callable is no path"
    assert read.quantize.out == str(project / "built")


def test_a_path_with_a_colon_is_a_path_when_it_is_there(project: Path) -> None:
    (project / "a:b").mkdir()
    (project / settings.FILE).write_text('[data]\ncalibration = "a:b"')
    assert settings.load().data.calibration == str(project / "a:b")


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert settings.load(tmp_path) == settings.Settings()


def test_a_command_takes_everything_from_the_file(project: Path) -> None:
    assert request_of() == QuantizeRequest(
        model=project / "nets/net.onnx",
        out=project / "built",
        data=str(project / "cal.npz"),
        targets=("onnx",),
        recipes=("float32", "static-int8"),
        samples=64,
        preprocess=Preprocess(resize=(8, 8), colour="bgr", scale=0.5, mean=(1.0, 2.0, 3.0), layout="nchw"),
        shapes={"x": (1, 3, 8, 8)},
        jobs=1,
    )


def test_a_variable_beats_the_file_and_an_option_beats_both(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_QUANTIZE_JOBS", "3")
    monkeypatch.setenv("PALMTOP_QUANTIZE_TARGETS", "tflite coreml")
    monkeypatch.setenv("PALMTOP_PREPROCESS_SCALE", "1/255")
    monkeypatch.setenv("PALMTOP_PREPROCESS_RESIZE", "4,6")
    monkeypatch.setenv("PALMTOP_MODEL_SHAPES", "x=1,2 y=3")
    from_variables = request_of()
    assert (from_variables.jobs, from_variables.targets) == (3, ("tflite", "coreml"))
    assert (from_variables.preprocess.scale, from_variables.preprocess.resize) == (1 / 255, (4, 6))
    assert from_variables.shapes == {"x": (1, 2), "y": (3,)}
    said = request_of("other.onnx", "--jobs", "4", "-t", "onnx", "--scale", "2", "--resize", "5,5", "--shape", "z=7")
    assert (said.model, said.jobs, said.targets, said.shapes) == (Path("other.onnx"), 4, ("onnx",), {"z": (7,)})
    assert (said.preprocess.scale, said.preprocess.resize) == (2.0, (5, 5))


def test_the_defaults_of_a_bare_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bare = request_of("nets/mobile.keras")
    assert bare.out == Path("mobile-builds")
    assert bare.recipes == ("float32", "static-int8", "weight-int8")
    assert {"tflite", "onnx", "coreml"} <= set(bare.targets)
    assert (bare.data, bare.samples, bare.preprocess, bare.shapes, bare.jobs) == (None, None, Preprocess(), {}, 2)


def test_the_model_may_come_after_the_file_says_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALMTOP_MODEL_PATH", "from/variable.onnx")
    assert request_of().model == Path("from/variable.onnx")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[quantise]\njobs = 1", "unknown key 'quantise' @ $ (did you mean 'quantize'?)"),
        ("[quantize]\ntarget = ['onnx']", "did you mean 'targets'?"),
        ("[preprocess]\nresise = [1, 2]", "did you mean 'resize'?"),
        ("[quantize]\ntargets = 'onnx'", "'onnx' is not a list @ $.quantize.targets"),
        ("[quantize]\njobs = '2'", "'2' is not a whole number @ $.quantize.jobs"),
        ("[preprocess]\nlayout = 'hwc'", "hwc"),
        ("model = 'x.onnx'", "str given where a table of keys belongs @ $.model"),
        ("[model", "Cannot read"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / settings.FILE
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / settings.FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="Cannot read"):
        settings.load(tmp_path)


def options_of(command: click.Command) -> dict[str, click.Parameter]:
    return {str(option.envvar): option for option in command.params if option.envvar}


@pytest.mark.parametrize("key", [key for key in settings.all_keys() if not key.startswith("bench.")])
def test_every_key_is_the_default_of_an_option_with_a_variable_of_its_name(key: str) -> None:
    variable = f"PALMTOP_{key.replace('.', '_').upper()}"
    assert variable in {**options_of(quantize.command), **options_of(verify.command)}


@pytest.mark.parametrize("command", [quantize.command, verify.command], ids=["quantize", "verify"])
def test_the_help_tells_the_defaults_that_hold(command: click.Command, tmp_path: Path) -> None:
    bare = settings.Settings()
    for variable, option in options_of(command).items():
        table, _, name = variable.removeprefix("PALMTOP_").lower().partition("_")
        value: Any = settings.value_of(bare, f"{table}.{name}")
        told = (getattr(option, "help", None) or "").partition("[default: ")[2].rstrip("]")
        if isinstance(value, str | float | int) and not isinstance(value, bool):
            assert told == f"{value:g}" if not isinstance(value, str) else told == value, variable
