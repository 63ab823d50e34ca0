"""How the cache is kept small: what was not used for long goes first, and nothing that may be in use goes at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.store import STALE_S, VALUE, lock_of, size_of

RECENT_S = STALE_S
"""An entry used within this many seconds stays: a running command may read its files, which no lock tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One cached result: what made it, its size, and when it was last made or read, in seconds since the epoch."""

    stage: str
    path: Path
    size_bytes: int
    used_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a pruning removed, or would remove, and what is left."""

    removed: tuple[Entry, ...]
    kept_bytes: int
    freed_bytes: int
    dry_run: bool


def entries(root: Path) -> tuple[Entry, ...]:
    """Return every result in a cache, the one that was not used for longest first."""
    found = (_entry(value) for value in root.glob(f"*/*/{VALUE}"))
    return tuple(sorted((entry for entry in found if entry), key=lambda entry: (entry.used_s, entry.path)))


def _entry(value: Path) -> Entry | None:
    folder = value.parent
    if folder.name.startswith("."):
        return None  # still being made
    with suppress(OSError):  # another process removed it meanwhile
        return Entry(stage=folder.parent.name, path=folder, size_bytes=size_of(folder), used_s=value.stat().st_mtime)
    return None


def prune(root: Path, now_s: float, max_bytes: int | None, max_age_s: float | None, dry_run: bool = False) -> Pruned:
    """Remove results unused for ``max_age_s``, and then the longest unused until at most ``max_bytes`` are left.

    Results used within :data:`RECENT_S`, and those that another process holds, stay whatever the limits say.

    Args:
        root: the cache's folder.
        now_s: the time, in seconds since the epoch.
        max_bytes: what may stay; None sets no limit.
        max_age_s: how long a result may lie unused; None sets no limit.
        dry_run: only say what would be removed.
    """
    kept = entries(root)
    total = sum(entry.size_bytes for entry in kept)
    removed = tuple(entry for entry in _chosen(kept, now_s, max_bytes, max_age_s) if dry_run or _remove(entry))
    freed = sum(entry.size_bytes for entry in removed)
    return Pruned(removed=removed, kept_bytes=total - freed, freed_bytes=freed, dry_run=dry_run)


def _chosen(kept: Iterable[Entry], now_s: float, max_bytes: int | None, max_age_s: float | None) -> Iterator[Entry]:
    kept = tuple(kept)
    total = sum(entry.size_bytes for entry in kept)
    for entry in kept:
        age_s = now_s - entry.used_s
        too_old = max_age_s is not None and age_s > max_age_s
        too_much = max_bytes is not None and total > max_bytes
        if age_s > RECENT_S and (too_old or too_much):
            total -= entry.size_bytes
            yield entry


def _remove(entry: Entry) -> bool:
    lock = lock_of(entry.path)
    try:
        lock.acquire(timeout=0)
    except OSError:  # it is held (a Timeout is one too): somebody makes or reads it
        return False
    try:
        if (entry.path / VALUE).stat().st_mtime > entry.used_s:
            return False  # read since it was listed
        # Under the name of a result that is still being made: what an interruption leaves is swept like one.
        gone = entry.path.with_name(f".{entry.path.name}.pruned")
        entry.path.rename(gone)
        shutil.rmtree(gone)
    except OSError:  # gone meanwhile, or not ours to remove: then it stays, and is not counted
        return False
    finally:
        lock.release()
    return True
