"""The cache made smaller: the longest unused first, nothing recent, nothing held, nothing but results."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unwritable import unprivileged

from toolkit.core import pruning, store
from toolkit.core.artifacts import Blob
from toolkit.core.store import Store

DAY_S = 86400.0


def make(root: Path, name: str, size: int, age_days: float, now_s: float) -> Path:
    """Store a result of that many bytes and date its last use back."""

    def produce(folder: Path) -> Blob:
        (folder / "data").write_bytes(bytes(size))
        return store.blob_of(folder / "data")

    folder = Store(root).memo("stage/1", name, Blob, produce).path.parent
    used_s = now_s - age_days * DAY_S
    os.utime(folder / store.VALUE, (used_s, used_s))
    return folder


def test_what_is_unused_the_longest_goes_until_the_rest_fits(tmp_path: Path) -> None:
    now_s = time.time()
    folders = [make(tmp_path, f"m{days}", 10_000, days, now_s) for days in (2, 9, 5)]
    done = pruning.prune(tmp_path, now_s, max_bytes=15_000, max_age_s=None)
    assert [entry.path for entry in done.removed] == [folders[1], folders[2]]
    assert [folder.exists() for folder in folders] == [True, False, False]
    assert done.kept_bytes == store.size_of(folders[0])


def test_reading_a_result_counts_as_use(tmp_path: Path) -> None:
    now_s = time.time()
    make(tmp_path, "model", 10, 40, now_s)
    found = Store(tmp_path).find("stage/1", "model", Blob)
    assert found is not None
    assert pruning.prune(tmp_path, now_s, None, 30 * DAY_S).removed == ()
    assert found.path.exists()


def test_what_another_process_holds_stays(tmp_path: Path) -> None:
    now_s = time.time()
    folder = make(tmp_path, "model", 10, 40, now_s)
    with store.lock_of(folder):
        assert pruning.prune(tmp_path, now_s, 0, None).removed == ()
    assert [entry.path for entry in pruning.prune(tmp_path, now_s, 0, None).removed] == [folder]


def test_what_is_read_between_listing_and_removing_stays(tmp_path: Path) -> None:
    now_s = time.time()
    folder = make(tmp_path, "model", 10, 40, now_s)
    (entry,) = pruning.entries(tmp_path)
    assert Store(tmp_path).find("stage/1", "model", Blob) is not None
    assert not pruning._remove(entry)
    assert folder.exists()


def test_what_cannot_be_removed_is_not_counted(tmp_path: Path) -> None:
    now_s = time.time()
    folder = make(tmp_path, "model", 10, 40, now_s)
    with unprivileged(folder.parent):
        done = pruning.prune(tmp_path, now_s, 0, None)
    assert (done.removed, done.freed_bytes) == ((), 0)
    assert folder.exists()


def test_a_dry_run_removes_nothing_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    now_s = time.time()
    folder = make(tmp_path, "model", 10, 40, now_s)
    (tmp_path / "notes.txt").write_text("mine")
    shown = pruning.prune(tmp_path, now_s, 0, None, dry_run=True)
    assert shown.freed_bytes == store.size_of(folder) > 0
    assert folder.exists()
    pruning.prune(tmp_path, now_s, 0, None)
    assert not folder.exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 60)), max_size=6), st.integers(0, 1500))
def test_the_limit_holds_unless_only_recent_results_are_left(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, float]], limit: int
) -> None:
    root, now_s = tmp_path_factory.mktemp("cache"), time.time()
    for number, (size, age_days) in enumerate(sizes):
        make(root, str(number), size, age_days, now_s)
    done = pruning.prune(root, now_s, limit, None)
    left = pruning.entries(root)
    assert done.kept_bytes == sum(entry.size_bytes for entry in left)
    assert done.kept_bytes <= limit or all(now_s - entry.used_s <= pruning.RECENT_S + 1 for entry in left)
    assert all(entry.used_s <= one.used_s for entry in done.removed for one in left)
