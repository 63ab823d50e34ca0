"""What this machine offers palmtop, as values: libraries, programs, places. Loads none of what it looks at."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.tools import Tools, cache_root

PROGRAM_DEADLINE_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A distribution that palmtop depends on: ``version`` None when it is missing, ``extras`` those that want it."""

    name: str
    wanted: str
    version: str | None
    licence: str
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program outside Python that some commands use; ``path`` None when it is missing, and ``fix`` gets it."""

    name: str
    why: str
    path: str | None
    version: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where palmtop keeps things and what room there is, in bytes."""

    cache: Path
    cache_writable: bool
    cache_bytes: int
    disk_free_bytes: int
    memory_free_bytes: int
    settings: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """All of it."""

    palmtop: str
    python: str
    system: str
    cores: int
    libraries: tuple[Library, ...]
    programs: tuple[Program, ...]
    places: Places

    @property
    def missing(self) -> tuple[str, ...]:
        """The required libraries that are not installed."""
        return tuple(one.name for one in self.libraries if not one.extras and one.version is None)


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    why: str
    version_words: tuple[str, ...]
    debian: str
    mac: str


PROGRAMS = (
    _Known(
        "adb", "reaches Android devices", ("version",), "apt-get install adb", "brew install android-platform-tools"
    ),
    _Known("emulator", "Android emulators", ("-version",), "sdkmanager emulator", "sdkmanager emulator"),
    _Known("java", "builds Android apps", ("-version",), "apt-get install openjdk-17-jdk", "brew install openjdk@17"),
    _Known("xcrun", "iOS devices and simulators", ("--version",), "only on macOS", "xcode-select --install"),
)


def survey(tools: Tools, settings: Path | None) -> Environment:
    """Look at this machine; ``settings`` is the ``palmtop.toml`` that holds here."""
    return Environment(
        palmtop=importlib.metadata.version("palmtop"),
        python=f"{platform.python_version()} ({sys.executable})",
        system=platform.platform(),
        cores=os.cpu_count() or 1,
        libraries=libraries("palmtop"),
        programs=tuple(_program(tools, known) for known in PROGRAMS),
        places=_places(settings),
    )


def libraries(distribution: str) -> tuple[Library, ...]:
    """Return what a distribution requires directly, the required first, then what its extras add for users."""
    found: dict[str, Library] = {}
    for line in importlib.metadata.requires(distribution) or ():
        one = _library(line)
        before = found.get(one.name, one)
        found[one.name] = dataclasses.replace(before, extras=tuple(dict.fromkeys((*before.extras, *one.extras))))
    kept = (one for one in found.values() if one.extras != ("dev",) and one.name != distribution)
    return tuple(sorted(kept, key=lambda one: (one.extras, one.name)))


def _library(requirement: str) -> Library:
    """Read one ``Requires-Dist`` line (PEP 508): ``torch<2.14,>=2.13; extra == 'torch'``."""
    words, _, marker = requirement.partition(";")
    name = re.match(r"[A-Za-z0-9._-]+", words.strip())
    assert name is not None
    wanted = re.sub(r"\[[^]]*\]", "", words.strip().removeprefix(name.group())).strip()
    extras = tuple(re.findall(r"extra\s*==\s*['\"]([^'\"]+)", marker))
    try:
        metadata = importlib.metadata.metadata(name.group())
    except importlib.metadata.PackageNotFoundError:
        return Library(name=name.group(), wanted=wanted, version=None, licence="", extras=extras)
    return Library(
        name=name.group(), wanted=wanted, version=str(metadata["Version"]), licence=_licence(metadata), extras=extras
    )


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """Return the licence as its metadata names it: the SPDX expression, else a classifier, else the first line."""
    named = metadata.get_all("License-Expression") or []
    classified = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if line[:7] == "License"]
    written = [line.strip().splitlines()[0][:60] for line in metadata.get_all("License") or [] if line.strip()]
    return next(iter((*named, *classified, *written)), "not stated")


def _program(tools: Tools, known: _Known) -> Program:
    path = shutil.which(known.name)
    fix = known.mac if sys.platform == "darwin" else known.debian
    if path is None and known.name == "adb":
        path = _bundled_adb()
    version = ""
    if path is not None:
        finished = tools.run([path, *known.version_words], deadline_s=PROGRAM_DEADLINE_S)
        told = (finished.stdout.strip() or finished.stderr.strip()).splitlines()
        version = told[0][:80] if finished.code == 0 and told else finished.describe()
    return Program(name=known.name, why=known.why, path=path, version=version, fix=fix)


def _bundled_adb() -> str | None:
    """Return the adb that adbutils brings along on some systems; it is used where PATH has none."""
    try:
        files = importlib.metadata.files("adbutils") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name in ("adb", "adb.exe"))
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


def _places(settings: Path | None) -> Places:
    import psutil

    cache = cache_root()
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    return Places(
        cache=cache,
        cache_writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        cache_bytes=sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()),
        disk_free_bytes=shutil.disk_usage(there).free,
        memory_free_bytes=psutil.virtual_memory().available,
        settings=settings,
    )
