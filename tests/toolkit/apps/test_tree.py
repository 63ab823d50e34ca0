"""Template trees: what is read, what is refused, and that no path leaves a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.apps import tree
from toolkit.apps.render import TemplateError
from toolkit.apps.tree import Flavour

DESCRIPTION = """
schema = 1
platform = "android"
version = "1.0.0"
engines = ["litert", "onnx"]
model_folder = "assets"
seed = ["ui/**"]
executable = ["gradlew"]

[strings]
android = "res"

[[when]]
paths = ["__package_path__/Lite.kt"]
engine = ["litert"]

[[when]]
paths = ["__package_path__/*.kt"]
task = ["classification"]

[bench]
variant = "bench"
package = "{package}.bench"
runner = "{package}.Runner"
artefact = "out/{product}.apk"

[build]
default_variant = "debug"
variants = { debug = ":assembleDebug", bench = ":assembleBench" }
"""
FLAVOUR = Flavour(engine="litert", task="classification", package="com.a.b", product="P")


def make(root: Path, description: str = DESCRIPTION, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "tree.toml").write_text(description)
    (root / "versions.toml").write_text("min_os = 26\n")
    usual = {
        "__package_path__/Lite.kt.j2": "package [[ app.package | ident ]]\n",
        "__package_path__/Other.kt": "x\n",
        "ui/Screen.kt": "[[ not rendered ]]\n",
        "gradlew": "#!/bin/sh\n",
        "dot_gitignore": "build/\n",
    }
    for name, text in {**usual, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def made(root: Path, flavour: Flavour = FLAVOUR) -> dict[str, tree.Made]:
    files = tree.rendered(tree.read(root), flavour, {"app": {"package": flavour.package}})
    return {file.path: file for file in files}


def test_a_flavour_has_its_files_where_they_belong(tmp_path: Path) -> None:
    found = made(make(tmp_path))
    assert sorted(found) == [".gitignore", "com/a/b/Lite.kt", "com/a/b/Other.kt", "gradlew", "ui/Screen.kt"]
    assert found["com/a/b/Lite.kt"].content == b"package com.a.b\n"
    assert found["ui/Screen.kt"] == tree.Made(path="ui/Screen.kt", content=b"[[ not rendered ]]\n", kind="seed")
    assert [path for path, file in found.items() if file.executable] == ["gradlew"]


def test_every_condition_that_names_a_file_has_to_hold(tmp_path: Path) -> None:
    root = make(tmp_path)
    other_engine = Flavour(engine="onnx", task="classification", package="com.a.b", product="P")
    other_task = Flavour(engine="litert", task="tensor", package="com.a.b", product="P")
    assert "com/a/b/Lite.kt" not in made(root, other_engine)
    assert "com/a/b/Other.kt" in made(root, other_engine)
    assert sorted(made(root, other_task)) == [".gitignore", "gradlew", "ui/Screen.kt"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("schema = 1", "schema = 2"), "cannot be read"),
        (('version = "1.0.0"', 'verson = "1.0.0"'), "cannot be read"),
        (('seed = ["ui/**"]', 'seed = ["ux/**"]'), "fits no file"),
        (('engine = ["litert"]', 'engine = ["lite"]'), "none of its engines"),
        (("[bench]", "[bensch]"), "cannot be read"),
        (("[strings]", "[strings"), "cannot be read"),
    ],
)
def test_a_description_with_a_fault_is_refused(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        tree.read(make(tmp_path, DESCRIPTION.replace(*change)))


def test_no_tree_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        tree.read(tmp_path / "nothing")


@pytest.mark.parametrize(
    "path", ["..", "../a", "a/../b", "/a", "a//b", "a/./b", "", "a\\b", "a/\n", "a/b:c", "ä", "./a"]
)
def test_no_path_leaves_a_project(path: str) -> None:
    with pytest.raises(TemplateError, match="cannot be one of a project"):
        tree.checked_path(path)


@pytest.mark.parametrize("package", ["../../etc", "/etc", "a..b.."])
def test_not_even_by_a_package_that_was_not_validated(package: str) -> None:
    with pytest.raises(TemplateError):
        tree.project_path("__package_path__/A.kt", Flavour(engine="", task="", package=f"{package}/..", product="P"))


def test_a_part_that_stands_for_nothing_and_two_files_at_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="stands for nothing"):
        made(make(tmp_path / "a", **{"__packages__/x.kt": ""}))
    with pytest.raises(TemplateError, match="go to gradlew"):
        made(make(tmp_path / "b", **{"GRADLEW.j2": ""}))
