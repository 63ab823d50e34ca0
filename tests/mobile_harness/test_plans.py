from __future__ import annotations

import dataclasses

import pytest

from mobile_harness import plans, stats
from toolkit.core.errors import SettingsError


@pytest.mark.parametrize("name", plans.PLANS)
def test_every_named_plan_can_be_followed(name: str) -> None:
    assert plans.check(plans.load(name)).name == name


def test_the_plans_measure_what_their_names_promise() -> None:
    quick, standard, gate = plans.load("quick"), plans.load("standard"), plans.load("gate")
    assert (quick.sessions, quick.min_runs, quick.min_seconds, quick.max_seconds, quick.warmup_max_s) == (
        3,
        100,
        1,
        10,
        2,
    )
    assert standard.sessions * standard.min_seconds >= 60
    assert standard.sessions * standard.min_runs >= 1024
    assert standard.min_runs >= stats.needed(0.99)
    assert (gate.sessions, gate.sessions * gate.min_seconds) == (10, 60)
    assert plans.load("sustained").min_seconds == 600
    assert {plan.threads for plan in plans.PLANS.values()} == {1}


def test_an_unknown_plan_offers_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'standard'"):
        plans.load("standart")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sessions": 0}, "one session"),
        ({"min_runs": 0}, "one run"),
        ({"threads": -1}, "threads"),
        ({"warmup_min_s": 9}, "warmup_min_s"),
        ({"max_seconds": 0.5}, "min_seconds"),
        ({"session_deadline_s": 12}, "deadline"),
    ],
)
def test_a_plan_that_contradicts_itself_is_an_error(changes: dict[str, float], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        plans.check(dataclasses.replace(plans.load("quick"), **changes))  # type: ignore[arg-type]
