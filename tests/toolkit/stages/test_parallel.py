from __future__ import annotations

import threading

import pytest

from toolkit.core.errors import ChildFailed, ModelError, OutputError
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
