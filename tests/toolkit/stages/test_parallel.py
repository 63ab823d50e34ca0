from __future__ import annotations

import threading
import time

import filelock
import pytest

from toolkit.core.errors import ChildFailed, ModelError, OutputError
from toolkit.core.store import Store
from toolkit.stages.parallel import Failure, each


def test_results_and_own_faults_come_in_the_items_order():
    def work(item):
        if item == 1:
            raise ModelError("bad operator.", hint="Look there.")
        if item == 2:
            raise ChildFailed("It crashed.", kind="crashed", log="/tmp/log", hint="Its whole output: /tmp/log")
        return item * 10

    assert each([0, 1, 2, 3], work, 2) == [
        0,
        Failure("bad operator. Look there.", ""),
        Failure("It crashed.", "/tmp/log"),
        30,
    ]


@pytest.mark.parametrize("error", [OutputError("full"), KeyError("a bug"), KeyboardInterrupt()])
def test_other_errors_are_raised_and_the_rest_is_not_begun(error):
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise error
        threading.Event().wait(0.05)
        return item

    with pytest.raises(type(error)):
        each(list(range(50)), work, 1)
    assert len(begun) < 50


def test_a_piece_that_waits_for_another_process_does_not_hold_up_the_end(tmp_path):
    cache = Store(tmp_path)
    folder = tmp_path / "slow-1" / cache.key("slow/1", {})
    folder.parent.mkdir()
    made = []

    def work(item):
        if item == 0:
            return cache.memo("slow/1", {}, str, lambda _: made.append(item) or "made")
        threading.Event().wait(0.3)
        raise KeyboardInterrupt

    with filelock.FileLock(f"{folder}.lock"):
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            each([0, 1], work, 2)
        assert time.monotonic() - started < 10
    assert made == []
    assert each([0], work, 1) == ["made"], "the next stage waits again"


def test_no_more_than_jobs_at_once():
    running, most, lock = 0, 0, threading.Lock()
    gate = threading.Barrier(3)

    def work(item):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(10)
        with lock:
            running -= 1
        return item

    assert each(list(range(6)), work, 3) == list(range(6))
    assert most == 3


def test_nothing_to_do():
    assert each([], len, 2) == []
