"""The cache and the atomic writes: whole or not at all, whoever crashes, whatever is full, how many there are."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import core_jobs
import filelock
import pytest
from unwritable import unprivileged

from toolkit.core import store
from toolkit.core.artifacts import Blob
from toolkit.core.errors import ChildFailed, OutputError
from toolkit.core.events import Event
from toolkit.core.isolation import isolate
from toolkit.core.store import Store
from toolkit.core.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    blob: Blob
    parent: Blob
    words: tuple[str, ...] = ()


class Maker:
    """Produces a pair and counts how often it had to."""

    def __init__(self, parent: Path) -> None:
        parent.write_bytes(b"parent")
        self.parent = store.blob_of(parent)
        self.times = 0

    def __call__(self, folder: Path) -> Pair:
        self.times += 1
        (folder / "deep").mkdir()
        (folder / "deep" / "made.bin").write_bytes(b"made")
        return Pair(blob=store.blob_of(folder / "deep" / "made.bin"), parent=self.parent, words=(str(folder),))


@pytest.fixture
def cache(tmp_path: Path) -> Store:
    return Store(tmp_path / 'a "quoted" \\ cache')


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "parent.bin")


def test_equal_inputs_are_made_once(cache: Store, make: Maker) -> None:
    first = cache.memo("pair/1", {"a": 1, "b": (2, 3)}, Pair, make)
    again = cache.memo("pair/1", {"b": [2, 3], "a": 1}, Pair, make)
    assert (make.times, first) == (1, again)
    assert first.blob.path.read_bytes() == b"made"
    assert Path(first.words[0]) in first.blob.path.parents, "paths point into the final folder, not the staging one"


def test_other_inputs_or_another_version_of_the_stage_are_made_again(cache: Store, make: Maker) -> None:
    for stage, inputs in (("pair/1", {"a": 1}), ("pair/1", {"a": 2}), ("pair/2", {"a": 1}), ("pair/1", {"a": 1.5})):
        cache.memo(stage, inputs, Pair, make)
    assert make.times == 4


def test_find_makes_nothing(cache: Store, make: Maker) -> None:
    assert cache.find("pair/1", {"a": 1}, Pair) is None
    made = cache.memo("pair/1", {"a": 1}, Pair, make)
    assert cache.find("pair/1", {"a": 1}, Pair) == made


@pytest.mark.parametrize("harm", ["change", "delete", "value", "half", "type", "old"])
def test_what_was_damaged_is_made_again(cache: Store, make: Maker, harm: str) -> None:
    made = cache.memo("pair/1", {}, Pair, make)
    value = made.blob.path.parent.parent / "value.json"
    plain = json.loads(value.read_text())
    if harm == "change":
        made.blob.path.write_bytes(b"mads")
    elif harm == "delete":
        made.blob.path.unlink()
    elif harm == "value":
        value.write_bytes(b"\xff{")
    elif harm == "half":
        value.write_text(value.read_text()[:40])
    elif harm == "type":
        value.write_text("[1, 2]")
    else:
        value.write_text(json.dumps({**plain, "was": "a field"}))
    assert cache.memo("pair/1", {}, Pair, make) == made
    assert make.times == 2
    assert made.blob.path.read_bytes() == b"made"


def test_a_changed_parent_is_not_this_entrys_matter(cache: Store, make: Maker) -> None:
    cache.memo("pair/1", {}, Pair, make)
    make.parent.path.write_bytes(b"other")
    cache.memo("pair/1", {}, Pair, make)
    assert make.times == 1


def test_a_parent_that_is_gone_is_damage(cache: Store, make: Maker, tmp_path: Path) -> None:
    cache.memo("pair/1", {}, Pair, make)
    make.parent = store.blob_of(make.parent.path.rename(tmp_path / "moved.bin"))
    assert cache.find("pair/1", {}, Pair) is None
    assert cache.memo("pair/1", {}, Pair, make).parent.path == tmp_path / "moved.bin"
    assert make.times == 2


def test_a_moved_cache_is_made_again(cache: Store, make: Maker, tmp_path: Path) -> None:
    cache.memo("pair/1", {}, Pair, make)
    moved = Store(cache.root.rename(tmp_path / "moved"))
    assert moved.find("pair/1", {}, Pair) is None
    made = moved.memo("pair/1", {}, Pair, make)
    assert moved.root in made.blob.path.parents
    assert made.blob.path.read_bytes() == b"made"


def test_a_cache_that_cannot_be_locked_is_an_error_of_the_place(cache: Store, make: Maker) -> None:
    folder = cache.root / "pair-1" / cache.key("pair/1", {})
    Path(f"{folder}.lock").mkdir(parents=True)
    with pytest.raises(OutputError, match="Cannot write to") as caught:
        cache.memo("pair/1", {}, Pair, make)
    assert "PALMTOP_CACHE" in caught.value.hint
    assert make.times == 0


def test_waiting_for_another_process_is_told_once(cache: Store, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_TELL_S", 0.0)
    monkeypatch.setattr(store, "_SLICE_S", 0.05)
    heard: list[Event] = []
    folder = cache.root / "pair-1" / cache.key("pair/1", {})
    folder.parent.mkdir(parents=True)
    lock = filelock.FileLock(f"{folder}.lock", thread_local=False)
    lock.acquire()
    timer = threading.Timer(0.4, lock.release)
    timer.start()
    Store(cache.root, heard.append).memo("pair/1", {}, Pair, make)
    timer.join()
    assert [(event.subject, event.phase) for event in heard] == [("pair/1", "noted")]
    assert "waiting for another palmtop" in heard[0].message
    assert make.times == 1


def age(path: Path) -> Path:
    """Make a folder with a file look as if a process had been killed in it the day before yesterday."""
    path.mkdir(parents=True)
    (path / "half").write_text("half")
    os.utime(path, (time.time() - 2 * store.STALE_S,) * 2)
    return path


def test_what_killed_processes_left_in_the_cache_is_swept(cache: Store, make: Maker) -> None:
    here = cache.root / "pair-1"
    own, other = cache.key("pair/1", {}), cache.key("pair/1", {"an": "other"})
    gone = [here / f".{own}.young", age(here / f".{other}.old")]
    kept = [here / f".{other}.young", age(here / f".{'0' * 32}.old"), age(here / "plain")]
    for young in (gone[0], kept[0]):
        young.mkdir()
    with filelock.FileLock(here / f"{'0' * 32}.lock"):
        cache.memo("pair/1", {}, Pair, make)
    assert [path.exists() for path in gone] == [False, False]
    assert [path.exists() for path in kept] == [True, True, True]


def test_what_killed_processes_left_beside_an_output_folder_is_swept(tmp_path: Path) -> None:
    old, foreign = age(tmp_path / ".builds.partial-a"), age(tmp_path / ".other.partial-a")
    young = tmp_path / ".builds.partial-b"
    young.mkdir()
    link = tmp_path / ".builds.partial-c"
    link.symlink_to(foreign)
    with store.staged_folder(tmp_path / "builds"):
        pass
    assert [path.exists() for path in (old, young, foreign, link)] == [False, True, True, True]


def test_a_place_is_tried_before_it_is_needed(tmp_path: Path) -> None:
    store.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="Cannot write to") as caught:
        store.check_writable(tmp_path / "gone", "Do this.")
    assert caught.value.hint == "Do this."


def test_a_foreign_cache_is_an_error_of_the_place(cache: Store, make: Maker) -> None:
    cache.memo("pair/1", {}, Pair, make)
    with unprivileged(cache.root / "pair-1"), pytest.raises(OutputError, match="Permission denied"):
        cache.memo("pair/1", {"an": "other"}, Pair, make)
    assert make.times == 1


def test_nothing_is_kept_of_what_raised(cache: Store, make: Maker) -> None:
    def fail(folder: Path) -> Pair:
        (folder / "half.bin").write_bytes(b"half")
        raise RuntimeError("mid-way")

    with pytest.raises(RuntimeError, match="mid-way"):
        cache.memo("pair/1", {}, Pair, fail)
    left = [path for path in cache.root.rglob("*") if path.suffix != ".lock" and path.is_file()]
    assert left == []
    assert cache.memo("pair/1", {}, Pair, make).blob.path.is_file()


def test_a_kill_in_the_middle_leaves_no_entry_and_no_lock_held(tools: Tools, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    with pytest.raises(ChildFailed):
        isolate(tools, 60, core_jobs.die_in_memo, root)
    assert Store(root).find("slow/1", {"equal": "inputs"}, Blob) is None
    made = core_jobs.slow_memo(root, tmp_path / "log")
    assert made.path.read_bytes() == b"value"


def test_two_processes_at_once_make_it_once(tools: Tools, tmp_path: Path) -> None:
    made: list[Blob] = []
    arguments = (tools, 60, core_jobs.slow_memo, tmp_path / "cache", tmp_path / "log")
    threads = [threading.Thread(target=lambda: made.append(isolate(*arguments))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert len(set(made)) == 1
    assert (tmp_path / "log").read_text() == "made\n"


def test_a_write_is_whole_or_not_at_all_on_a_full_disk(tools: Tools, tmp_path: Path) -> None:
    target = tmp_path / "build.json"
    target.write_text("before")
    said = isolate(tools, 60, core_jobs.write_on_full_disk, target)
    assert "Cannot write to" in said
    assert "Free space" in said
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["build.json"]


def test_a_full_disk_leaves_no_half_of_a_folder(tools: Tools, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert "Cannot write to" in isolate(tools, 60, core_jobs.stage_on_full_disk, place / "builds")
    assert [path.name for path in place.iterdir()] == ["big.bin"]


def test_a_folder_that_holds_something_is_never_overwritten(tmp_path: Path) -> None:
    final = tmp_path / "builds"
    final.mkdir()
    (final / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"), store.staged_folder(final):
        pass
    assert (final / "mine.txt").read_text() == "mine"
    with pytest.raises(OutputError, match="is not empty"), store.staged_folder(final / "mine.txt"):
        pass


def test_a_staged_folder_appears_whole(tmp_path: Path) -> None:
    final = tmp_path / "new" / "builds"
    with store.staged_folder(final) as stage:
        (stage / "a").write_text("a")
        assert not final.exists()
    assert (final / "a").read_text() == "a"
    assert [path.name for path in final.parent.iterdir()] == ["builds"]


def test_a_staged_folder_vanishes_with_the_error_that_ended_it(tmp_path: Path) -> None:
    def fail(stage: Path) -> None:
        (stage / "half").write_text("half")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), store.staged_folder(tmp_path / "builds") as stage:
        fail(stage)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_a_file_is_an_error_of_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write to"):
        store.write_atomic(tmp_path / "file" / "build.json", "x")
    with pytest.raises(OutputError, match="Cannot write to"), store.staged_folder(tmp_path / "file" / "builds"):
        pass


def test_a_folders_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, bytes]) -> str:
        for inner, content in files.items():
            path = tmp_path / name / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return store.sha256_of(tmp_path / name)

    same = folder("one", {"a/b": b"1", "c": b"2"})
    assert folder("two", {"c": b"2", "a/b": b"1"}) == same
    assert folder("three", {"a/b": b"1", "d": b"2"}) != same
    assert folder("four", {"a/b": b"12", "c": b""}) != folder("five", {"a/b": b"1", "c": b"2"})
    assert store.size_of(tmp_path / "one") == 2


def test_copies_keep_their_hash(tmp_path: Path) -> None:
    (tmp_path / "m.mlpackage").mkdir()
    (tmp_path / "m.mlpackage" / "weights").write_bytes(b"w")
    blob = store.blob_of(tmp_path / "m.mlpackage")
    copied = store.copy_blob(blob, tmp_path / "out" / "m.mlpackage")
    assert store.blob_of(copied.path) == copied
    assert copied.sha256 == blob.sha256


def test_what_a_download_takes(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "zeros").write_bytes(bytes(3_000_000))
    (tmp_path / "package" / "noise").write_bytes(os.urandom(2_000))
    assert store.deflated_size_of(tmp_path / "package" / "noise") >= 2_000
    assert 2_000 <= store.deflated_size_of(tmp_path / "package") < 2_000 + 10_000
