"""Every flavour of the shipped trees: made twice alike, what its files hold, and that edits survive updates."""

from __future__ import annotations

import json
import plistlib
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import app_builds
import pytest
from bench_builds import make_folder

from toolkit.apps import contract, project, record, renewal, tree, update
from toolkit.apps.contract import Request
from toolkit.apps.identifiers import Platform
from toolkit.apps.project import Project, Wish
from toolkit.cli.main import execute
from toolkit.core import store
from toolkit.core.tools import Tools

FLAVOURS: tuple[tuple[Platform, str, str], ...] = (
    ("android", "tflite", "litert"),
    ("android", "onnx", "onnx"),
    ("ios", "coreml", "coreml"),
    ("ios", "coreml", "coreml+onnx"),
)
HOSTILE = "\"D\" $x ${y} \\(z) ]]> <b> & 'q' 🎉 %s // @"


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return app_builds.make(tmp_path_factory.mktemp("flavours") / "builds")


def design(builds: Path, flavour: tuple[Platform, str, str], name: str | None = None) -> Project:
    platform, target, engine = flavour
    request = Request(folder=builds, target=target)
    return project.design(tree.shipped(platform), Wish(platform=platform, build=request, name=name, engine=engine))


@pytest.mark.parametrize("flavour", FLAVOURS, ids="-".join)
def test_a_flavour_is_the_same_twice_and_an_update_finds_nothing_to_do(
    flavour: tuple[Platform, str, str], builds: Path, tmp_path: Path, tools: Tools
) -> None:
    for name in ("one", "two"):
        project.create(design(builds, flavour), tmp_path / name, tools)
    assert store.sha256_of(tmp_path / "one") == store.sha256_of(tmp_path / "two")
    app = tmp_path / "one"
    before = record.read(app)
    mine = next(
        entry.path for entry in before.files if entry.path.endswith((".kt", ".swift")) and entry.kind == "managed"
    )
    (app / mine).write_text(f"// mine\n{(app / mine).read_text()}")
    newer = Request(folder=builds, target="")
    for request in (None, newer):
        made = renewal.renew(tree.shipped(flavour[0]), app, before, request)
        plan = update.plan(app, before, made, "new", tools)
        assert {step.path: step.action for step in plan.steps if step.action != "unchanged"} == {mine: "kept"}


@pytest.mark.parametrize("flavour", FLAVOURS, ids="-".join)
def test_a_hostile_name_leaves_every_data_file_readable(flavour: tuple[Platform, str, str], builds: Path) -> None:
    made = design(builds, flavour, HOSTILE)
    readers = {
        ".json": json.loads,
        ".xcstrings": json.loads,
        ".toml": lambda raw: tomllib.loads(raw.decode()),
        ".xml": ET.fromstring,
        ".xcscheme": ET.fromstring,
        ".plist": plistlib.loads,
        ".xcprivacy": plistlib.loads,
    }
    read = [readers[Path(item.path).suffix](item.read()) for item in made.items if Path(item.path).suffix in readers]
    assert len(read) > 5
    assert all(b"[[" not in item.content or item.kind == "model" for item in made.items if item.path.endswith(".toml"))


@pytest.mark.parametrize("flavour", FLAVOURS, ids="-".join)
def test_a_flavour_has_its_own_engine_and_model(flavour: tuple[Platform, str, str], builds: Path) -> None:
    paths = [item.path for item in design(builds, flavour).items]
    engines = {
        name for name in ("LiteRtEngine.kt", "OrtEngine.kt", "OnnxEngine.swift") if any(name in p for p in paths)
    }
    wanted = {
        "litert": {"LiteRtEngine.kt"},
        "onnx": {"OrtEngine.kt"},
        "coreml": set(),
        "coreml+onnx": {"OnnxEngine.swift"},
    }
    assert engines == wanted[flavour[2]]
    suffix = app_builds.SUFFIXES[flavour[1]]
    assert any(f"/model{suffix}" in path for path in paths)


def test_a_real_build_of_a_real_net_becomes_an_app(tools: Tools, onnx_model: Path, tmp_path: Path) -> None:
    folder = make_folder(tools, onnx_model, tmp_path / "builds")
    made = contract.make(Request(folder=folder, target="onnx"))
    assert (made.model.task, made.model.sha256) == ("tensor", store.sha256_of(onnx_model))
    project.create(design(folder, ("android", "onnx", "onnx")), tmp_path / "app", tools)
    assert (tmp_path / "app/app/src/main/assets/model.onnx").read_bytes() == onnx_model.read_bytes()


@pytest.mark.slow
def test_all_flavours_of_a_model_that_was_quantized_and_verified_here(
    keras_model: Path, shapes_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "builds"
    recipes = ["-r", "static-int8", "-r", "weight-int8"]
    assert execute(["quantize", str(keras_model), "-d", str(shapes_npz), "-o", str(out), *recipes, "-q"]) == 0
    assert execute(["verify", str(out), "-d", str(shapes_npz), "-q"]) in (0, 4)
    for platform, target, engine in FLAVOURS:
        for turn in ("one", "two"):
            app = tmp_path / f"{target}-{engine}-{turn}"
            words = ["app", "create", platform, "--build", str(out), "--target", target, "--engine", engine]
            assert execute([*words, "-o", str(app), "-q"]) == 0
        assert store.sha256_of(tmp_path / f"{target}-{engine}-one") == store.sha256_of(app)
        model = next(app.rglob("model.json"))
        told = contract.read_model(model)
        artefact = model.parent / told.file
        assert store.sha256_of(artefact) == told.sha256
    capsys.readouterr()
