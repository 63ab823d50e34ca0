from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import filelock
import psutil
import pytest

from toolkit.core import process
from toolkit.core.errors import ChildFailed, ModelError, OutputError
from toolkit.core.store import Store
from toolkit.stages import parallel
from toolkit.stages.parallel import Failure, each, free_bytes


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


def test_pieces_that_do_not_fit_into_memory_together_take_turns():
    running, most, lock = 0, [0], threading.Lock()

    def work(item):
        nonlocal running
        with lock:
            running += item
            most.append(running)
        threading.Event().wait(0.02)
        with lock:
            running -= item
        return item

    sizes = [3, 3, 3, 2, 5, 1, 20, 4]
    assert each(sizes, work, 4, needs_bytes=sizes, budget_bytes=6) == sizes
    small = [total for total in most if total < 20]
    assert max(small) <= 6
    assert max(most) == 20, "what fits nowhere is tried alone"


def test_small_pieces_run_beside_each_other_within_the_budget():
    gate = threading.Barrier(2)
    assert each([3, 3], lambda item: gate.wait(10) >= 0, 2, needs_bytes=[3, 3], budget_bytes=6) == [True, True]


def test_a_piece_that_waits_for_memory_does_not_hold_up_the_end():
    def work(item):
        threading.Event().wait(0.05)
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        each([1, 2, 3], work, 3, needs_bytes=[5, 5, 5], budget_bytes=5)
    assert time.monotonic() - begun < 5


def test_the_machine_s_free_memory_is_known():
    assert 0 <= free_bytes() <= psutil.virtual_memory().total


def test_an_interrupt_while_a_thread_is_being_started_leaves_nothing_running(monkeypatch):
    """Its piece is at work by then, but nobody was given its future."""
    begun = threading.Event()

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *args, **options):
            future = super().submit(*args, **options)
            if args[-1] == 0:
                return future
            assert begun.wait(20)
            raise KeyboardInterrupt

    def work(item):
        if item == 0:
            return None  # so that nothing else is left to end
        begun.set()
        return process.run([sys.executable, "-c", "import time; time.sleep(120)"], deadline_s=300)

    monkeypatch.setattr(parallel, "ThreadPoolExecutor", Interrupted)
    before = set(psutil.Process().children())
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        each([0, 1], work, 2)
    assert time.monotonic() - started < 100, "a guard against a hang"
    assert set(psutil.Process().children()) <= before
