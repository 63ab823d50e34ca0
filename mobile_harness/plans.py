"""The named plans: how long each measures, and why.

All use one thread unless told otherwise: it is what is comparable between runtimes, and two spinning threads on a
machine with other work are several times slower than one and as unsteady as that work.

- ``quick``: a look, some three seconds a session. Three sessions are the fewest that show a spread; too few to gate on.
  A phone that ramps its clock for seconds shows it as a doubt here, and wants ``standard``.
- ``standard``: five sessions of at least 12 s, 60 s in all as MLPerf Mobile's single stream asks, and at least 368 runs
  each, so that every session may publish its own p99 (:func:`mobile_harness.stats.needed`), 1840 in all.
- ``gate``: ten sessions, the fewest that find a change of 5 % at 4 % spread two times in three.
- ``sustained``: one session of ten minutes, to see a device throttle.

Between sessions a device cools down to how it stood at first: ``quick`` waits a minute for that, the others up to five
(``sustained`` ten), and they begin below 40 °C of the skin. ``standard`` and ``gate`` then rest as long as a session
measures, where a meter can count, so that energy can be told from what the device draws anyway; it takes three such
pairs, so ``sustained`` does without.
"""

from __future__ import annotations

import dataclasses

from mobile_harness.records import RunPlan
from toolkit.core.errors import SettingsError, unknown_name

WAIT_MAX_S = 3600.0

_QUICK = RunPlan(
    name="quick",
    sessions=3,
    warmup_min_s=0.5,
    warmup_min_runs=10,
    warmup_max_s=2.0,
    min_runs=100,
    min_seconds=1.0,
    max_seconds=10.0,
    threads=1,
    accelerator="cpu",
    seed=0,
    session_deadline_s=300.0,
    cooldown_max_s=60.0,
)
_STANDARD = dataclasses.replace(
    _QUICK,
    name="standard",
    sessions=5,
    warmup_max_s=10.0,
    min_runs=368,
    min_seconds=12.0,
    max_seconds=60.0,
    session_deadline_s=420.0,
    cool_to_c=40.0,
    cooldown_max_s=300.0,
    idle_s=12.0,
)
_GATE = dataclasses.replace(_STANDARD, name="gate", sessions=10, min_seconds=6.0, idle_s=6.0)
_SUSTAINED = dataclasses.replace(
    _STANDARD,
    name="sustained",
    sessions=1,
    min_seconds=600.0,
    max_seconds=660.0,
    session_deadline_s=1200.0,
    cooldown_max_s=600.0,
    idle_s=0.0,
)

PLANS = {plan.name: plan for plan in (_QUICK, _STANDARD, _GATE, _SUSTAINED)}


def load(name: str) -> RunPlan:
    """Return a named plan.

    Raises:
        SettingsError: there is none of that name; the nearest is offered.
    """
    if name not in PLANS:
        raise unknown_name("plan", name, PLANS)
    return PLANS[name]


def _work_s(plan: RunPlan) -> float:
    """Return how long a session may rest, warm up and measure; a bench app with meters of its own rests inside it."""
    return plan.idle_s + plan.warmup_max_s + plan.max_seconds


def check(plan: RunPlan) -> RunPlan:
    """Return a plan that makes sense.

    Raises:
        SettingsError: its numbers contradict each other.
    """
    faults = [
        (plan.sessions < 1, "it needs at least one session"),
        (plan.min_runs < 1, "it needs at least one run"),
        (plan.threads < 0, "threads are not negative"),
        (not 0 <= plan.warmup_min_s <= plan.warmup_max_s, "warmup_min_s lies between 0 and warmup_max_s"),
        (not 0 <= plan.min_seconds <= plan.max_seconds, "min_seconds lies between 0 and max_seconds"),
        (not 0 <= plan.cooldown_max_s <= WAIT_MAX_S, f"cooldown_max_s lies between 0 and {WAIT_MAX_S:.0f}"),
        (not 0 <= plan.idle_s <= WAIT_MAX_S, f"idle_s lies between 0 and {WAIT_MAX_S:.0f}"),
        (plan.cool_to_c is not None and not 10 <= plan.cool_to_c <= 80, "cool_to_c lies between 10 and 80"),
        (plan.session_deadline_s <= _work_s(plan), "the deadline is shorter than the work"),
    ]
    wrong = [words for is_wrong, words in faults if is_wrong]
    if wrong:
        raise SettingsError(f"The plan {plan.name!r} cannot be followed: {'; '.join(wrong)}.")
    return plan
