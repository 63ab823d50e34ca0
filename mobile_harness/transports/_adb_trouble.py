"""From the adb room's errors to the ones that every transport raises: translated once, here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mobile_harness.adb.errors import AdbFailed, Kind
from mobile_harness.adb.session import Session
from mobile_harness.transports.base import DeviceFailed, Trouble

T = TypeVar("T")

BACK_S = 30.0
"""How long to wait for a device that was lost in the middle of a verb."""
LOOK_S = 0.5
"""How long one look for a device takes that was looked for in vain before."""
PASSING: frozenset[Kind] = frozenset({"closed", "timeout", "offline", "not_found", "no_server", "garbage"})
"""Kinds of trouble that may be over once the way to the device is found again."""


@contextmanager
def as_device_failure(refused: Trouble) -> Iterator[None]:
    """Turn trouble with adb into a :class:`DeviceFailed`; ``refused`` is its kind where the device said no."""
    try:
        yield
    except AdbFailed as error:
        kinds: dict[Kind, Trouble] = {"storage": "storage", "refused": refused}
        raise DeviceFailed(error.message, kind=kinds.get(error.kind, "lost"), hint=error.hint) from error


def steadily(session: Session, work: Callable[[], T], back_s: float | None = None) -> T:
    """Do what may safely be done twice; after passing trouble the way back is looked for and it is done again, once.

    Where the way back was looked for in vain just before, one look is all: who measures decides how long to go on.

    Args:
        session: the device.
        work: what to do.
        back_s: seconds to wait for a device that was lost (:data:`BACK_S`).

    Raises:
        AdbFailed: it failed again, or the device did not come back.
    """
    try:
        done = work()
    except AdbFailed as error:
        if error.kind not in PASSING:
            raise
    else:
        session.given_up = False
        return done
    wait_s = BACK_S if back_s is None else back_s
    session.recover(min(wait_s, LOOK_S) if session.given_up else wait_s)
    return work()
