"""When a failure is repeated and when a device is set aside."""

from __future__ import annotations

import pytest

from mobile_harness.matrix import retry
from mobile_harness.matrix.retry import QUARANTINED_AFTER, Health, after, condemned, explained, gone, on_probation
from mobile_harness.records import Failure

LOST = Failure(kind="lost", message="adb:x is offline.", hint="Reconnect the cable.")
FULL = Failure(kind="storage", message="No space left on adb:x.", hint="Free space on the device.")
CRASH = Failure(kind="app_crash", message="It crashed.")


def failed(health: Health, *failures: Failure | None) -> Health:
    for failure in failures:
        health = after(health, failure)
    return health


@pytest.mark.parametrize("kind", ["load_failed", "parity", "refused", "storage", "build_changed", "out_of_memory", "x"])
def test_what_would_only_fail_again_is_not_repeated(kind: str) -> None:
    assert retry.rule_of(kind).pauses_s == ()


@pytest.mark.parametrize("kind", ["lost", "app_crash", "hung", "timed_out", "result_corrupt", "protocol"])
def test_what_may_pass_is_repeated_after_a_pause(kind: str) -> None:
    assert all(pause_s > 0 for pause_s in retry.rule_of(kind).pauses_s)
    assert retry.rule_of(kind).find_first == (kind == "lost")


def test_failures_of_the_device_in_a_row_make_a_suspect() -> None:
    assert failed(Health(), *[LOST] * (QUARANTINED_AFTER - 1)).state == "well"
    assert failed(Health(), *[LOST] * QUARANTINED_AFTER).state == "suspect"
    assert failed(Health(), LOST, FULL, LOST).state == "suspect"


def test_a_session_that_was_measured_clears_the_device_and_a_runner_s_crash_says_nothing() -> None:
    assert failed(Health(), LOST, LOST, None, LOST, LOST).state == "well"
    assert failed(Health(), LOST, LOST, CRASH, LOST).state == "suspect"
    assert failed(Health(), *[CRASH] * 20).state == "well"


def test_a_suspect_has_one_chance_and_a_second_failure_ends_it() -> None:
    tried = on_probation(failed(Health(), *[LOST] * QUARANTINED_AFTER))
    assert tried.state == "well"
    assert failed(tried, LOST).state == "quarantined"
    recovered = failed(tried, None)
    assert failed(recovered, LOST).state == "well"
    assert failed(recovered, *[LOST] * QUARANTINED_AFTER).state == "quarantined"


def test_a_device_that_is_not_there_is_suspect_at_once_and_given_up_when_looked_for_in_vain() -> None:
    missed = gone(failed(Health(), LOST))
    assert missed.state == "suspect"
    assert condemned(missed).state == "quarantined"


def test_the_explanation_says_how_often_why_and_what_helps() -> None:
    missed = explained(condemned(failed(Health(), LOST)), "adb:x", "Resume.")
    assert (missed.kind, missed.hint) == ("quarantined", "Reconnect the cable. Resume.")
    assert missed.message == "adb:x was set aside: it failed and could not be reached again. Last: adb:x is offline."
    full = explained(failed(Health(chances=0), FULL, FULL, FULL), "adb:x", "Resume.")
    assert full.message == "adb:x was set aside: it failed 3 times in a row. Last: No space left on adb:x."
