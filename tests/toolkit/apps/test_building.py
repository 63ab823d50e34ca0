"""Building apps: the tools' output in our words, and real processes that behave as Gradle and xcodebuild do."""

from __future__ import annotations

import dataclasses
import plistlib
import shutil
from pathlib import Path

import app_builds
import pytest

from toolkit.apps import building, failures, placed, project, record, tree
from toolkit.apps.contract import Request
from toolkit.apps.failures import BuildFailed
from toolkit.apps.project import Wish
from toolkit.core import codec, store
from toolkit.core.errors import BadInput, PalmtopError, SettingsError, ToolMissing
from toolkit.core.events import Event
from toolkit.core.tools import Tools

ROOT = "/home/me/App"
GRADLE = {
    "sdk": (
        "SDK location not found. Define a valid SDK location with an ANDROID_HOME environment variable or by setting x",
        ToolMissing,
        "Android SDK is not found",
    ),
    "licence": (
        "You have not accepted the license agreements of the following SDK components:\n  [Android SDK Platform 37].",
        ToolMissing,
        "not been accepted: Android SDK Platform 37",
    ),
    "jdk": (
        "> Gradle requires JVM 17 or later to run. Your build is currently configured to use JVM 11.",
        ToolMissing,
        "needed: 17, found: 11",
    ),
    "agp": (
        "   > Android Gradle plugin requires Java 17 to run. You are currently using Java 8.",
        ToolMissing,
        "needed: 17, found: 8",
    ),
    "class file": ("> Unsupported class file major version 71", ToolMissing, "JDK is not one"),
    "platform": (
        "> Failed to find target with hash string 'android-37' in: /opt/sdk",
        ToolMissing,
        "missing: android-37",
    ),
    "wrapper": (
        "Error: Could not find or load main class org.gradle.wrapper.GradleWrapperMain",
        ToolMissing,
        "no Gradle wrapper",
    ),
    "old gradle": (
        "> Minimum supported Gradle version is 9.5.0. Current version is 8.13. If using the gradle wrapper, …",
        ToolMissing,
        "Gradle 8.13 is too old",
    ),
    "space": (
        "* What went wrong:\nExecution failed for task ':app:x'.\n> java.io.IOException: No space left on device",
        BadInput,
        "disk became full",
    ),
    "network": (
        "> Could not resolve com.android.tools.build:gradle:9.3.3.\n   > Could not GET 'https://dl.google.com/x.pom'.",
        BadInput,
        "could not download",
    ),
    "no such version": ("> Could not find com.google.ai.edge.litert:litert:9.9.9.\n", BadInput, "litert:9.9.9"),
    "memory": ("> java.lang.OutOfMemoryError: Java heap space", BadInput, "ran out of memory"),
    "signing": ("> Keystore file '/home/me/k.jks' not found for signing config 'release'.", BadInput, "k.jks"),
    "namespace": (
        "Namespace 'com.google.ai.edge.litert' is used in multiple modules and/or libraries: a, b.",
        BadInput,
        "com.google.ai.edge.litert",
    ),
    "manifest": ("> Manifest merger failed : uses-sdk:minSdkVersion 21 cannot be smaller", BuildFailed, "uses-sdk"),
    "kotlin": (
        (
            "e: file:///home/me/App/app/src/main/kotlin/a/Main.kt:12:5 Unresolved reference 'foo'.\n"
            "e: file:///home/me/App/app/src/main/kotlin/a/Main.kt:14:1 Expecting '}'\n* What went wrong:\nx"
        ),
        BuildFailed,
        "app/src/main/kotlin/a/Main.kt:12: Unresolved reference 'foo'.\napp/src/main/kotlin/a/Main.kt:14: Expecting",
    ),
    "resources": (
        "ERROR: /home/me/App/app/src/main/res/values/a.xml:5: AAPT: error: not well-formed (invalid token).",
        BuildFailed,
        "app/src/main/res/values/a.xml:5: not well-formed",
    ),
    "java": ("/home/me/App/a/B.java:3: error: ';' expected\n", BuildFailed, "a/B.java:3: ';' expected"),
    "another": (
        "FAILURE: Build failed.\n\n* What went wrong:\nTask 'assembleX' not found in root project.\n\n* Try:\n",
        BuildFailed,
        "Gradle could not build the app: Task 'assembleX' not found in root project.",
    ),
    "nothing": ("", BuildFailed, "it said nothing"),
}
XCODE = {
    "not chosen": (
        (
            "xcode-select: error: tool 'xcodebuild' requires Xcode, but active developer directory "
            "'/Library/Developer/CommandLineTools' is a command line tools instance"
        ),
        ToolMissing,
        "not chosen",
    ),
    "licence": ("You have not agreed to the Xcode license agreements.", ToolMissing, "licence has not been accepted"),
    "team": (
        (
            '/home/me/App/Digits.xcodeproj: error: Signing for "Digits" requires a development team. Select a '
            "development team in the Signing & Capabilities editor. (in target 'Digits' from project 'Digits')"
        ),
        BadInput,
        "Signing Digits needs a development team",
    ),
    "profile": (
        "error: No profiles for 'com.example.x' were found: Xcode couldn't find any",
        BadInput,
        "com.example.x",
    ),
    "platform": ("xcodebuild: error: iOS 27.0 is not installed. Please download", ToolMissing, "iOS 27.0"),
    "scheme": (
        'xcodebuild: error: The project named "Digits" does not contain a scheme named "X".',
        BadInput,
        "no scheme X",
    ),
    "packages": (
        "xcodebuild: error: Could not resolve package dependencies:\n  failed downloading",
        BadInput,
        "Swift package cannot",
    ),
    "model": ("coremlc: error: unable to open model.mlmodel", BadInput, "unable to open model.mlmodel"),
    "swift": (
        "/home/me/App/Digits/ContentView.swift:12:9: error: cannot find 'x' in scope\n** BUILD FAILED **",
        BuildFailed,
        "Digits/ContentView.swift:12: cannot find 'x' in scope",
    ),
    "space": ("error: No space left on device", BadInput, "disk became full"),
    "another": (
        "error: something odd\n** BUILD FAILED **",
        BuildFailed,
        "xcodebuild could not build the app: error: some",
    ),
}


@pytest.mark.parametrize("name", GRADLE)
def test_what_gradle_says_becomes_ours(name: str) -> None:
    text, kind, words = GRADLE[name]
    error = failures.of_gradle(text, ROOT, "build.log")
    assert (type(error), words in error.message) == (kind, True), error.message
    assert error.hint
    assert not any(mark in str(error) for mark in ("{", "()", ": .", ".."))


@pytest.mark.parametrize("name", XCODE)
def test_what_xcodebuild_says_becomes_ours(name: str) -> None:
    text, kind, words = XCODE[name]
    error = failures.of_xcode(text, ROOT, "build.log")
    assert (type(error), words in error.message) == (kind, True), error.message
    assert error.hint
    assert not any(mark in str(error) for mark in ("{", "()", ": .", ".."))


def test_many_complaints_are_counted() -> None:
    text = "\n".join(f"e: file:///home/me/App/a.kt:{line}:1 wrong" for line in range(1, 9))
    error = failures.of_gradle(text, ROOT, "build.log")
    assert error.message.endswith("a.kt:5: wrong\nand 3 more")


@pytest.fixture
def android(tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real project, an SDK folder and a PATH on which only what a test puts there is found."""
    builds = app_builds.make(tmp_path / "builds", targets=("tflite",))
    wish = Wish(platform="android", build=Request(folder=builds, target="tflite"))
    project.create(project.design(tree.shipped("android"), wish), tmp_path / "app", tools)
    (tmp_path / "bin").mkdir()
    (tmp_path / "sdk").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    program(tmp_path / "bin" / "java", "exit 0")
    return tmp_path / "app"


@pytest.fixture
def ios(tmp_path: Path, tools: Tools) -> Path:
    """A real project around a Core ML build."""
    builds = app_builds.make(tmp_path / "builds", targets=("coreml",))
    wish = Wish(platform="ios", build=Request(folder=builds, target="coreml"))
    project.create(project.design(tree.shipped("ios"), wish), tmp_path / "app", tools)
    return tmp_path / "app"


def program(path: Path, script: str) -> None:
    """Put a small shell script where a tool would be: the far side of the wire."""
    path.write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\n{script}\n")
    path.chmod(0o755)


def test_a_build_is_told_while_it_lasts_and_its_apk_is_found(android: Path, tools: Tools) -> None:
    heard: list[Event] = []
    apk = android / "app/build/outputs/apk/bench"
    script = f"""echo "$@" > {android}/asked
echo '> Task :app:preBuild UP-TO-DATE'
echo '> Task :core:compileKotlin'
/bin/mkdir -p {apk}; echo apk > {apk}/app-bench.apk"""
    program(android.parent / "bin" / "gradle", script)
    done = building.build(android, "bench", dataclasses.replace(tools, emit=heard.append))
    assert (android / "asked").read_text() == "--console=plain :app:assembleBench\n"
    assert (done.variant, done.artefact) == ("bench", "app/build/outputs/apk/bench/app-bench.apk")
    told = [(event.phase, event.message) for event in heard]
    assert told == [("start", "gradle"), ("build", ":app:preBuild"), ("build", ":core:compileKotlin"), ("done", "")]
    found = placed.bench_app(android)
    assert (found.package, found.runner) == ("com.example.strokes.bench", "com.example.strokes.BenchInstrumentation")
    assert placed.bench_variables(android) == {
        "PALMTOP_APP_TFLITE": f"{found.package}/{found.runner} {apk}/app-bench.apk"
    }


def test_the_variables_are_those_that_the_adb_transport_reads(android: Path) -> None:
    from mobile_harness.transports._adb_app import apps_for

    apk = android / "app/build/outputs/apk/bench/app-bench.apk"
    apk.parent.mkdir(parents=True)
    apk.write_bytes(b"apk")
    (app,) = apps_for("tflite", placed.bench_variables(android))
    assert (app.component, app.files) == (
        "com.example.strokes.bench/com.example.strokes.BenchInstrumentation",
        (apk,),
    )


def test_an_ios_app_serves_phones_and_simulators(ios: Path) -> None:
    """The simulator's transport reads the variable that `--app` sets, and takes the folder made for it."""
    from mobile_harness.transports._apple_app import app_for

    product = record.read(ios).answers.product
    for kind, platform in (("Release-iphoneos", "iPhoneOS"), ("Debug-iphonesimulator", "iPhoneSimulator")):
        folder = ios / "build/DerivedData/Build/Products" / kind / f"{product}.app"
        folder.mkdir(parents=True)
        facts = {
            "CFBundleIdentifier": "com.example.strokes",
            "CFBundleExecutable": product,
            "CFBundleSupportedPlatforms": [platform],
        }
        (folder / "Info.plist").write_bytes(plistlib.dumps(facts))
    variables = placed.bench_variables(ios)
    for platform, kind in (("iPhoneSimulator", "Debug-iphonesimulator"), ("iPhoneOS", "Release-iphoneos")):
        app = app_for("coreml", platform, variables)
        assert app.bundle_id == "com.example.strokes"
        assert app.folder is not None
        assert app.folder.parent.name == kind


def test_an_app_that_was_not_built_says_how(android: Path) -> None:
    with pytest.raises(BadInput, match="has not been built") as told:
        placed.bench_app(android)
    assert "--variant bench" in told.value.hint


def test_a_compile_error_names_the_place_and_the_log(android: Path, tools: Tools) -> None:
    source = android.resolve() / "app/src/main/kotlin/Main.kt"
    program(android.parent / "bin" / "gradle", f"echo 'e: file://{source}:3:7 Expecting an element' >&2; exit 1")
    with pytest.raises(BuildFailed, match=r"app/src/main/kotlin/Main\.kt:3: Expecting an element") as told:
        building.build(android, None, tools)
    assert str(android / building.LOG) in told.value.hint
    assert "Expecting an element" in (android / building.LOG).read_text()


def test_a_build_that_hangs_is_ended(android: Path, tools: Tools) -> None:
    program(android.parent / "bin" / "gradle", "exec /bin/sleep 60")
    with pytest.raises(BadInput, match="ran past its deadline"):
        building.build(android, None, tools, deadline_s=0.5)


def test_the_projects_own_wrapper_comes_first(android: Path, tools: Tools) -> None:
    program(android / "gradlew", f"echo own > {android}/asked")
    (android / "gradle/wrapper/gradle-wrapper.jar").write_bytes(b"jar")
    building.build(android, None, tools)
    assert (android / "asked").read_text() == "own\n"


@pytest.mark.parametrize(
    ("missing", "words"), [("gradle", "Gradle is not installed"), ("java", "No JDK"), ("sdk", "Android SDK is not")]
)
def test_what_is_missing_is_said_before_anything_runs(
    android: Path, tools: Tools, missing: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "java":
        (android.parent / "bin" / "java").unlink()
    if missing == "sdk":
        (android.parent / "sdk").rmdir()
    with pytest.raises(ToolMissing, match=words) as told:
        building.build(android, None, tools)
    assert told.value.hint
    assert told.value.exit_code == 6


def test_an_unknown_variant_offers_the_nearest(android: Path, tools: Tools) -> None:
    with pytest.raises(SettingsError, match="Unknown variant 'benhc'") as told:
        building.build(android, "benhc", tools)
    assert "Did you mean 'bench'?" in told.value.hint


def as_ios(app: Path) -> Path:
    known = record.read(app)
    answers = dataclasses.replace(known.answers, platform="ios", engine="coreml", target="coreml")
    store.write_atomic(app / record.FILE, codec.pretty(dataclasses.replace(known, answers=answers)))
    return app


def test_xcodebuild_is_asked_for_the_scheme_and_its_steps_are_told(android: Path, tools: Tools) -> None:
    app, heard = as_ios(android), list[Event]()
    script = f"""echo "$@" > {app}/asked
echo "SwiftCompile normal arm64 {app}/Strokes/Demo.swift (in target 'Strokes' from project 'Strokes')"
echo 'CodeSign /x/Strokes.app'"""
    program(app.parent / "bin" / "xcodebuild", script)
    building.build(app, None, dataclasses.replace(tools, emit=heard.append))
    asked = (app / "asked").read_text()
    assert asked.startswith("-project Strokes.xcodeproj -scheme Strokes -configuration ")
    assert "-derivedDataPath build/DerivedData build" in asked
    assert [event.message for event in heard if event.phase == "build"] == [
        "SwiftCompile Demo.swift",
        "CodeSign Strokes.app",
    ]


def test_xcodebuilds_words_are_translated_and_a_missing_xcode_too(android: Path, tools: Tools) -> None:
    app = as_ios(android)
    with pytest.raises(ToolMissing, match="xcodebuild is not installed"):
        building.build(app, None, tools)
    program(
        app.parent / "bin" / "xcodebuild", "echo 'error: Signing for \"Strokes\" requires a development team.'; exit 65"
    )
    with pytest.raises(PalmtopError, match="needs a development team"):
        building.build(app, None, tools)
