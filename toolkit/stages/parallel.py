"""Several pieces of one stage at once, each in its own child process: one that fails does not take the others along.

Pieces that say how much memory they need start only while what runs fits into what the machine has left.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from toolkit.core import process
from toolkit.core.artifacts import Blob
from toolkit.core.errors import ChildFailed, DataError, ModelError, PalmtopError, SettingsError, ToolMissing

A = TypeVar("A")
B = TypeVar("B")

OWN_FAULTS = (ChildFailed, ModelError, DataError, SettingsError, ToolMissing)
"""What fails one piece. Anything else, such as a full disk or a bug, ends the whole stage."""


_LIBRARIES_BYTES = {"convert": 1_600_000_000, "calibrate": 900_000_000, "quantize": 1_300_000_000}
_MODEL_TIMES = {"convert": 8, "calibrate": 6, "quantize": 8}
_WAIT_S = 0.5
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a piece of work has no result, and where its log lies."""

    error: str
    log: str


def each(
    items: Sequence[A],
    work: Callable[[A], B],
    jobs: int,
    needs_bytes: Sequence[int] | None = None,
    budget_bytes: int | None = None,
    shares: Sequence[float] | None = None,
) -> list[B | Failure]:
    """Do the work for every item, ``jobs`` at a time, and return results and failures in the items' order.

    An interrupt, and any error that is not the piece's own fault, ends the running child processes and is raised.

    Args:
        items: what to work on.
        work: does one piece.
        jobs: the most pieces at once.
        needs_bytes: the memory each piece is expected to take; None where that is little. A piece that does not fit
            beside those running waits, and is tried alone if it fits nowhere.
        budget_bytes: what all pieces together may take; None is what the machine has free now.
        shares: about how long each takes beside the others; the longest start first, so that none is left over for the
            end. None starts them as they stand.
    """
    if not items:
        return []
    room = _Room(free_bytes() if budget_bytes is None and needs_bytes is not None else budget_bytes or 0)
    needed = dict(enumerate(needs_bytes or [0] * len(items)))

    def in_turn(place: int) -> B:
        with room.taken(needed[place]):
            return work(items[place])

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures: list[Future[B | Failure]] = []
        starts = sorted(range(len(items)), key=lambda place: -shares[place]) if shares else list(range(len(items)))
        try:  # from the first submission on: an interrupt may come at any time
            futures += (pool.submit(_attempt, in_turn, place) for place in starts)
            done, _ = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises, before those still running are waited for
            found = dict(zip(starts, (future.result() for future in futures), strict=True))
            return [found[place] for place in range(len(items))]
        finally:
            _end(pool, whole=len(futures) == len(items) and all(future.done() for future in futures))


class _Room:
    """Memory that pieces share: taken before they start, given back when they end."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._taken = 0
        self._running = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, needed: int) -> Iterator[None]:
        """Wait until there is room, or nothing else runs; hold it for the block."""
        with self._changed:
            while self._running and needed and self._taken + needed > self._budget:
                process.give_up_if_ending()
                self._changed.wait(_WAIT_S)
            self._taken += needed
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= needed
                self._running -= 1
                self._changed.notify_all()


def needs_of(phase: str, model: Blob) -> int:
    """Return the bytes that a child process is expected to take: its libraries, and some copies of the model."""
    return _LIBRARIES_BYTES[phase] + _MODEL_TIMES[phase] * model.size_bytes


def free_bytes() -> int:
    """Return the memory that is free now, to this machine or to the container it is."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        most = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit, which says `max`
        return free
    return max(0, min(free, most - used))


def _attempt(work: Callable[[A], B], item: A) -> B | Failure:
    try:
        return work(item)
    except OWN_FAULTS as error:
        return failure_of(error)


def failure_of(error: PalmtopError) -> Failure:
    """Return what a failed piece leaves behind: its message with the hint, and its log if it was a child's."""
    log = error.log if isinstance(error, ChildFailed) else ""
    return Failure(error=error.message if log else str(error), log=log)


def _end(pool: ThreadPoolExecutor, *, whole: bool) -> None:
    """Leave nothing running; where the ``whole`` work is done there is nothing to do.

    The threads themselves are waited for: an interrupt while one is being started leaves it at work for a future that
    nobody was given.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    if whole:
        return  # where this is a part of other work, that goes on
    with process.ending():
        waiting = threading.Thread(target=pool.shutdown)
        waiting.start()
        while waiting.is_alive():
            process.end_all()
            waiting.join(0.1)
