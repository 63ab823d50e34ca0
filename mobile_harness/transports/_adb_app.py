"""The bench app on a device: which one serves a target, whether it is there, and installing it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Session
from mobile_harness.adb.shell import Result
from mobile_harness.transports import _adb_blobs
from mobile_harness.transports.base import DeviceFailed
from mobile_harness.vitals.outcomes import Install, read_install, read_uninstall
from toolkit.core import store
from toolkit.core.clock import Clock
from toolkit.core.errors import SettingsError

PACKAGE: Final = "org.palmtop.bench"
"""The package of an app for all targets; that of an app for one target ends with a dot and its name."""
RUNNER: Final = "org.palmtop.bench.Runner"
COMMAND_S: Final = 30.0
INSTALL_S: Final = 300.0
_NEWEST_READINGS: Final = "android.permission.ACCESS_FINE_POWER_MONITORS"
"""Without it Android keeps the power monitors' readings from an app for 20 to 30 s."""
_PAUSE_S: Final = 2.0
_COMPONENT: Final = re.compile(r"([A-Za-z]\w*(?:\.[A-Za-z]\w*)+)/([\w.$]+)", re.ASCII)
_SESSION: Final = re.compile(r"\[(\d{1,12})\]")
_INSTRUMENTATION: Final = re.compile(r"instrumentation:(\S+)/(\S+) ")

Storage = Literal["internal", "external"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchApp:
    """An app that measures the builds of a target; it may be installed from ``files``, its base and splits."""

    package: str
    runner: str
    files: tuple[Path, ...] = ()

    @property
    def component(self) -> str:
        """What ``am instrument`` starts."""
        return f"{self.package}/{self.runner}"


def variable_of(target: str) -> str:
    """Return the variable that names the app of a target.

    >>> variable_of("onnx")
    'PALMTOP_APP_ONNX'
    """
    return "PALMTOP_APP_" + re.sub(r"\W", "_", target).upper()


def apps_for(target: str, environment: Mapping[str, str]) -> tuple[BenchApp, ...]:
    """Return the apps that may serve a target, the first choice first.

    ``PALMTOP_APP_ONNX="package/runner [base.apk [split.apk…]]"`` names the one; else it is one of the usual.

    >>> [app.component for app in apps_for("onnx", {})]
    ['org.palmtop.bench.onnx/org.palmtop.bench.Runner', 'org.palmtop.bench/org.palmtop.bench.Runner']

    Raises:
        SettingsError: the variable names no app, or files that are not there.
    """
    name = variable_of(target)
    given = environment.get(name, "").strip()
    if not given:
        packages = (f"{PACKAGE}.{re.sub(r'[^A-Za-z0-9_]', '_', target)}", PACKAGE)
        return tuple(BenchApp(package=package, runner=RUNNER) for package in packages)
    hint = f'Write {name}="package/runner /path/to/app.apk".'
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise SettingsError(f"{name} cannot be read: {error}.", hint=hint) from error
    found = _COMPONENT.fullmatch(words[0])
    files = tuple(Path(word).expanduser() for word in words[1:])
    missing = [path for path in files if not path.is_file()]
    if found is None or missing:
        what = f"There is no {missing[0]}" if missing else f"{words[0]!r} is no package/runner"
        raise SettingsError(f"{what}, as {name} says.", hint=hint)
    return (BenchApp(package=found.group(1), runner=found.group(2), files=files),)


def ensure(session: Session, apps: Sequence[BenchApp], clock: Clock) -> tuple[BenchApp, Storage]:
    """Have one of the apps on the device, as its file is, and return it and where its results can be fetched from.

    Raises:
        DeviceFailed: ``cannot_launch``, none is there and none can be installed; ``storage``.
        AdbFailed: the device cannot be reached.
    """
    app = _installed_one(session, apps, clock)
    _check_runner(session, app)
    debuggable = session.run(["run-as", app.package, "true"], COMMAND_S).code == 0
    return app, "internal" if debuggable else "external"


def _installed_one(session: Session, apps: Sequence[BenchApp], clock: Clock) -> BenchApp:
    for app in apps:
        installed = _installed_parts(session, app)
        if app.files and not _is_current(session, app, installed):
            install(session, app, clock)
            return app
        if installed:
            return app
    names = " nor ".join(app.package for app in apps)
    raise DeviceFailed(
        f"No bench app is installed on {session.name}: neither {names}."
        if len(apps) > 1
        else f"The bench app {names} is not installed on {session.name}.",
        kind="cannot_launch",
        hint=f"Install it, or name one with a file to install it from in {variable_of('TARGET')}.",
    )


def _installed_parts(session: Session, app: BenchApp) -> list[str]:
    said = session.run(["pm", "path", app.package], COMMAND_S)
    paths = [line.partition(":")[2].strip() for line in said.text.splitlines() if line.startswith("package:")]
    return paths if said.code == 0 else []


def _is_current(session: Session, app: BenchApp, parts: list[str]) -> bool:
    """Say whether what is installed is what the files are: a stale app would measure with a stale runtime."""
    if len(parts) != len(app.files):
        return False
    there = _adb_blobs.hashes(session, parts, sum(path.stat().st_size for path in app.files))
    return {*there} == {store.sha256_of(path) for path in app.files}


def _check_runner(session: Session, app: BenchApp) -> None:
    said = session.run(["pm", "list", "instrumentation", app.package], COMMAND_S)
    runners = [found.group(2) for found in _INSTRUMENTATION.finditer(said.text) if found.group(1) == app.package]
    if said.code == 0 and runners and not any(_same_class(app, runner) for runner in runners):
        raise DeviceFailed(
            f"The app {app.package} on {session.name} has no instrumentation {app.runner!r}, but {runners[0][:100]!r}.",
            kind="cannot_launch",
            hint="It is another app, or an old one: install the current one.",
        )


def _same_class(app: BenchApp, runner: str) -> bool:
    full = [f"{app.package}{name}" if name.startswith(".") else name for name in (app.runner, runner)]
    return full[0] == full[1]


def install(session: Session, app: BenchApp, clock: Clock) -> None:
    """Install the app's files; what kind of failure it is decides what is done before the one other try.

    Raises:
        DeviceFailed: ``storage`` or ``cannot_launch``, with the device's word and what helps.
        AdbFailed: the device cannot be reached.
    """
    outcome = _install_once(session, app)
    if outcome.kind == "reinstall":
        uninstall(session, app.package)
        outcome = _install_once(session, app)
    elif outcome.kind == "transient":
        clock.sleep(_PAUSE_S)
        outcome = _install_once(session, app)
    elif outcome.kind == "space":
        session.run(["pm", "trim-caches", "4G"], COMMAND_S)
        outcome = _install_once(session, app)
    if outcome.kind != "installed":
        raise DeviceFailed(
            f"{app.package} cannot be installed on {session.name}: {outcome.message or outcome.reason or 'no answer'}.",
            kind="storage" if outcome.kind == "space" else "cannot_launch",
            hint=outcome.action,
        )
    # for apps that ask for it, on Android 16 and later; all others refuse, and their monitors stay coarse
    session.run(["pm", "grant", app.package, _NEWEST_READINGS], COMMAND_S)


def uninstall(session: Session, package: str) -> None:
    """Remove an app, for the one user at least.

    Raises:
        DeviceFailed: ``cannot_launch``, the device refuses.
    """
    said = session.run(["pm", "uninstall", package], INSTALL_S)
    outcome = read_uninstall(said.text, said.stderr.decode("utf-8", "replace"))
    if outcome.kind == "for_user":
        said = session.run(["pm", "uninstall", "-k", "--user", "0", package], INSTALL_S)
        outcome = read_uninstall(said.text, said.stderr.decode("utf-8", "replace"))
    if outcome.kind not in ("removed", "absent"):
        raise DeviceFailed(
            f"The old {package} on {session.name} cannot be uninstalled: {outcome.reason}.",
            kind="cannot_launch",
            hint="Uninstall it by hand.",
        )


def _install_once(session: Session, app: BenchApp) -> Install:
    """Install by a session of the package manager, each file streamed into it: nothing lies on the device twice."""
    total = sum(path.stat().st_size for path in app.files)
    created = session.run(["pm", "install-create", "-r", "-t", "-g", "-S", str(total)], COMMAND_S)
    number = _SESSION.search(created.text)
    if created.code or number is None:
        return _outcome(created)
    try:
        for index, path in enumerate(app.files):
            written = _write(session, number.group(1), f"{index}.apk", path)
            if "Success" not in written.text:
                _abandon(session, number.group(1))
                return _outcome(written)
        return _outcome(session.run(["pm", "install-commit", number.group(1)], INSTALL_S))
    except AdbFailed:
        _abandon(session, number.group(1))
        raise


def _write(session: Session, number: str, name: str, path: Path) -> Result:
    size = path.stat().st_size
    with ExitStack() as opened:
        source = opened.enter_context(path.open("rb"))
        argv = ["pm", "install-write", "-S", str(size), number, name, "-"]
        return session.run(argv, INSTALL_S, stdin=source)


def _abandon(session: Session, number: str) -> None:
    """Give a session up; one that cannot be reached is dropped by the package manager itself."""
    try:
        session.run(["pm", "install-abandon", number], COMMAND_S)
    except AdbFailed:
        return


def _outcome(result: Result) -> Install:
    return read_install(result.text, result.stderr.decode("utf-8", "replace"))
