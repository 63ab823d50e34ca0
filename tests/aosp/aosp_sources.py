"""AOSP's own device tests and Debian's adb, taken from the packages of this machine's system when they are needed.

Nothing of them is kept in the repository. apt fetches and checks them, with lists and a cache of its own, so that the
system's state is not touched and no rights are needed. What was fetched stays in ``PALMTOP_AOSP_CACHE``, else in the
user's cache folder.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

from toolkit.core import process

SOURCE = "android-platform-tools"
TESTS = "system/core/adb/test_device.py"
PACKAGE = "development/python-packages/adb/"
_INSTALLED = Path("/usr/lib/android-sdk/platform-tools/adb")
_PLAIN = re.compile(r"[\w.+:/-]+", re.ASCII)
_BESIDE = re.compile(r"(adb|android-lib[a-z]+|libusb-1\.0-0)")


class NotHere(Exception):
    """This machine cannot fetch them; the reason is in the message."""


@dataclass(frozen=True)
class Sources:
    """The test file, the folder of the Python package it imports, and Debian's adb with the libraries it needs."""

    tests: Path
    packages: Path
    adb: Path
    libraries: tuple[Path, ...]


def cache() -> Path:
    """Return the folder that is kept from run to run."""
    given = os.environ.get("PALMTOP_AOSP_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("palmtop-tests") / "aosp"


def fetch() -> Sources:
    """Return the sources, fetched at most once.

    Raises:
        NotHere: there is no apt, it has no such package, or its mirror cannot be reached.
    """
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not (folder / "complete").exists():
            _fetch(folder)
            (folder / "complete").touch()
    (tests,) = folder.glob(f"source/*/{TESTS}")
    installed = _INSTALLED.exists()
    root = folder / "root"
    return Sources(
        tests=tests,
        packages=next(folder.glob(f"source/*/{PACKAGE}")).parent,
        adb=_INSTALLED if installed else root / _INSTALLED.relative_to("/"),
        libraries=() if installed else tuple(sorted({path.parent for path in root.glob("usr/lib/**/*.so*")})),
    )


def _fetch(folder: Path) -> None:
    missing = [name for name in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise NotHere(f"there is no {missing[0]} here: AOSP's tests come from Debian's source package")
    apt = _Apt(folder)
    apt.run("apt-get", "-q", "update")
    apt.run("apt-get", "-q", "source", "--download-only", SOURCE)
    archives = sorted(folder.glob(f"{SOURCE}_*.orig.tar.*"))
    if len(archives) != 1:
        raise NotHere(f"the source package of {SOURCE} holds {len(archives)} archives")
    _unpack(archives[0], folder / "source")
    if not _INSTALLED.exists():
        apt.run("apt-get", "-q", "download", *_packages(apt))
        for package in sorted(folder.glob("*.deb")):
            apt.run("dpkg-deb", "-x", str(package), "root")
    for used in (*folder.glob(f"{SOURCE}_*"), *folder.glob("*.deb")):
        used.unlink()
    for used in (folder / "lists", folder / "archives"):
        shutil.rmtree(used)


def _packages(apt: _Apt) -> list[str]:
    words = "--recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances adb"
    found = apt.run("apt-cache", "depends", *words.split()).splitlines()
    return sorted({line for line in found if _BESIDE.fullmatch(line)})


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in opened:
            inner = member.name.partition("/")[2]
            if member.isfile() and (inner == TESTS or inner.startswith(PACKAGE)):
                opened.extract(member, target, filter="data")


class _Apt:
    """apt with lists, a cache and sources of its own, made of the system's sources."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
        rows = self._checked(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines()
        rows = sorted({row for row in rows if _PLAIN.fullmatch(row.replace(" ", "")) and row.count(" ") == 2})
        (folder / "sources.list").write_text("".join(f"{kind} {row}\n" for row in rows for kind in ("deb", "deb-src")))

    def run(self, *words: str) -> str:
        """Run a program of apt's and return what it printed."""
        options = {
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self._folder / "lists",
            "Dir::Cache": self._folder,
            "APT::Sandbox::User": "",
        }
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        program, *rest = words
        return self._checked([program, *(given if program.startswith("apt") else []), *rest])

    def _checked(self, argv: list[str]) -> str:
        done = process.run(argv, deadline_s=600, cwd=self._folder, env={"LC_ALL": "C"})
        if done.code != 0:
            raise NotHere(f"{done.describe()}: {done.tail(2)}")
        return done.stdout
