"""``palmtop init``: the file it writes is one that palmtop reads, whatever the names in it are."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cli import _settings_file, settings
from toolkit.cli._settings_file import Wanted, text_of
from toolkit.cli.main import execute
from toolkit.core.artifacts import Preprocess, Signature, TensorSpec


def test_it_writes_settings_for_a_real_model(
    onnx_model: Path,
    noise_npz: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["init", str(onnx_model), "-d", str(noise_npz)]) == 0
    shown = capsys.readouterr().out
    assert "input x: float32 [1, 3, 16, 16]" in shown
    read = settings.read(tmp_path / "palmtop.toml")
    assert read.model.path == str(onnx_model)
    assert read.data.calibration == str(noise_npz)
    assert read.preprocess == Preprocess(layout="nchw")
    assert read.quantize.out == str(tmp_path / "net-builds")
    assert read.verify == settings.VerifySettings()


def test_a_file_that_is_there_is_left_alone(
    onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "palmtop.toml").write_text("# mine\n")
    assert execute(["init", str(onnx_model)]) == 3
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "palmtop.toml").read_text() == "# mine\n"


def test_a_missing_model_is_told_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["init", "gone.onnx"]) == 3
    assert not (tmp_path / "palmtop.toml").exists()


NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(NAMES, NAMES, NAMES)
def test_no_name_breaks_the_file(tensor: str, output: str, data: str) -> None:
    signature = Signature(
        inputs=(TensorSpec(name=tensor, dtype="float32", shape=(1, 8, 8, 1)),),
        outputs=tuple(TensorSpec(name=name, dtype="float32", shape=(1, 4)) for name in (output, "other")),
    )
    wanted = Wanted(
        model=Path("net.onnx"), data=f"pkg:{data}", labelled=None, shapes={tensor: (1, 8, 8, 1)}, out=Path("p.toml")
    )
    plain = tomllib.loads(text_of(wanted, signature))
    assert plain["model"]["shapes"] == {tensor: [1, 8, 8, 1]}
    assert plain["preprocess"] == {"colour": "gray", "layout": "nhwc"}
    assert plain["data"]["calibration"] == _settings_file._place(f"pkg:{data}", Path.cwd())


def test_every_comment_that_is_a_setting_is_one(tmp_path: Path) -> None:
    """Take the comment marks off: what is left must still be read, so no example is out of date."""
    signature = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 8)),),
        outputs=tuple(TensorSpec(name=name, dtype="float32", shape=(1, 4)) for name in ("a", "b")),
    )
    wanted = Wanted(model=Path("net.onnx"), data=None, labelled=None, shapes={}, out=tmp_path / "palmtop.toml")
    lines = text_of(wanted, signature).splitlines()
    bare = [line.removeprefix("# ") if " = " in line and not line.startswith("# takes") else line for line in lines]
    (tmp_path / "palmtop.toml").write_text("\n".join(bare))
    read = settings.read(tmp_path / "palmtop.toml")
    assert read.quantize.targets == ("tflite", "onnx", "coreml")
    assert read.verify.output == "a"
    assert read.bench.device == ("all",)
