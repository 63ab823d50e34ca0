"""Making projects and bringing them up to date, with a tiny tree: the same every time, and no edit is ever lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import app_builds
import pytest

from toolkit.apps import project, record, renewal, tree, update
from toolkit.apps.contract import Request
from toolkit.apps.project import Wish
from toolkit.apps.render import TemplateError
from toolkit.apps.tree import Tree
from toolkit.core import store
from toolkit.core.errors import BadInput, OutputError, SettingsError, ToolMissing
from toolkit.core.process import run
from toolkit.core.tools import Tools, system_tools

DESCRIPTION = """
schema = 1
platform = "android"
version = "1.0.0"
engines = ["litert", "onnx"]
model_folder = "app/assets"
seed = ["app/Screen.kt"]
executable = ["gradlew"]
strings = { android = "app/res" }
bench = { variant = "bench", package = "{package}.bench", runner = "{package}.Runner", artefact = "out/{product}.apk" }
build = { default_variant = "debug", variants = { debug = ":assembleDebug" } }
"""
ENGINE_TEMPLATE = "app/__package_path__/Engine.kt.j2"
TEXT = "\n".join(f"line {number}" for number in range(1, 21)) + "\n"
FILES = {
    "README.md.j2": "# [[ app.display_name | md ]]\n",
    "app/Screen.kt": "mine from the start\n",
    ENGINE_TEMPLATE: f"package [[ app.package | ident ]]\nval x = [[ app.display_name | kt ]]\n{TEXT}",
    "app/icon.png": "\x00binary",
    "gradlew": "#!/bin/sh\n",
}
ENGINE = "app/com/example/strokes/Engine.kt"


def template(root: Path, **changes: str | None) -> Tree:
    (root).mkdir(parents=True, exist_ok=True)
    (root / "tree.toml").write_text(DESCRIPTION)
    (root / "versions.toml").write_text("min_os = 26\n")
    for name, text in {**FILES, **changes}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)
    return tree.read(root)


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    return app_builds.make(tmp_path / "builds")


def wish(builds: Path, **changes: Any) -> Wish:
    return Wish(**{"platform": "android", "build": Request(folder=builds, target="tflite"), **changes})


@pytest.fixture(scope="module")
def first_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("first")
    made = project.design(template(root / "tree"), wish(app_builds.make(root / "builds")))
    project.create(made, root / "app", system_tools())
    return root / "app"


@pytest.fixture
def app(tmp_path: Path, first_app: Path) -> Path:
    """A new project, this test's own."""
    return Path(shutil.copytree(first_app, tmp_path / "app"))


Renew = Callable[..., dict[str, str]]


@pytest.fixture
def renewed(tmp_path: Path, app: Path, tools: Tools) -> Renew:
    """Bring the app up to date with a template changed so far, or a build; returns what was done to each file."""
    so_far: dict[str, str | None] = {}

    def renew(
        *, builds: Path | None = None, conflict: update.Conflict = "new", using: Tools = tools, **changes: str | None
    ) -> dict[str, str]:
        before = record.read(app)
        newer = Request(folder=builds, target="") if builds else None
        so_far.update(changes)
        made = renewal.renew(template(tmp_path / "tree", **so_far), app, before, newer)
        plan = update.plan(app, before, made, conflict, using)
        update.apply(app, plan, using)
        return {step.path: step.action for step in plan.steps if step.action != "unchanged"}

    return renew


def tree_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(number: int, text: str) -> str:
    return FILES[ENGINE_TEMPLATE].replace(f"line {number}\n", f"{text}\n")


def test_two_projects_of_one_wish_are_the_same_to_the_byte_and_mode(tmp_path: Path, builds: Path, tools: Tools) -> None:
    for name in ("one", "two"):
        os.umask(0o022 if name == "one" else 0o077)
        project.create(project.design(template(tmp_path / "tree"), wish(builds)), tmp_path / name, tools)
    os.umask(0o022)
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two")
    assert store.sha256_of(tmp_path / "one") == store.sha256_of(tmp_path / "two")
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert twin.stat().st_mode == path.stat().st_mode
    assert (tmp_path / "one" / "gradlew").stat().st_mode & 0o777 == 0o755


def test_nothing_in_a_project_names_where_it_was_made(tmp_path: Path, app: Path) -> None:
    assert not [path for path, content in tree_of(app).items() if str(tmp_path).encode() in content]


def test_the_model_lies_in_the_project_as_it_was_built(app: Path) -> None:
    assert (app / "app/assets/model.tflite").read_bytes() == b"model \x00 bytesstatic-int8"
    assert (app / "app/assets/model.tflite").stat().st_nlink == 1


def test_a_folder_of_a_model_is_copied_whole(tmp_path: Path, builds: Path, tools: Tools) -> None:
    description = DESCRIPTION.replace('"android"\nversion', '"ios"\nversion').replace(
        '["litert", "onnx"]', '["coreml"]'
    )
    template(tmp_path / "tree")
    (tmp_path / "tree/tree.toml").write_text(
        description.replace('{ android = "app/res" }', '{ xcstrings = "L.xcstrings" }')
    )
    (tmp_path / "tree/versions.toml").write_text('min_os = "17.0"\n')
    wanted = wish(builds, platform="ios", build=Request(folder=builds, target="coreml"))
    project.create(project.design(tree.read(tmp_path / "tree"), wanted), tmp_path / "app", tools)
    copied = tmp_path / "app/app/assets/model.mlpackage"
    assert store.sha256_of(copied) == store.sha256_of(builds / "coreml-static-int8.mlpackage")
    kinds = {entry.path: entry.kind for entry in record.read(tmp_path / "app").files}
    assert kinds["app/assets/model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"] == "model"


@pytest.mark.parametrize(
    "name", ['a "b" $c', "]]> <x> & 'y'", "🎉 数字", "[[ x ]] [% if %]", "class", "x" * 100, "\\n // %s"]
)
def test_a_hostile_name_stays_text(tmp_path: Path, builds: Path, tools: Tools, name: str) -> None:
    made = project.design(template(tmp_path / "tree"), wish(builds, name=name))
    project.create(made, tmp_path / "app", tools)
    assert record.read(tmp_path / "app").answers.name == name
    package = made.record.answers.id.replace(".", "/")
    assert (tmp_path / "app/app" / package / "Engine.kt").read_text().count("\n") == 22


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 300},
        {"name": "a\nb"},
        {"id": "com.example.class"},
        {"id": "../../etc/passwd"},
        {"engine": "coreml"},
        {"build": None},
    ],
)
def test_what_cannot_be_an_app_leaves_nothing_behind(tmp_path: Path, builds: Path, fields: dict[str, Any]) -> None:
    if fields.get("build", 1) is None:
        fields = {"build": Request(folder=builds, target="coreml")}
    with pytest.raises(SettingsError):
        project.design(template(tmp_path / "tree"), wish(builds, **fields))


def test_a_link_in_a_model_folder_does_not_bring_other_files_in(tmp_path: Path, builds: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    package = builds / "coreml-static-int8.mlpackage"
    before = store.sha256_of(package)
    (package / "Data" / "link").symlink_to(tmp_path / "secret")
    path = builds / "build.json"
    path.write_text(path.read_text().replace(before, store.sha256_of(package)))
    wanted = wish(builds, platform="ios", build=Request(folder=builds, target="coreml"))
    with pytest.raises(SettingsError, match="leads out of it"):
        project.design(tree.shipped("ios"), wanted)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, builds: Path, tools: Tools) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        project.create(project.design(template(tmp_path / "tree"), wish(builds)), tmp_path / "app", tools)
    assert tree_of(tmp_path / "app") == {"mine.txt": b"mine"}


def test_a_tree_that_has_a_file_where_the_model_goes_is_refused(tmp_path: Path, builds: Path) -> None:
    with pytest.raises(TemplateError, match=r"holds app/assets/model\.json"):
        project.design(template(tmp_path / "tree", **{"app/assets/model.json": "{}"}), wish(builds))


def test_an_update_without_news_changes_nothing(app: Path, renewed: Renew) -> None:
    before = tree_of(app)
    assert renewed() == {}
    assert tree_of(app) == before


def test_a_file_as_palmtop_wrote_it_is_rewritten(app: Path, renewed: Renew) -> None:
    assert renewed(**{ENGINE_TEMPLATE: changed(3, "line three")}) == {ENGINE: "updated"}
    assert "line three\n" in (app / ENGINE).read_text()
    assert renewed() == {}


def test_edits_in_other_places_are_merged(app: Path, renewed: Renew) -> None:
    (app / ENGINE).write_text((app / ENGINE).read_text().replace("line 17\n", "my line\n"))
    assert renewed(**{ENGINE_TEMPLATE: changed(3, "line three")}) == {ENGINE: "merged"}
    text = (app / ENGINE).read_text()
    assert "my line\n" in text
    assert "line three\n" in text
    assert renewed() == {ENGINE: "kept"}
    assert (app / ENGINE).read_text() == text


def test_edits_in_the_same_place_stay_and_the_new_text_lies_beside(app: Path, renewed: Renew) -> None:
    mine = (app / ENGINE).read_text().replace("line 3\n", "my line\n")
    (app / ENGINE).write_text(mine)
    assert renewed(**{ENGINE_TEMPLATE: changed(3, "line three")}) == {ENGINE: "beside"}
    assert (app / ENGINE).read_text() == mine
    assert "line three\n" in (app / f"{ENGINE}.new").read_text()
    assert renewed() == {ENGINE: "kept"}


def test_or_marks_lie_in_the_file(app: Path, renewed: Renew) -> None:
    (app / ENGINE).write_text((app / ENGINE).read_text().replace("line 3\n", "my line\n"))
    done = renewed(conflict="inline", **{ENGINE_TEMPLATE: changed(3, "line three")})
    assert done == {ENGINE: "conflict"}
    text = (app / ENGINE).read_text()
    assert "<<<<<<< yours\nmy line\n=======\nline three\n>>>>>>> palmtop\n" in text


def test_a_text_beside_that_the_user_edited_is_not_overwritten(app: Path, renewed: Renew) -> None:
    (app / ENGINE).write_text((app / ENGINE).read_text().replace("line 3\n", "my line\n"))
    renewed(**{ENGINE_TEMPLATE: changed(3, "line three")})
    (app / f"{ENGINE}.new").write_text("half taken over")
    renewed(**{ENGINE_TEMPLATE: changed(3, "line drei")})
    assert (app / f"{ENGINE}.new").read_text() == "half taken over"
    assert "line drei\n" in (app / f"{ENGINE}.new.2").read_text()


def test_without_git_every_edit_is_kept_and_the_new_text_lies_beside(app: Path, renewed: Renew, tools: Tools) -> None:
    def no_git(argv: Any, **how: Any) -> Any:
        if argv[0] == "git":
            raise ToolMissing("The program 'git' is not installed.")
        return run(argv, **how)

    mine = (app / ENGINE).read_text().replace("line 17\n", "my line\n")
    (app / ENGINE).write_text(mine)
    news = {ENGINE_TEMPLATE: changed(3, "line three")}
    assert renewed(using=replace(tools, run=no_git), **news) == {ENGINE: "beside"}
    assert (app / ENGINE).read_text() == mine


def test_line_ends_that_a_checkout_turned_are_no_edit(app: Path, renewed: Renew) -> None:
    (app / ENGINE).write_bytes((app / ENGINE).read_bytes().replace(b"\n", b"\r\n"))
    assert renewed() == {}
    assert b"\r\n" in (app / ENGINE).read_bytes()


def test_a_file_of_the_user_stays_whatever_the_template_says(app: Path, renewed: Renew) -> None:
    (app / "app/Screen.kt").write_text("my screen\n")
    (app / "app/New.kt").write_text("mine, first\n")
    done = renewed(**{"app/Screen.kt": "another screen\n", "app/New.kt": "theirs\n"})
    assert done == {"app/Screen.kt": "kept", "app/New.kt": "beside"}
    assert (app / "app/Screen.kt").read_text() == "my screen\n"
    assert (app / "app/New.kt").read_text() == "mine, first\n"
    assert (app / "app/New.kt.new").read_text() == "theirs\n"
    assert renewed() == {"app/Screen.kt": "kept", "app/New.kt": "kept"}


def test_an_untouched_seed_file_stays_too(app: Path, renewed: Renew) -> None:
    assert renewed(**{"app/Screen.kt": "another screen\n"}) == {}
    assert (app / "app/Screen.kt").read_text() == "mine from the start\n"


def test_what_the_user_removed_stays_removed(app: Path, renewed: Renew) -> None:
    (app / ENGINE).unlink()
    assert renewed(**{ENGINE_TEMPLATE: changed(3, "x")}) == {ENGINE: "left"}
    assert renewed(**{ENGINE_TEMPLATE: changed(4, "y")}) == {ENGINE: "left"}
    assert not (app / ENGINE).exists()


def test_what_the_template_dropped_goes_unless_it_was_edited(app: Path, renewed: Renew) -> None:
    (app / "README.md").write_text("my readme\n")
    assert renewed(**{"README.md.j2": None, ENGINE_TEMPLATE: None}) == {
        "README.md": "kept",
        ENGINE: "removed",
    }
    assert not (app / "app/com").exists()
    assert (app / "README.md").read_text() == "my readme\n"
    assert not (app / ".palmtop/base/README.md").exists()


def test_the_model_follows_the_build_and_a_changed_one_is_kept_aside(app: Path, renewed: Renew, tmp_path: Path) -> None:
    newer = app_builds.make(tmp_path / "newer", content=b"another model", label_names=())
    (app / "app/assets/model.tflite").write_bytes(b"my own model")
    done = renewed(builds=newer)
    assert done == {"app/assets/model.tflite": "replaced", "app/assets/model.json": "updated"}
    assert (app / "app/assets/model.tflite.old").read_bytes() == b"my own model"
    assert (app / "app/assets/model.tflite").read_bytes() == b"another modelstatic-int8"
    assert (app / "app/assets/labels.txt").read_text() == "bar\ncross\ndot\nring\n"


def test_without_a_build_the_model_stays_whatever_it_is(app: Path, renewed: Renew) -> None:
    (app / "app/assets/model.tflite").write_bytes(b"my own model")
    assert renewed() == {"app/assets/model.tflite": "kept"}
    assert (app / "app/assets/model.tflite").read_bytes() == b"my own model"


def test_a_binary_file_is_not_merged(app: Path, renewed: Renew) -> None:
    (app / "app/icon.png").write_bytes(b"\x00my icon")
    assert renewed(**{"app/icon.png": "\x00new icon"}) == {"app/icon.png": "beside"}
    assert (app / "app/icon.png").read_bytes() == b"\x00my icon"


def test_a_plan_writes_nothing_and_shows_a_patch(tmp_path: Path, app: Path, tools: Tools) -> None:
    before = tree_of(app)
    known = record.read(app)
    newer = template(tmp_path / "tree", **{ENGINE_TEMPLATE: changed(3, "line three")})
    plan = update.plan(app, known, renewal.renew(newer, app, known, None), "new", tools)
    assert f"--- a/{ENGINE}\n+++ b/{ENGINE}\n" in update.patch(app, plan)
    assert "-line 3\n+line three\n" in update.patch(app, plan)
    assert tree_of(app) == before


def test_an_update_that_was_interrupted_can_be_repeated(
    tmp_path: Path, app: Path, tools: Tools, renewed: Renew
) -> None:
    news = {ENGINE_TEMPLATE: changed(3, "line three"), "README.md.j2": "# new\n"}
    known = record.read(app)
    (app / ENGINE).write_text((app / ENGINE).read_text().replace("line 17\n", "my line\n"))
    plan = update.plan(app, known, renewal.renew(template(tmp_path / "tree", **news), app, known, None), "new", tools)
    readme = next(step for step in plan.steps if step.path == "README.md")
    update._carry_out(app, readme)  # the power fails here: one file is written, the record is not
    assert renewed(**news) == {ENGINE: "merged"}
    assert "my line\n" in (app / ENGINE).read_text()


@pytest.mark.parametrize("link", ["app", ENGINE, ".palmtop/base"])
def test_no_link_leads_an_update_out_of_the_project(tmp_path: Path, app: Path, renewed: Renew, link: str) -> None:
    outside = tmp_path / "outside"
    (app / link).rename(outside)
    (app / link).symlink_to(outside)
    before = tree_of(outside) if outside.is_dir() else outside.read_bytes()
    with pytest.raises(BadInput, match="is a link"):
        renewed(**{ENGINE_TEMPLATE: changed(3, "x"), "README.md.j2": "# new\n"})
    assert (tree_of(outside) if outside.is_dir() else outside.read_bytes()) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"README.md"', '"../README.md"'),
        ('"README.md"', '"/etc/passwd"'),
        ('"README.md"', '".palmtop/scaffold.json"'),
        ('"com.example.strokes"', '"../../x"'),
        ('"Strokes"', '"../X"'),
        ('"name": "strokes"', '"name": "a\\u0000b"'),
        ('"schema": 1', '"schema": 99'),
        ('"kind": "seed"', '"kind": "sad"'),
        ("{", "["),
        ('"answers"', '"answer"'),
    ],
)
def test_a_record_that_was_tampered_with_is_refused(app: Path, old: str, new: str) -> None:
    path = app / record.FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput):
        record.read(app)


def test_an_app_of_a_newer_template_is_not_turned_back(app: Path, renewed: Renew) -> None:
    path = app / record.FILE
    path.write_text(path.read_text().replace('"template_version": "1.0.0"', '"template_version": "1.10.0"'))
    with pytest.raises(BadInput, match=r"is of template 1\.10\.0") as told:
        renewed()
    assert told.value.hint == "Update palmtop."


def test_a_folder_that_is_no_app_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no app that palmtop made") as told:
        record.read(tmp_path)
    assert "app create" in told.value.hint


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[]"])
def test_a_model_folder_that_is_damaged_is_refused(app: Path, renewed: Renew, text: str) -> None:
    (app / "app/assets/model.json").write_text(text)
    with pytest.raises(BadInput, match=r"model\.json cannot be read"):
        renewed()
