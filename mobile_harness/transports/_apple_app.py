"""The bench app of an Apple device: which one serves a target, what its folder says of it, and the order it gets."""

from __future__ import annotations

import base64
import json
import plistlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.parsers.expat import ExpatError

from mobile_harness.transports.base import DeviceFailed, Job
from toolkit.core import codec
from toolkit.core.errors import SettingsError

BUNDLE_ID: Final = "org.palmtop.bench"
"""The bundle identifier of the usual bench app, where no setting names one."""
VARIABLE: Final = "PALMTOP_IOS_APP"
PLIST_MAX: Final = 1 << 20
_BUNDLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9][A-Za-z0-9-]*)+")
_EXECUTABLE: Final = re.compile(r"[^/\0\n]{1,200}")

Platform = Literal["iPhoneSimulator", "iPhoneOS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchApp:
    """An app that measures builds. Without a ``folder`` it must be on the device already."""

    bundle_id: str
    folder: Path | None = None

    @property
    def folder_name(self) -> str:
        """The app's folder by its name alone, which its processes show."""
        return self.folder.name if self.folder else ""


def variable_of(target: str) -> str:
    """Return the variable that names the app of a target.

    >>> variable_of("coreml")
    'PALMTOP_IOS_APP_COREML'
    """
    return f"{VARIABLE}_{re.sub(r'[^A-Za-z0-9]', '_', target).upper()}"


def app_for(target: str, platform: Platform, environment: Mapping[str, str]) -> BenchApp:
    """Return the app that measures a target's builds on simulators or on iPhones.

    ``PALMTOP_IOS_APP_COREML``, else ``PALMTOP_IOS_APP``, holds .app folders (one for simulators, one for iPhones) or
    the bundle identifier of an installed app; else it is :data:`BUNDLE_ID`.

    Raises:
        SettingsError: a word is neither, no folder is for this platform, or one cannot be read.
    """
    name = variable_of(target) if environment.get(variable_of(target)) else VARIABLE
    given = environment.get(name, "").strip()
    if not given:
        return BenchApp(bundle_id=BUNDLE_ID)
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise SettingsError(f"{name} cannot be read: {error}.", hint=_hint(name)) from error
    platforms: list[str] = []
    for word in words:
        if _BUNDLE.fullmatch(word) and not word.endswith(".app"):
            return BenchApp(bundle_id=word)
        app, made_for = read_bundle(Path(word).expanduser(), name)
        if platform in made_for:
            return app
        platforms += made_for
    raise SettingsError(
        f"{name} names no app for {platform}, only for {', '.join(platforms) or 'unknown platforms'}.",
        hint=f"Build one: xcodebuild -sdk {platform.lower()} …, and add its .app folder to {name}.",
    )


def read_bundle(folder: Path, name: str) -> tuple[BenchApp, tuple[str, ...]]:
    """Return an app's folder as it describes itself, and the platforms that it was built for.

    Raises:
        SettingsError: it is no .app folder.
    """
    path = folder / "Info.plist"
    try:
        with path.open("rb") as file:
            facts = plistlib.loads(file.read(PLIST_MAX))
    except (OSError, ValueError, plistlib.InvalidFileException, ExpatError, RecursionError) as error:
        raise SettingsError(f"{folder}, as {name} says, is no app: {error}", hint=_hint(name)) from error
    bundle_id = facts.get("CFBundleIdentifier") if isinstance(facts, dict) else None
    if not isinstance(bundle_id, str) or not _BUNDLE.fullmatch(bundle_id):
        raise SettingsError(f"{path} names no bundle identifier.", hint=_hint(name))
    made_for = facts.get("CFBundleSupportedPlatforms")
    platforms = tuple(str(item) for item in made_for[:8]) if isinstance(made_for, list) else ()
    return BenchApp(bundle_id=bundle_id, folder=folder), platforms


def _hint(name: str) -> str:
    return f'Write {name}="/path/to/Simulator.app /path/to/Device.app", or the bundle identifier of an installed app.'


def needed(target: str, platform: Platform, environment: Mapping[str, str]) -> BenchApp:
    """Return :func:`app_for`, its errors as those of a device.

    Raises:
        DeviceFailed: ``cannot_launch``.
    """
    try:
        return app_for(target, platform, environment)
    except SettingsError as error:
        raise DeviceFailed(error.message, kind="cannot_launch", hint=error.hint) from error


def order_of(job: Job, out: str) -> str:
    """Return the one argument of a session: paths that are relative count from the app's own folder."""
    order = {
        "run": job.run,
        "target": job.target,
        "model": job.model,
        "model_sha256": job.model_sha256,
        "golden": job.golden,
        "plan": codec.unstructure(job.plan),
        "out": out,
    }
    word = base64.urlsafe_b64encode(json.dumps(order).encode("ascii")).decode("ascii")
    return f"--palmtop={word}"


def result_of(run: str) -> str:
    """Return where an app writes the result file of a run, from its own folder."""
    return f"Documents/palmtop/{run}.jsonl"
