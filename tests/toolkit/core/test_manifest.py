"""``build.json`` is a public contract: it reads back equal, refuses the unknown and never leaves its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.core import codec, manifest
from toolkit.core.artifacts import Preprocess, Requirements, Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.manifest import BuildEntry, DataEntry, ErrorEntry, FailedBuild, Manifest, NotExpressible, SourceEntry

PUBLIC = {
    "": {
        "schema",
        "palmtop",
        "source",
        "preprocess",
        "calibration",
        "toolchain",
        "builds",
        "not_expressible",
        "failed",
    },
    "source": {"path", "sha256", "format", "signature"},
    "calibration": {"data", "sha256", "samples", "method"},
    "builds": {
        *("id", "target", "recipe", "path", "sha256", "size_bytes", "signature"),
        *("kept_float", "tensor_errors", "score", "requirements"),
    },
}


@pytest.fixture
def whole() -> Manifest:
    signature = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 4)),), outputs=())
    build = BuildEntry(
        id="tflite-static-int8",
        target="tflite",
        recipe="static-int8",
        path="net.static-int8.tflite",
        sha256="ab",
        size_bytes=12,
        signature=signature,
        kept_float=(),
        requirements=Requirements(runtime="LiteRT", runtime_min="1.0"),
        tensor_errors={"y": ErrorEntry(sqnr_db=float("inf"), cosine=1.0, max_abs=0.0)},
        golden="golden/net.npz",
    )
    return Manifest(
        palmtop="0.1.0",
        source=SourceEntry(name="net", path="/somewhere/net.onnx", sha256="cd", format="onnx", signature=signature),
        preprocess=Preprocess(resize=(8, 8), mean=(0.5,)),
        calibration=DataEntry(data="d.npz", format="npz", sha256="ef", samples=3, method="minmax"),
        toolchain=(),
        builds=(build,),
        not_expressible=(NotExpressible(target="coreml", recipe="static-int8", reason="why"),),
        failed=(FailedBuild(target="onnx", recipe="float32", error="crashed"),),
    )


def test_it_reads_back_equal(whole: Manifest, tmp_path: Path) -> None:
    manifest.write(tmp_path, whole)
    assert manifest.read(tmp_path) == whole


def test_the_names_that_users_rely_on_are_there(whole: Manifest) -> None:
    plain = codec.unstructure(whole)
    assert PUBLIC[""] <= plain.keys()
    assert PUBLIC["source"] <= plain["source"].keys()
    assert PUBLIC["calibration"] <= plain["calibration"].keys()
    assert PUBLIC["builds"] <= plain["builds"][0].keys()
    assert plain["builds"][0]["tensor_errors"]["y"].keys() >= {"sqnr_db", "cosine", "max_abs"}
    assert plain["not_expressible"][0].keys() == {"target", "recipe", "reason"}
    assert plain["failed"][0].keys() >= {"target", "recipe", "error"}


def test_a_folder_without_one_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no build\.json") as caught:
        manifest.read(tmp_path)
    assert "palmtop quantize" in caught.value.hint


def test_a_newer_schema_is_refused_with_the_remedy(whole: Manifest, tmp_path: Path) -> None:
    (tmp_path / manifest.FILE).write_text(json.dumps({**codec.unstructure(whole), "schema": 2, "novelty": 1}))
    with pytest.raises(ModelError, match="schema 2; this palmtop reads up to 1") as caught:
        manifest.read(tmp_path)
    assert "Update palmtop" in caught.value.hint


@pytest.mark.parametrize(
    "inner", ["/etc/passwd", "../other.tflite", "a/../../b", "", ".", "..", "C:\\model", "a\\..\\..\\b", "nul\0l"]
)
@pytest.mark.parametrize("field", ["path", "golden"])
def test_a_path_that_leaves_the_folder_is_refused(whole: Manifest, tmp_path: Path, inner: str, field: str) -> None:
    plain = codec.unstructure(whole)
    plain["builds"][0][field] = inner
    (tmp_path / manifest.FILE).write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="leaves its folder"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a b", "a\n", "é", "x" * 129, "a\0"])
def test_an_id_that_is_no_plain_name_is_refused(whole: Manifest, tmp_path: Path, name: str) -> None:
    plain = codec.unstructure(whole)
    plain["builds"][0]["id"] = name
    (tmp_path / manifest.FILE).write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="which is no id"):
        manifest.read(tmp_path)


def test_two_builds_of_one_id_are_refused(whole: Manifest, tmp_path: Path) -> None:
    plain = codec.unstructure(whole)
    plain["builds"][0]["id"] = "x" * 128
    plain["builds"].append(plain["builds"][0])
    (tmp_path / manifest.FILE).write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="two builds"):
        manifest.read(tmp_path)
    plain["builds"].pop()
    (tmp_path / manifest.FILE).write_text(json.dumps(plain))
    assert manifest.read(tmp_path).builds[0].id == "x" * 128


def test_a_link_that_leaves_the_folder_is_refused(whole: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "builds"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / whole.builds[0].path).symlink_to(tmp_path / "secret.txt")
    manifest.write(folder, whole)
    with pytest.raises(ModelError, match="leaves its folder"):
        manifest.read(folder)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda plain: plain.update(bulids=[]), "did you mean 'builds'?"),
        (lambda plain: plain.pop("source"), "'source' is missing"),
        (lambda plain: plain.update(schema=0), "schema"),
        (lambda plain: plain.update(schema="1"), "schema"),
        (lambda plain: plain.update(builds="none"), "'none' is not a list"),
        (lambda plain: plain["builds"][0].update(size_bytes=-1.5), "not a whole number"),
    ],
)
def test_damage_is_named(whole: Manifest, tmp_path: Path, harm: Any, said: str) -> None:
    plain = codec.unstructure(whole)
    harm(plain)
    (tmp_path / manifest.FILE).write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="Cannot read") as caught:
        manifest.read(tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"3", b'"text"', b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_build_json_at_all(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / manifest.FILE).write_bytes(raw)
    with pytest.raises(ModelError, match="Cannot read"):
        manifest.read(tmp_path)
