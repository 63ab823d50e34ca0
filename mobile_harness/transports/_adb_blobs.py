"""Content on a device: named by its hash, sent under another name, hashed there, and only then given its name."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mobile_harness.adb.errors import AdbFailed, kind_of_failed_file
from mobile_harness.adb.session import Session
from mobile_harness.transports.base import DeviceFailed
from toolkit.core import store
from toolkit.core.artifacts import Blob

REBUILD: Final = "Build it again with `palmtop quantize`."
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,16}")
_SHA256: Final = re.compile(r"\\?([0-9a-f]{64})\b")
_COMMAND_S: Final = 20.0
_HASH_BYTES_PER_S: Final = 10e6
_ARGUMENTS: Final = 64


def place_of(folder: str, blob: Blob) -> str:
    """Return where a blob belongs."""
    suffix = blob.path.suffix if _SUFFIX.fullmatch(blob.path.suffix) else ""
    return f"{folder}/{blob.sha256[:32]}{suffix}"


def put(session: Session, folder: str, blob: Blob) -> str:
    """Have a file or folder on the device and return its place; what is there already is hashed and not sent again.

    Raises:
        DeviceFailed: ``build_changed``, the content here is not the hash's; ``storage``, the device did not keep it.
        AdbFailed: the device cannot be reached, or refuses.
    """
    if not blob.path.exists():
        raise DeviceFailed(f"There is no {blob.path}.", kind="build_changed", hint=REBUILD)
    place = place_of(folder, blob)
    if blob.path.is_dir():
        _put_folder(session, folder, place, blob)
    else:
        _put_file(session, folder, place, blob)
    return place


def _put_file(session: Session, folder: str, place: str, blob: Blob) -> None:
    if session.look(place) is not None and hashes(session, [place], blob.size_bytes) == [blob.sha256]:
        return
    part = f"{place}.{secrets.token_hex(4)}"
    _make_folders(session, [folder])
    try:
        sent = _sent(session, blob.path, part)
        _check_same(blob, sent)
        _check_kept(session, {part: sent}, blob.size_bytes)
        _rename(session, part, place)
    except (AdbFailed, DeviceFailed):
        _forget(session, part)
        raise


def _put_folder(session: Session, folder: str, place: str, blob: Blob) -> None:
    _check_same(blob, store.sha256_of(blob.path))
    files = {item.relative_to(blob.path).as_posix(): item for item in sorted(blob.path.rglob("*")) if item.is_file()}
    wanted = {name: store.sha256_of(path) for name, path in files.items()}
    if session.look(place) is not None:
        there = hashes(session, [f"{place}/{name}" for name in wanted], blob.size_bytes)
        if there == list(wanted.values()):
            return
    part = f"{place}.{secrets.token_hex(4)}"
    _make_folders(session, sorted({f"{part}/{name}".rpartition("/")[0] for name in files} | {part}))
    try:
        for name, path in files.items():
            _sent(session, path, f"{part}/{name}")
        _check_kept(session, {f"{part}/{name}": sha256 for name, sha256 in wanted.items()}, blob.size_bytes)
        _forget(session, place)
        _rename(session, part, place)
    except (AdbFailed, DeviceFailed):
        _forget(session, part)
        raise


def _sent(session: Session, path: Path, remote: str) -> str:
    try:
        return session.push(path, remote)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DeviceFailed(f"{path} cannot be read: {reason}.", kind="build_changed", hint=REBUILD) from error


def _check_same(blob: Blob, found: str) -> None:
    if found != blob.sha256:
        raise DeviceFailed(
            f"{blob.path} is not the file that build.json describes: its sha256 is {found[:12]}…, "
            f"not {blob.sha256[:12]}….",
            kind="build_changed",
            hint=REBUILD,
        )


def _check_kept(session: Session, wanted: Mapping[str, str], size_bytes: int) -> None:
    if hashes(session, list(wanted), size_bytes) != list(wanted.values()):
        raise DeviceFailed(
            f"{session.name} did not keep what was sent: its sha256 is another.",
            kind="storage",
            hint="Its storage may be full or failing: free space there and try again.",
        )


def hashes(session: Session, paths: list[str], size_bytes: int) -> list[str | None]:
    """Return the sha256 of files of the device, None where it gives none, in their order."""
    found: list[str | None] = []
    for start in range(0, len(paths), _ARGUMENTS):
        some = paths[start : start + _ARGUMENTS]
        result = session.run(["sha256sum", *some], _COMMAND_S + size_bytes / _HASH_BYTES_PER_S)
        rows = [_SHA256.match(line) for line in result.text.splitlines()]
        complete = result.code == 0 and len(rows) == len(some)
        found += [row.group(1) if row else None for row in rows] if complete else [None] * len(some)
    return found


def _make_folders(session: Session, folders: list[str]) -> None:
    for start in range(0, len(folders), _ARGUMENTS):
        _must(session, ["mkdir", "-p", *folders[start : start + _ARGUMENTS]], "make our folders")


def _rename(session: Session, old: str, new: str) -> None:
    _must(session, ["mv", "-f", old, new], "rename what was sent")


def _must(session: Session, argv: list[str], what: str) -> None:
    result = session.run(argv, _COMMAND_S)
    if result.code:
        said = result.said()
        raise AdbFailed(f"{session.name} cannot {what}: {said}", kind=kind_of_failed_file(said))


def _forget(session: Session, path: str) -> None:
    """Remove what was sent in part; where the device does not answer, the sweep of its folder removes it."""
    try:
        session.run(["rm", "-rf", path], _COMMAND_S)
    except AdbFailed:
        return
