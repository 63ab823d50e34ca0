from __future__ import annotations

import dataclasses
import re

import pytest

from mobile_harness.doubts import Evidence, doubts_of
from mobile_harness.parity import UNCHECKED
from mobile_harness.records import Doubt, Kind, Parity, Session, Warmup

GOOD = Session(
    index=0,
    load_cold_ns=1,
    load_warm_ns=1,
    first_ns=1,
    warmup=Warmup(runs=100, elapsed_ns=10**9, converged=True),
    latency_ns=(5,) * 100,
    rss_before_load_kb=1,
    rss_after_load_kb=2,
    peak_rss_kb=3,
    parity=Parity(ok=True, max_abs=0, cosine=1, samples=3, tolerance=1),
    live_gaps=0,
    started_utc="",
)


def doubts(
    kind: Kind = "phone", *, sessions: int = 3, spread: float = 0.0, step: float | None = None, **changes: object
) -> str:
    bad = dataclasses.replace(GOOD, **changes)  # type: ignore[arg-type]
    found = doubts_of(
        Evidence(
            kind=kind,
            sessions=(GOOD, GOOD, bad)[:sessions] if sessions > 1 else (bad,),
            sessions_planned=sessions if sessions < 3 else 3,
            runs_needed=100,
            spread=spread,
            steps=(None, None, step),
        )
    )
    assert len({doubt.kind for doubt in found}) == len(found)
    return "\n".join(doubt.message for doubt in found)


def test_a_good_cell_of_a_phone_has_no_doubts() -> None:
    assert doubts() == ""


@pytest.mark.parametrize("kind", ["host", "emulator", "simulator", "virtual"])
def test_what_is_no_phone_always_says_so_first(kind: Kind) -> None:
    assert "phone" in doubts(kind).splitlines()[0]
    assert kind.split()[0] in doubts(kind).splitlines()[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup": Warmup(runs=9, elapsed_ns=1, converged=False)}, "Warm-up did not settle in 1 of 3 sessions"),
        ({"latency_ns": (5,) * 99}, "Few runs: a session has 99, where the plan asks for 100."),
        ({"parity": UNCHECKED}, "outputs were not checked"),
        ({"live_gaps": 1}, "1 record did not come live"),
        ({"live_gaps": 4}, "4 records did not come live"),
        ({"busy_share": 0.4}, "Other processes used 40 % of the processors at worst, in 1 of 3 sessions"),
        ({"steal_share": 0.05}, "The hypervisor took 5 % of the processor time at worst"),
        ({"notes": ("stand_in_runtime",)}, "stand-in"),
        ({"notes": ("load_includes_import",)}, "cold load includes importing"),
        ({"notes": ("peak_not_reset",)}, "peak memory includes importing"),
        ({"notes": ("random_inputs",)}, "random inputs"),
        ({"spread": 0.07}, "Session medians lie 7 % apart"),
        ({"step": 0.9}, "changed level by -10 % during the measurement in 1 of 3 sessions"),
        ({"sessions": 1}, "One session only"),
    ],
)
def test_each_reason_has_its_words(changes: dict[str, object], words: str) -> None:
    assert words in doubts(**changes)  # type: ignore[arg-type]
    assert len(doubts(**changes).splitlines()) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"busy_share": 0.1}, {"steal_share": 0.01}, {"spread": 0.05}, {"notes": ("unheard_of",)}, {"busy_share": None}],
)
def test_what_is_within_bounds_is_no_doubt(changes: dict[str, object]) -> None:
    assert doubts(**changes) == ""  # type: ignore[arg-type]


def test_a_host_s_memory_is_not_an_app_s_and_missing_sessions_are_named() -> None:
    assert "Python" in doubts("host")
    found = doubts_of(
        Evidence(kind="phone", sessions=(GOOD,), sessions_planned=3, runs_needed=1, spread=0.0, steps=(None,))
    )
    assert found == (Doubt(kind="missing_sessions", message="Only 1 of 3 planned sessions were taken."),)


def test_a_kind_keeps_its_words_and_changes_only_whole_numbers() -> None:
    """Reports put doubts of one kind into one sentence, number by number."""
    changes: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"live_gaps": 1}, {"live_gaps": 40}),
        ({"busy_share": 0.2}, {"busy_share": 0.9}),
        ({"steal_share": 0.02}, {"steal_share": 0.3}),
        ({"latency_ns": (5,) * 9}, {"latency_ns": (5,) * 99}),
        ({"spread": 0.08}, {"spread": 12.5}),
        ({"step": 0.5}, {"step": 2.0}),
    ]
    for one, other in changes:
        first, second = (re.sub(r"[+-]?[0-9]+", "#", doubts(**change)) for change in (one, other))  # type: ignore[arg-type]
        assert first.replace("record ", "records ") == second
