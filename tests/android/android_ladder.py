"""The rungs that need no Android SDK: Kotlin's own compiler from npm and the JVM, found or named as absent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest

from toolkit.core import process
from toolkit.core.process import Finished

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates" / "android"
FAKES = ROOT / "tests" / "fakes" / "android"
CACHE = Path(os.environ.get("PALMTOP_KOTLIN", ROOT / "build" / "kotlin"))
KOTLIN = "2.4.20"
PACKAGE = f"kotlin-compiler@{KOTLIN}"
_JVM = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_COMPILE_S = 400.0
_INSTALL_S = 300.0
_RUN_S = 120.0
_NAMES = {"string", "plurals"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kotlin:
    """An installed compiler: its folder of jars."""

    lib: Path

    @property
    def classpath(self) -> str:
        """What compiled code needs to run: the standard library and coroutines."""
        return os.pathsep.join(
            str(self.lib / name) for name in ("kotlin-stdlib.jar", "kotlinx-coroutines-core-jvm.jar")
        )


def kotlin() -> Kotlin:
    """Return the pinned compiler, installed by npm the first time into the ignored build folder; else skip."""
    for tool in ("java", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    lib = CACHE / "node_modules" / "kotlin-compiler" / "lib"
    CACHE.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(CACHE / "install.lock"):
        if _installed() != KOTLIN:
            argv = ["npm", "install", "--prefix", str(CACHE), "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
            done = process.run(argv, deadline_s=_INSTALL_S)
            if done.code:
                pytest.skip(f"npm cannot install {PACKAGE}: {done.tail(3)}")
    assert _installed() == KOTLIN
    return Kotlin(lib=lib)


def _installed() -> str:
    package = CACHE / "node_modules" / "kotlin-compiler" / "package.json"
    return str(json.loads(package.read_text())["version"]) if package.is_file() else ""


def compile_all(compiler: Kotlin, sources: Sequence[Path]) -> Path:
    """Compile Kotlin sources into a jar; equal sources are compiled once, since a compilation takes half a minute.

    Raises:
        AssertionError: the compiler refuses, with its words.
    """
    jar = CACHE / "jars" / f"{_digest(sources)}.jar"
    jar.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(jar.with_suffix(".lock")):
        if not jar.exists():
            part = jar.with_suffix(".part.jar")
            done = compile_into(compiler, sources, part)
            assert done.code == 0, done.stderr[-6000:] or done.stdout[-6000:]
            part.rename(jar)
    return jar


def compile_into(compiler: Kotlin, sources: Sequence[Path], jar: Path, *, against: Path | None = None) -> Finished:
    """Run the compiler, warnings being errors; ``against`` a jar with Compose's own checks of who may call what."""
    names = ("kotlin-compiler", "kotlin-stdlib", "kotlin-script-runtime", "kotlin-reflect", "annotations-13.0")
    own = [str(compiler.lib / f"{name}.jar") for name in names]
    arguments = jar.with_suffix(".args")
    arguments.write_text("\n".join(f'"{path}"' for path in sources))
    argv = [
        "java",
        *_JVM,
        "-cp",
        os.pathsep.join([*own, *compiler.classpath.split(os.pathsep)]),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        "-no-stdlib",
        "-no-reflect",
        *(("-Werror",) if against is None else (f"-Xplugin={compiler.lib / 'compose-compiler-plugin.jar'}",)),
        "-jvm-target",
        "17",
        "-cp",
        os.pathsep.join([compiler.classpath, *([] if against is None else [str(against)])]),
        "-d",
        str(jar),
        f"@{arguments}",
    ]
    return process.run(argv, deadline_s=_COMPILE_S)


def _digest(sources: Iterable[Path]) -> str:
    digest = hashlib.sha256(KOTLIN.encode())
    for path in sources:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:24]


def java_argv(compiler: Kotlin, jar: Path, *arguments: str) -> tuple[str, ...]:
    """Return how to start the compiled main function."""
    flags = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return ("java", *flags, "-cp", os.pathsep.join((str(jar), compiler.classpath)), "palmtop.fakes.MainKt", *arguments)


def environment() -> dict[str, str]:
    """What the fakes need to start the real runtimes."""
    return {"PALMTOP_FAKE_PYTHON": sys.executable, "PALMTOP_FAKE_SERVER": str(FAKES / "runtime_server.py")}


def run_batch(compiler: Kotlin, jar: Path, commands: dict[str, tuple[str, ...]], folder: Path) -> dict[str, str]:
    """Run many commands of the compiled main function in one JVM; return what each printed, by its name."""
    file = folder / "batch.json"
    file.write_text(json.dumps(list(commands.values())))
    told = [json.loads(line) for line in run_java(compiler, jar, "batch", str(file)).splitlines()]
    for name, answer in zip(commands, told, strict=True):
        assert answer["failure"] is None, f"{name}: {answer['failure']}"
    return {name: answer["printed"] for name, answer in zip(commands, told, strict=True)}


def run_java(compiler: Kotlin, jar: Path, *arguments: str) -> str:
    """Run the compiled main function to its end and return what it printed."""
    done = process.run(java_argv(compiler, jar, *arguments), deadline_s=_RUN_S, env=environment())
    assert done.code == 0, f"{done.describe()}\n{done.stderr[-4000:]}"
    return done.stdout


def resource_class(app: Path, package: str) -> str:
    """Return Kotlin for the class R that Gradle would make of an app's resources."""
    found: dict[str, set[str]] = {kind: set() for kind in sorted(_NAMES)}
    for path in sorted((app / "app/src/main/res/values").glob("*.xml")):
        for element in ET.parse(path).getroot():
            if element.tag in _NAMES:
                found[element.tag].add(element.attrib["name"])
    lines = [f"package {package}", "", "object R {"]
    for kind, names in found.items():
        lines += [f"    object {kind} {{"]
        lines += [f"        const val {name} = {number}" for number, name in enumerate(sorted(names))]
        lines += ["    }"]
    return "\n".join([*lines, "}", ""])


def build_config(package: str, runtime: str) -> str:
    """Return Kotlin for the class BuildConfig that Gradle would make."""
    return (
        f"package {package}\n\nobject BuildConfig {{\n"
        f'    const val VERSION_NAME = "1.0.0"\n    const val RUNTIME_VERSION = "{runtime}"\n}}\n'
    )


def kotlin_files(app: Path) -> list[Path]:
    """Return every Kotlin source of a generated project but Gradle's scripts."""
    return sorted(path for path in app.rglob("*.kt") if ".palmtop" not in path.parts)


def used_resources(text: str) -> set[tuple[str, str]]:
    """Return the resources that a source names."""
    return {(kind, name) for kind, name in re.findall(r"\bR\.(\w+)\.(\w+)", text)}
