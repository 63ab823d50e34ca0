"""``pm``: install (a file, a stream, a session of splits), uninstall, and what is there."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android import packages, words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble
from mobile_harness.virtual_device.android.dumpsys import NO_SERVICE
from mobile_harness.virtual_device.android.packages import FIRST_UID, App, AppManifest, Refusal
from mobile_harness.virtual_device.android.system import System
from mobile_harness.virtual_device.filesystem import SHARED
from mobile_harness.virtual_device.shell.plumbing import FileSource, Source

_FLAGS: Final = (
    "r t d g R f l s k p --dont-kill --instant --full --preload --apex --force-non-staged --force-queryable "
    "--bypass-low-target-sdk-block --no-streaming --fastdeploy --incremental --wait --skip-verification"
)
_VALUED: Final = "S i --user --abi --install-location --install-reason --originating-uri --referrer --pkg --inherit"
_SPLIT_NAME: Final = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)
_FIRST_SESSION: Final = 1_000_001


@dataclass(slots=True)
class Session:
    """An installation under way: its parts lie in a folder of the device until it is committed."""

    folder: str
    given: words.Words
    parts: list[str] = field(default_factory=list)


async def pm(call: Call) -> int:
    """The package manager."""
    if not call.system.has_booted():
        await call.stderr.write(b"cmd: Can't find service: package\n")
        return NO_SERVICE
    verbs = {
        "install": _install, "install-create": _create, "install-write": _write, "install-commit": _commit,
        "install-abandon": _abandon, "uninstall": _uninstall, "path": _path, "list": _list, "clear": _clear,
        "grant": _nothing, "revoke": _nothing, "trim-caches": _nothing,
    }  # fmt: skip
    verb = call.args[0] if call.args else ""
    if verb not in verbs:
        raise Trouble(f"Unknown command: {verb}", 255)
    args = call.args[1:]
    try:
        return await verbs[verb](call, args)
    except Refusal as refusal:
        call.system.logs.add("W", "PackageManager", str(refusal), pid=call.pid)
        await call.say(f"Failure [{refusal}]\n")
        return 1


async def _install(call: Call, args: list[str]) -> int:
    given = words.read(args, _FLAGS, _VALUED)
    number = _open_session(call.system, given)
    session: Session = call.system.sessions[number]
    try:
        if given.rest and given.rest[0] != "-":
            for count, path in enumerate(given.rest):
                await _receive(call, session, f"{count}.apk", _opened(call, path), None)
        elif "S" in given.values:
            await _receive(call, session, "base.apk", call.stdin, words.number(given.values["S"], "-S"))
        else:
            raise Trouble("Error: must either specify a package size or an APK file", 1)
        _finish(call.system, session)
    finally:
        _drop(call.system, number)
    await call.say("Success\n")
    return 0


def _opened(call: Call, path: str) -> FileSource:
    try:
        return FileSource(call.view.open_read(path))
    except OSError as error:
        raise Trouble(f"Error: Unable to open file: {path}\nError: Can't open file: {path}", 255) from error


async def _create(call: Call, args: list[str]) -> int:
    number = _open_session(call.system, words.read(args, _FLAGS, _VALUED))
    await call.say(f"Success: created install session [{number}]\n")
    return 0


async def _write(call: Call, args: list[str]) -> int:
    given = words.read(args, "", "S")
    if len(given.rest) < 2 or not _SPLIT_NAME.fullmatch(given.rest[1]):
        raise Trouble("usage: install-write [-S BYTES] SESSION SPLIT_NAME [PATH|-]", 1)
    session = _session(call.system, given.rest[0])
    path = given.rest[2] if len(given.rest) > 2 else "-"
    size = words.number(given.values["S"], "-S") if "S" in given.values else None
    count = await _receive(call, session, given.rest[1], call.stdin if path == "-" else _opened(call, path), size)
    await call.say(f"Success: streamed {count} bytes\n")
    return 0


async def _commit(call: Call, args: list[str]) -> int:
    number = words.number(args[0] if args else "", "session")
    session = _session(call.system, str(number))
    try:
        _finish(call.system, session)
    finally:
        _drop(call.system, number)
    await call.say("Success\n")
    return 0


async def _abandon(call: Call, args: list[str]) -> int:
    number = words.number(args[0] if args else "", "session")
    _session(call.system, str(number))
    _drop(call.system, number)
    await call.say("Success\n")
    return 0


def _open_session(system: System, given: words.Words) -> int:
    number = max(system.sessions, default=_FIRST_SESSION - 1) + 1
    folder = f"/data/app/vmdl{number}.tmp"
    system.files.host_path(folder).mkdir(parents=True, exist_ok=True)
    system.sessions[number] = Session(folder, given)
    return number


def _session(system: System, text: str) -> Session:
    found = system.sessions.get(words.number(text, "session"))
    if not isinstance(found, Session):
        raise Trouble(f"Error: java.lang.SecurityException: Caller has no access to session {text}", 1)
    return found


def _drop(system: System, number: int) -> None:
    session = system.sessions.pop(number)
    system.files.drop(session.folder)


async def _receive(call: Call, session: Session, name: str, source: Source, size: int | None) -> int:
    """Write a part of a session; ``size`` bytes, or all there are."""
    count = 0
    files = call.system.files
    files.host_path(session.folder).mkdir(parents=True, exist_ok=True)
    full = False
    with files.host_path(f"{session.folder}/{name}").open("wb") as out:
        while size is None or count < size:
            data = await source.read()
            if not data:
                break
            data = data if size is None else data[: size - count]
            count += len(data)
            full = full or len(data) > files.free()
            if not full:
                files.charge(len(data))
                out.write(data)
    if isinstance(source, FileSource):
        source.close()
    if full:  # read to the end first, as the real one does: the answer would be lost in a reset
        raise Refusal("INSTALL_FAILED_INSUFFICIENT_STORAGE", "Failed to override installation location")
    if size is not None and count < size:
        raise Refusal("INSTALL_FAILED_INVALID_APK", f"expected {size} bytes, got {count}")
    session.parts.append(name)
    return count


def _finish(system: System, session: Session) -> None:
    """Check a session's parts against the device and what is installed, and put them in place."""
    folder = system.files.host_path(session.folder)
    manifests = {name: packages.read_manifest(folder / name) for name in session.parts}
    base = _base(manifests)
    struck = system.faults.strike(faults.InstallFails, base.package)
    if struck is not None:
        raise Refusal(struck.reason, struck.message)
    old = system.packages.get(base.package)
    _check_device(system, base, session.given)
    if old is not None:
        _check_update(old.manifest, base, session.given)
    _place(system, session, base, old, folder)


def _base(manifests: dict[str, AppManifest]) -> AppManifest:
    bases = [manifest for manifest in manifests.values() if not manifest.split]
    if len(bases) != 1:
        raise Refusal("INSTALL_FAILED_INVALID_APK", f"{len(bases)} base packages in one session")
    for manifest in manifests.values():
        if manifest.package != bases[0].package or manifest.signature != bases[0].signature:
            raise Refusal("INSTALL_FAILED_INVALID_APK", f"split {manifest.split!r} is of another package")
    return bases[0]


def _check_device(system: System, manifest: AppManifest, given: words.Words) -> None:
    if manifest.min_sdk > system.profile.sdk:
        raise Refusal("INSTALL_FAILED_OLDER_SDK", f"Requires newer sdk version #{manifest.min_sdk}")
    if manifest.abis and not set(manifest.abis) & set(system.profile.abis):
        raise Refusal("INSTALL_FAILED_NO_MATCHING_ABIS", "Failed to extract native libraries, res=-113")
    if manifest.test_only and "t" not in given.flags:
        raise Refusal("INSTALL_FAILED_TEST_ONLY", "installPackageLI")


def _check_update(old: AppManifest, new: AppManifest, given: words.Words) -> None:
    if "R" in given.flags:
        raise Refusal(
            "INSTALL_FAILED_ALREADY_EXISTS", f"Attempt to re-install {new.package} without first uninstalling."
        )
    if old.signature != new.signature:
        raise Refusal(
            "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
            f"Existing package {new.package} signatures do not match newer version; ignoring!",
        )
    allowed = "d" in given.flags and old.debuggable
    if new.version_code < old.version_code and not allowed:
        raise Refusal(
            "INSTALL_FAILED_VERSION_DOWNGRADE",
            f"Downgrade detected: Update version code {new.version_code} is older than current {old.version_code}",
        )


def _place(system: System, session: Session, base: AppManifest, old: App | None, staged: Path) -> None:
    folder = f"/data/app/{base.package}"
    if old is not None:
        end_app(system, base.package)
        system.files.drop(old.folder)
    shutil.move(staged, system.files.host_path(folder, follow=False))
    uid = old.uid if old else FIRST_UID + len(system.packages)
    parts = tuple(sorted(session.parts))
    system.packages[base.package] = App(manifest=base, uid=uid, folder=folder, parts=parts)
    for own in (f"/data/data/{base.package}/files", f"{SHARED}/Android/data/{base.package}/files"):
        system.files.host_path(own).mkdir(parents=True, exist_ok=True)
    system.logs.add("I", "PackageManager", f"installed {base.package} version {base.version_code}")


def end_app(system: System, package: str) -> None:
    """End all processes of a package."""
    for process in system.processes.named(package):
        process.end(9)


async def _uninstall(call: Call, args: list[str]) -> int:
    given = words.read(args, "k", "--user --versionCode")
    app = call.system.packages.pop(given.rest[0] if given.rest else "", None)
    if app is None:
        await call.say("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
        return 1
    end_app(call.system, app.package)
    call.system.files.drop(app.folder)
    if "k" not in given.flags:
        call.system.files.drop(app.data)
        call.system.files.drop(f"{SHARED}/Android/data/{app.package}")
    await call.say("Success\n")
    return 0


async def _path(call: Call, args: list[str]) -> int:
    given = words.read(args, "", "--user")
    name = given.rest[0] if given.rest else ""
    if name == "android":
        await call.say("package:/system/framework/framework-res.apk\n")
        return 0
    app = call.system.packages.get(name)
    if app is None:
        return 1
    await call.say("".join(f"package:{app.folder}/{part}\n" for part in app.parts))
    return 0


async def _list(call: Call, args: list[str]) -> int:
    what, *rest = args or [""]
    given = words.read(rest, "f 3 s d e U --show-versioncode", "--user")
    apps = [app for _, app in sorted(call.system.packages.items())]
    if what == "packages":
        for app in apps:
            if given.rest and given.rest[0] not in app.package:
                continue
            path = f"{app.folder}/{app.parts[0]}=" if "f" in given.flags else ""
            version = f" versionCode:{app.manifest.version_code}" if "--show-versioncode" in given.flags else ""
            await call.say(f"package:{path}{app.package}{version}\n")
    elif what == "instrumentation":
        for app in apps:
            if app.manifest.runner:
                await call.say(f"instrumentation:{app.package}/{app.manifest.runner} (target={app.package})\n")
    elif what != "features":
        raise Trouble(f"Error: unknown list type '{what}'", 255)
    return 0


async def _clear(call: Call, args: list[str]) -> int:
    given = words.read(args, "", "--user")
    app = call.system.packages.get(given.rest[0] if given.rest else "")
    if app is None:
        await call.say("Failed\n")
        return 1
    end_app(call.system, app.package)
    call.system.files.drop(app.data)
    call.system.files.host_path(f"{app.data}/files").mkdir(parents=True)
    await call.say("Success\n")
    return 0


async def _nothing(call: Call, args: list[str]) -> int:
    return 0


COMMANDS: Final[dict[str, Command]] = {"pm": pm}
