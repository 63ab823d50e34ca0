"""Several pieces of one stage at once, each in its own child process: one that fails does not take the others along."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from toolkit.core import process
from toolkit.core.errors import ChildFailed, DataError, ModelError, PalmtopError, SettingsError, ToolMissing

A = TypeVar("A")
B = TypeVar("B")

OWN_FAULTS = (ChildFailed, ModelError, DataError, SettingsError, ToolMissing)
"""What fails one piece. Anything else, such as a full disk or a bug, ends the whole stage."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a piece of work has no result, and where its log lies."""

    error: str
    log: str


def each(items: Sequence[A], work: Callable[[A], B], jobs: int) -> list[B | Failure]:
    """Do the work for every item, ``jobs`` at a time, and return results and failures in the items' order.

    An interrupt, and any error that is not the piece's own fault, ends the running child processes and is raised.
    """
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures: list[Future[B | Failure]] = []
        try:  # from the first submission on: an interrupt may come at any time
            futures += (pool.submit(_attempt, work, item) for item in items)
            done, _ = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises, before those still running are waited for
            return [future.result() for future in futures]
        finally:
            _end(pool, futures)


def _attempt(work: Callable[[A], B], item: A) -> B | Failure:
    try:
        return work(item)
    except OWN_FAULTS as error:
        return failure_of(error)


def failure_of(error: PalmtopError) -> Failure:
    """Return what a failed piece leaves behind: its message with the hint, and its log if it was a child's."""
    log = error.log if isinstance(error, ChildFailed) else ""
    return Failure(error=error.message if log else str(error), log=log)


def _end(pool: ThreadPoolExecutor, futures: Sequence[Future[B | Failure]]) -> None:
    """Leave nothing running; where all is done there is nothing to do."""
    pool.shutdown(wait=False, cancel_futures=True)
    left = {future for future in futures if not future.done()}
    with process.ending():
        while left:
            process.end_all()
            left = concurrent.futures.wait(left, timeout=0.1).not_done
