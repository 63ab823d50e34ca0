"""Building an app with its own tools: Gradle or xcodebuild, with news while it lasts and our errors when it fails."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.apps import failures, record, tree
from toolkit.apps.identifiers import Platform
from toolkit.apps.project import flavoured
from toolkit.apps.record import Answers
from toolkit.apps.tree import Tree
from toolkit.core import store
from toolkit.core.errors import BadInput, ToolMissing, unknown_name
from toolkit.core.events import Event
from toolkit.core.process import Finished, OnLine
from toolkit.core.tools import Tools

LOG: Final = "build/palmtop-build.log"
DEADLINE_S: Final = 3600.0
_WRAPPER: Final = "gradle/wrapper/gradle-wrapper.jar"
_TASK: Final = re.compile(r"> Task (:\S+)")
_XCODE_STEP: Final = re.compile(
    r"^(CompileSwift|SwiftCompile|SwiftDriver|CompileC|Ld|CodeSign|ProcessInfoPlistFile|CompileAssetCatalog\w*|CoreMLModel\w*|"
    r"Resolve Package Graph|CopyPlistFile|Validate)\b.*?([^/\s]*)(?: \(in target '([^']+)'.*)?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltApp:
    """What a build made, and how long it took."""

    platform: Platform
    variant: str
    artefact: str | None
    seconds: float
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    app: Path
    answers: Answers
    variant: str
    asked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """How a run is listened to, ended and judged."""

    hear: OnLine
    deadline_s: float
    judge: failures.Judge


def build(app: Path, variant: str | None, tools: Tools, *, deadline_s: float = DEADLINE_S) -> BuiltApp:
    """Build a variant of a project.

    Args:
        app: the project's folder.
        variant: one of the tree's, or None for the usual one.
        tools: to run Gradle or xcodebuild with.
        deadline_s: after which the build is ended.

    Raises:
        ToolMissing: a JDK, the Android SDK, Gradle or Xcode has to be installed first.
        BuildFailed: the sources do not compile.
        BadInput: the project is not one of palmtop's, or its settings are not complete.
    """
    answers = record.read(app).answers
    described = tree.shipped(answers.platform)
    variants = described.description.build.variants
    chosen = variant or described.description.build.default_variant
    if chosen not in variants:
        raise unknown_name("variant", chosen, variants)
    job = _Job(app=app.resolve(), answers=answers, variant=chosen, asked=variants[chosen])
    done = _gradle(job, tools, deadline_s) if answers.platform == "android" else _xcode(job, tools, deadline_s)
    tools.emit(Event(subject=_subject(job), phase="done"))
    return BuiltApp(
        platform=answers.platform,
        variant=chosen,
        artefact=_artefact(described, job),
        seconds=round(done.seconds, 3),
        log=LOG,
    )


def _subject(job: _Job) -> str:
    return f"{job.app.name}/{job.variant}"


def _artefact(described: Tree, job: _Job) -> str | None:
    """Return the path of what was built, relative to the project, if it is where it should be."""
    if job.answers.platform == "android":
        folder = f"app/build/outputs/apk/{job.variant}"
        found = sorted((job.app / folder).glob("*.apk"))
    else:
        configuration, sdk = _configuration(job.asked)
        found = sorted((job.app / f"build/DerivedData/Build/Products/{configuration}-{sdk}").glob("*.app"))
    return found[0].relative_to(job.app).as_posix() if found else None


def _gradle(job: _Job, tools: Tools, deadline_s: float) -> Finished:
    _check_android(job.app)
    argv = [*_gradle_command(job.app), "--console=plain", job.asked]
    seen = 0

    def hear(line: str) -> None:
        nonlocal seen
        if task := _TASK.search(line):
            seen += 1
            tools.emit(Event(subject=_subject(job), phase="build", message=task.group(1), done=seen))

    return _run(job, argv, tools, _Watch(hear=hear, deadline_s=deadline_s, judge=failures.of_gradle))


def _gradle_command(app: Path) -> list[str]:
    """Return the project's wrapper where it is whole, else the Gradle that is installed."""
    wrapper = app / ("gradlew.bat" if sys.platform == "win32" else "gradlew")
    if wrapper.is_file() and (app / _WRAPPER).is_file():
        return [str(wrapper)]
    installed = shutil.which("gradle")
    if installed is None:
        raise ToolMissing(
            "Gradle is not installed, and the project has no wrapper of its own yet.",
            hint="Install Gradle (gradle.org/install) and run `gradle wrapper` in the app's folder, "
            "or open the folder in Android Studio once.",
        )
    return [installed]


def _check_android(app: Path) -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin").is_dir()):
        raise ToolMissing("No JDK is installed.", hint="Install JDK 17 or later and set JAVA_HOME to its folder.")
    named = [os.environ.get(name, "") for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    if not any(named) and not (app / "local.properties").is_file():
        raise ToolMissing(
            "The Android SDK is not found: ANDROID_HOME is not set and the app has no local.properties.",
            hint="Install it with Android Studio or the command line tools, and set ANDROID_HOME to its folder.",
        )
    gone = [path for path in named if path and not Path(path).is_dir()]
    if gone:
        raise ToolMissing(
            f"The Android SDK is not where ANDROID_HOME says: {gone[0]}.", hint="Set it to the SDK's folder."
        )


def _configuration(asked: str) -> tuple[str, str]:
    configuration, _, sdk = asked.partition("@")
    return configuration, sdk or "iphoneos"


def _xcode(job: _Job, tools: Tools, deadline_s: float) -> Finished:
    if shutil.which("xcodebuild") is None:
        raise ToolMissing(
            "xcodebuild is not installed; iOS apps are built on a Mac with Xcode.",
            hint="Install Xcode from the App Store, then run: sudo xcode-select -s /Applications/Xcode.app",
        )
    configuration, sdk = _configuration(job.asked)
    project = flavoured("__product__.xcodeproj", job.answers)
    unsigned = ["CODE_SIGNING_ALLOWED=NO"] if sdk == "iphonesimulator" else []
    argv = ["xcodebuild", "-project", project, "-scheme", job.answers.product, "-configuration", configuration]
    argv += ["-sdk", sdk, "-derivedDataPath", "build/DerivedData", "build", *unsigned]
    seen = 0

    def hear(line: str) -> None:
        nonlocal seen
        if step := _XCODE_STEP.match(line):
            seen += 1
            message = f"{step.group(1)} {step.group(2)}".strip()
            tools.emit(Event(subject=_subject(job), phase="build", message=message, done=seen))

    return _run(job, argv, tools, _Watch(hear=hear, deadline_s=deadline_s, judge=failures.of_xcode))


def _run(job: _Job, argv: list[str], tools: Tools, watch: _Watch) -> Finished:
    tools.emit(Event(subject=_subject(job), phase="start", message=Path(argv[0]).name))
    done = tools.run(argv, deadline_s=watch.deadline_s, cwd=job.app, on_line=watch.hear)
    said = f"{done.stdout}\n{done.stderr}"
    log = job.app / LOG
    store.write_atomic(log, said)
    if done.timed_out:
        raise BadInput(f"The build of {job.app.name} {done.describe().partition('` ')[2]}.", hint=f"See {log}.")
    if done.code:
        raise watch.judge(said, str(job.app), str(log))
    return done
