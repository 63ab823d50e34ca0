"""`palmtop app` as a user types it: what it writes, prints and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import app_builds
import pytest

from toolkit.cli.main import execute

Capture = pytest.CaptureFixture[str]
ENGINE = "core/src/main/kotlin/org/palmtop/core/Stats.kt"


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return app_builds.make(tmp_path_factory.mktemp("cli-app") / "builds")


def create(builds: Path, out: Path, *more: str, platform: str = "android", target: str = "tflite") -> int:
    return execute(["app", "create", platform, "--build", str(builds), "--target", target, "-o", str(out), *more])


def answer(captured: Capture) -> dict[str, Any]:
    plain = json.loads(captured.readouterr().out)
    assert isinstance(plain, dict)
    return plain


def test_an_app_is_made_and_says_what_comes_next(builds: Path, tmp_path: Path, capsys: Capture) -> None:
    assert create(builds, tmp_path / "app", "--name", "My 🎉 $app") == 0
    said = capsys.readouterr()
    assert "My 🎉 $app (com.example.myapp), android with litert" in said.out
    assert f"Next: palmtop app build {tmp_path / 'app'}" in said.out
    assert "4 labels are those of the data" in said.err


def test_json_is_one_document_with_every_file(builds: Path, tmp_path: Path, capsys: Capture) -> None:
    assert create(builds, tmp_path / "app", "--json", platform="ios", target="coreml") == 0
    document = answer(capsys)
    assert document["answers"]["product"] == "Strokes"
    kinds = {entry["path"]: entry["kind"] for entry in document["files"]}
    assert kinds["Strokes/Model/model.json"] == "model"
    assert kinds["Strokes.xcodeproj/project.pbxproj"] == "managed"
    assert all((tmp_path / "app" / path).is_file() for path in kinds)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--id", "com.example.class"], 3, "reserved word"),
        (["--id", "../x"], 3, "application id"),
        (["--name", "x" * 300], 3, "300 characters"),
        (["--name", "a\nb"], 3, "U+000A"),
        (["--engine", "coreml"], 3, "does not execute tflite builds"),
        (["--recipe", "static-int9"], 3, "Did you mean 'static-int8'?"),
        (["--task", "detection"], 3, "no boxes that palmtop knows"),
        (["--task", "text"], 3, "token numbers"),
        (["--vocab", "nowhere.txt"], 2, "--vocab belongs"),
        (["--labels", "nowhere.txt"], 3, "nowhere.txt cannot be read"),
        (["--engine", "pytorch"], 2, "is not one of"),
    ],
)
def test_what_cannot_be_an_app_is_said_and_leaves_nothing(
    builds: Path, tmp_path: Path, capsys: Capture, more: list[str], code: int, words: str
) -> None:
    assert create(builds, tmp_path / "app", *more) == code
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_other_bad_places_and_builds(builds: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert create(builds, tmp_path / "full") == 3
    assert "not empty" in capsys.readouterr().err
    assert create(tmp_path / "nowhere", tmp_path / "app") == 3
    assert "holds no build.json" in capsys.readouterr().err
    assert create(builds, tmp_path / "app", target="coreml") == 3
    assert "Apps for android have no engine for coreml builds" in capsys.readouterr().err


def test_an_update_merges_lists_and_ends_with_5_where_you_have_to_look(
    builds: Path, tmp_path: Path, capsys: Capture
) -> None:
    app = tmp_path / "app"
    assert create(builds, app, "-q") == 0
    capsys.readouterr()
    assert execute(["app", "update", str(app)]) == 0
    assert "is up to date" in capsys.readouterr().out

    aged(app, "val ", "old val ")  # as if the template had said so when the app was made
    assert execute(["app", "update", str(app), "--diff"]) == 0
    assert f"+++ b/{ENGINE}" in capsys.readouterr().out
    assert execute(["app", "update", str(app), "--dry-run", "--json"]) == 0
    document = answer(capsys)
    assert (document["written"], [one["action"] for one in document["changes"]]) == (False, ["updated"])

    mine = (app / ENGINE).read_text().replace("old val ", "my val ")
    (app / ENGINE).write_text(mine)
    assert execute(["app", "update", str(app), "--json"]) == 5
    said = answer(capsys)
    assert [(one["path"], one["action"], one["beside"]) for one in said["changes"]] == [
        (ENGINE, "beside", f"{ENGINE}.new")
    ]
    assert (app / ENGINE).read_text() == mine
    assert "old val" not in (app / f"{ENGINE}.new").read_text()


def aged(app: Path, old: str, new: str) -> None:
    """Make a project into one of an older template: the file, its base and its record say something else."""
    from toolkit.apps import record

    text = (app / ENGINE).read_text()
    assert old in text
    older = text.replace(old, new)
    known = (app / record.FILE).read_text()
    (app / record.FILE).write_text(known.replace(record.sha256(text.encode()), record.sha256(older.encode())))
    (app / ENGINE).write_text(older)
    (app / record.BASE / ENGINE).write_text(older)


def test_an_update_to_a_newer_build(builds: Path, tmp_path: Path, capsys: Capture) -> None:
    app = tmp_path / "app"
    assert create(builds, app, "-q") == 0
    newer = app_builds.make(tmp_path / "newer", content=b"newer")
    capsys.readouterr()
    assert execute(["app", "update", str(app), "--build", str(newer)]) == 0
    out = capsys.readouterr().out
    assert "updated" in out
    assert "app/src/main/assets/model.tflite" in out
    assert (app / "app/src/main/assets/model.tflite").read_bytes() == b"newerstatic-int8"
    assert execute(["app", "update", str(app), "--labels", "x.txt"]) == 2
    assert execute(["app", "update", str(tmp_path / "newer")]) == 3


def test_a_build_without_tools_ends_with_6_and_says_what_to_install(
    builds: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert create(builds, tmp_path / "app", "-q") == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("JAVA_HOME", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    capsys.readouterr()
    assert execute(["app", "build", str(tmp_path / "app")]) == 6
    assert "Install JDK 17" in capsys.readouterr().err
    assert create(builds, tmp_path / "ios", "-q", platform="ios", target="coreml") == 0
    assert execute(["app", "build", str(tmp_path / "ios")]) == 6
    assert "Install Xcode" in capsys.readouterr().err
