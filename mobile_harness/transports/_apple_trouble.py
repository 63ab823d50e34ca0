"""From the apple room's errors to the ones that every transport raises, and what cannot be known of these devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mobile_harness.apple.errors import AppleFailed, Kind
from mobile_harness.records.state import NOT_ASKED, Unavailable, Vitals
from mobile_harness.transports.base import DeviceFailed, Moment, Trouble
from toolkit.core.artifacts import Blob
from toolkit.core.errors import ToolMissing
from toolkit.core.store import sha256_of

REBUILD: Final = "Build it again with `palmtop quantize`."
_LOST: Final[frozenset[Kind]] = frozenset({"not_found", "unreachable", "timeout", "garbage", "unpaired"})


@contextmanager
def as_device_failure() -> Iterator[None]:
    """Turn trouble with Xcode's tools into a :class:`DeviceFailed`."""
    try:
        yield
    except AppleFailed as error:
        kind: Trouble = "storage" if error.kind == "storage" else "lost" if error.kind in _LOST else "cannot_launch"
        raise DeviceFailed(error.message, kind=kind, hint=error.hint) from error
    except ToolMissing as error:
        raise DeviceFailed(error.message, kind="lost", hint=error.hint) from error


def check_content(blob: Blob) -> None:
    """See that what lies here is what ``build.json`` describes.

    Raises:
        DeviceFailed: ``build_changed``.
    """
    if not blob.path.exists():
        raise DeviceFailed(f"There is no {blob.path}.", kind="build_changed", hint=REBUILD)
    check_same(blob, blob.path)


def check_same(blob: Blob, place: Path) -> None:
    """See that a copy is what ``build.json`` describes.

    Raises:
        DeviceFailed: ``build_changed``.
    """
    found = sha256_of(place)
    if found != blob.sha256:
        raise DeviceFailed(
            f"{blob.path} is not the file that build.json describes: its sha256 is {found[:12]}…, "
            f"not {blob.sha256[:12]}….",
            kind="build_changed",
            hint=REBUILD,
        )


def untold(at_ns: int, moment: Moment, why: Unavailable, *, app: Unavailable, power: Unavailable) -> Vitals:
    """Return a look at a device that tells nothing of itself; ``app`` and ``power`` have reasons of their own."""
    return Vitals(
        at_ns=at_ns,
        thermal=why,
        battery=why,
        cpus=why,
        memory=why,
        screen=why,
        software=why,
        app=app if moment in ("loaded", "ended") else NOT_ASKED,
        power=power,
    )
