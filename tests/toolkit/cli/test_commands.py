"""The commands on a real model, through real child processes: what they print, write, and end with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.cli.main import execute
from toolkit.core.store import sha256_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def built(onnx_model: Path, noise_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two ONNX builds of the small net."""
    out = tmp_path_factory.mktemp("cli") / "builds"
    words = ["quantize", str(onnx_model), "-d", str(noise_npz), "-o", str(out), "-t", "onnx", "-q"]
    assert execute([*words, "-r", "float32", "-r", "static-int8"]) == 0
    return out


@pytest.fixture(scope="session")
def labelled(built: Path, noise_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The noise with the labels that the float model predicts."""
    folder = tmp_path_factory.mktemp("labelled")
    artefact, out = built / _paths(built)["onnx-float32"], folder / "y.npz"
    assert execute(["predict", str(artefact), "-i", str(noise_npz), "-o", str(out), "-q"]) == 0
    with np.load(out) as outputs, np.load(noise_npz) as arrays:
        np.savez(folder / "labelled.npz", **arrays, labels=outputs["y"].argmax(axis=1))
    return folder / "labelled.npz"


def _paths(folder: Path) -> dict[str, str]:
    return {build["id"]: build["path"] for build in json.loads((folder / "build.json").read_text())["builds"]}


def document(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_quantize_prints_build_json_and_serves_equal_inputs_again(
    built: Path, onnx_model: Path, noise_npz: Path, capsys: Capture
) -> None:
    words = ["quantize", str(onnx_model), "-d", str(noise_npz), "-o", str(built), "-t", "onnx"]
    words += ["-r", "float32", "-r", "static-int8"]
    before = (built / "build.json").stat().st_mtime_ns
    capsys.readouterr()
    assert execute([*words, "--json"]) == 0
    told = document(capsys)
    assert [build["id"] for build in told["builds"]] == ["onnx-float32", "onnx-static-int8"]
    assert (built / "build.json").stat().st_mtime_ns == before
    assert execute(words) == 0
    shown = capsys.readouterr().out
    assert "onnx-static-int8" in shown
    assert f"Next: palmtop verify {built} -d LABELLED" in shown


def test_other_inputs_never_overwrite_the_folder(
    built: Path, onnx_model: Path, noise_npz: Path, capsys: Capture
) -> None:
    words = ["quantize", str(onnx_model), "-d", str(noise_npz), "-o", str(built), "-t", "onnx", "-r", "float32"]
    before = (built / "build.json").read_bytes()
    capsys.readouterr()
    assert execute([*words, "--json"]) == 3
    assert document(capsys)["error"]["kind"] == "FolderTaken"
    assert (built / "build.json").read_bytes() == before


def test_what_cannot_be_expressed_ends_with_3_and_the_reason(
    onnx_model: Path, noise_npz: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["quantize", str(onnx_model), "-d", str(noise_npz), "-o", str(tmp_path / "out"), "-t", "onnx"]
    assert execute([*words, "-r", "lut-4bit"]) == 3
    shown = capsys.readouterr()
    assert "look-up tables" in shown.err
    assert "onnx" in shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quantize", "no-such.onnx", "-r", "float32"], "no-such.onnx"),
        (["quantize", "{model}", "-t", "onnx"], "-d"),
        (["quantize", "{model}", "-t", "onxx", "-d", "{data}"], "Did you mean 'onnx'?"),
        (["quantize", "{model}", "-r", "static-int", "-d", "{data}"], "Did you mean 'static-int8'?"),
        (["quantize", "{model}", "-t", "onnx", "-d", "no-such.npz"], "no-such.npz"),
        (["verify", "."], "build.json"),
        (["inspect", "no-such.tflite"], "no-such.tflite"),
        (["predict", "{model}", "-i", "no-such.npz", "-o", "y.npz"], "no-such.npz"),
    ],
)
def test_bad_input_ends_with_3_and_names_it(
    onnx_model: Path,
    noise_npz: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute([word.format(model=onnx_model, data=noise_npz) for word in words]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []


def test_verify_without_labels_tells_the_distance(built: Path, capsys: Capture) -> None:
    assert execute(["verify", str(built)]) == 0
    shown = capsys.readouterr().out
    assert "No score: that takes labelled samples" in shown
    assert f"Next: palmtop bench {built}" in shown
    assert execute(["verify", str(built), "--json"]) == 0
    builds = document(capsys)["builds"]
    errors = {build["id"]: build["tensor_errors"]["y"] for build in builds}
    assert float(errors["onnx-static-int8"]["sqnr_db"]) < float(errors["onnx-float32"]["sqnr_db"])
    assert json.loads((built / "build.json").read_text())["builds"] == builds
    layers = {build["id"]: build["layer_errors"] for build in builds}
    assert layers["onnx-float32"] == []
    worst = layers["onnx-static-int8"][0]
    assert execute(["verify", str(built), "-v"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"onnx-static-int8: loses most in {worst['layer']} ({worst['operator']})" in said
    assert "onnx-float32: loses most" not in said
    assert "loses most" not in shown


def test_a_budget_that_breaks_ends_with_4_after_all_is_stored(
    built: Path, labelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    labels = tmp_path / "labelled.npz"
    with np.load(labelled) as arrays:
        many = {name: np.concatenate([values] * 8) for name, values in arrays.items()}
    np.savez(labels, **many)
    capsys.readouterr()
    assert execute(["verify", str(built), "-d", str(labels), "--max-drop", "0.5", "--json"]) == 0
    assert {build["verdict"] for build in document(capsys)["builds"]} == {"pass"}
    build = json.loads((built / "build.json").read_text())
    sabotaged = built / _paths(built)["onnx-static-int8"]
    whole = sabotaged.read_bytes()
    try:
        sabotaged.write_bytes(whole[: len(whole) // 2])
        text = (built / "build.json").read_text()
        (built / "build.json").write_text(text.replace(hashlib.sha256(whole).hexdigest(), sha256_of(sabotaged)))
        assert execute(["verify", str(built), "-d", str(labels), "--max-drop", "0.5", "--json"]) == 4
        shown = capsys.readouterr()
        verdicts = {build["id"]: build["verdict"] for build in json.loads(shown.out)["builds"]}
        assert verdicts == {"onnx-float32": "pass", "onnx-static-int8": "fail"}
        assert "Error: 1 of 2 builds fail. onnx-static-int8: " in shown.err
        stored = json.loads((built / "build.json").read_text())["builds"]
        assert {build["id"]: build["verdict"] for build in stored} == verdicts
    finally:
        sabotaged.write_bytes(whole)
        (built / "build.json").write_text(json.dumps(build))


def test_a_build_that_was_changed_since_is_never_given_its_old_verdict(built: Path, capsys: Capture) -> None:
    assert execute(["verify", str(built), "-q"]) == 0
    build = (built / "build.json").read_text()
    changed = built / _paths(built)["onnx-static-int8"]
    whole = changed.read_bytes()
    try:
        changed.write_bytes(whole + b"\0")
        assert execute(["verify", str(built)]) == 4
        assert "onnx-static-int8.onnx is missing or was changed since it was built" in capsys.readouterr().err
    finally:
        changed.write_bytes(whole)
        (built / "build.json").write_text(build)


def test_few_samples_cannot_decide_and_say_how_many_would(built: Path, labelled: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert execute(["verify", str(built), "-d", str(labelled), "--samples", "8", "--max-drop", "0.001"]) == 0
    shown = capsys.readouterr().out
    assert "undecided" in shown
    assert "more labelled samples would decide." in shown


def test_predict_writes_arrays_by_name(built: Path, noise_npz: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "y.npz"
    artefact = str(built / _paths(built)["onnx-static-int8"])
    capsys.readouterr()
    assert execute(["predict", artefact, "-i", str(noise_npz), "-o", str(out), "--json"]) == 0
    told = document(capsys)
    assert told["output"] == str(out)
    with np.load(out) as outputs:
        assert set(outputs) == {spec["name"] for spec in told["signature"]["outputs"]}
        assert all(len(values) == 32 for values in outputs.values())


def test_inspect_counts_operators_or_lists_layers(built: Path, onnx_model: Path, capsys: Capture) -> None:
    artefact = str(built / _paths(built)["onnx-static-int8"])
    capsys.readouterr()
    assert execute(["inspect", artefact]) == 0
    shown = capsys.readouterr().out
    assert "int8" in shown
    assert "Needs " in shown
    assert execute(["inspect", artefact, "--layers"]) == 0
    layers = capsys.readouterr().out
    assert execute(["inspect", artefact, "--json"]) == 0
    told = document(capsys)
    assert all(layer["name"] in layers for layer in told["layers"])
    assert told["size_bytes"] == Path(artefact).stat().st_size
    assert execute(["inspect", str(built), "--json"]) == 0
    assert document(capsys)["builds"].keys() == {"onnx-float32", "onnx-static-int8"}
    assert execute(["inspect", str(onnx_model)]) == 0
    assert "x" in capsys.readouterr().out
