"""Installed apps. Only palmtop's own test packages can be installed: a zip with a ``palmtop-virtual.json``.

A real app's code never runs here, so that installing one is refused out loud instead of being played.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toolkit.core import codec
from toolkit.core.errors import SettingsError

MANIFEST: Final = "palmtop-virtual.json"
MANIFEST_MAX: Final = 64 << 10
FIRST_UID: Final = 10_100
_PACKAGE: Final = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)
_CLASS: Final = re.compile(r"[\w.$]+", re.ASCII)


class Refusal(Exception):
    """The package manager says no; ``reason`` is its ``INSTALL_…`` word."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AppManifest:
    """What ``palmtop-virtual.json`` says of a test package.

    ``targets`` are the runtimes that its bench role executes, best first. ``split`` names a split of a package whose
    base has none.
    """

    package: str
    runner: str = ""
    targets: tuple[str, ...] = ()
    version_code: int = 1
    version_name: str = "1.0"
    signature: str = "test"
    abis: tuple[str, ...] = ()
    min_sdk: int = 24
    test_only: bool = False
    debuggable: bool = True
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An installed package."""

    manifest: AppManifest
    uid: int
    folder: str
    parts: tuple[str, ...]

    @property
    def package(self) -> str:
        """Its name."""
        return self.manifest.package

    @property
    def data(self) -> str:
        """Its own folder on the device."""
        return f"/data/data/{self.package}"


def read_manifest(apk: Path) -> AppManifest:
    """Read the manifest of a package.

    Raises:
        Refusal: it is no package at all, a real one, or its manifest cannot be read.
    """
    try:
        with zipfile.ZipFile(apk) as archive:
            names = archive.namelist()
            if MANIFEST not in names:
                raise Refusal("INSTALL_PARSE_FAILED_UNEXPECTED_EXCEPTION", _why_not(names))
            if archive.getinfo(MANIFEST).file_size > MANIFEST_MAX:
                raise Refusal("INSTALL_PARSE_FAILED_MANIFEST_MALFORMED", f"{MANIFEST} is too large")
            plain = json.loads(archive.read(MANIFEST))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Refusal("INSTALL_PARSE_FAILED_NOT_APK", f"Failed to parse {apk.name}") from error
    return _checked(plain)


def _why_not(names: list[str]) -> str:
    kind = "a real app's code does not run on it" if "classes.dex" in names else f"there is no {MANIFEST}"
    return f"not supported by the virtual device: {kind}"


def _checked(plain: Any) -> AppManifest:
    try:
        manifest = codec.structure(plain, AppManifest, what=MANIFEST)
    except SettingsError as error:
        raise Refusal("INSTALL_PARSE_FAILED_MANIFEST_MALFORMED", error.message) from error
    if not _PACKAGE.fullmatch(manifest.package) or (manifest.runner and not _CLASS.fullmatch(manifest.runner)):
        raise Refusal("INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME", repr(manifest.package[:100]))
    return manifest


def write_test_package(path: Path, manifest: AppManifest) -> Path:
    """Write a package that a virtual device can install, and nothing else can."""
    note = "<!-- A test package for palmtop's virtual device; no Android can install it. -->\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AndroidManifest.xml", note)
        archive.writestr(MANIFEST, json.dumps(codec.unstructure(manifest), indent=1))
    return path
