"""The gate before a session, over a device that is nothing but a script of looks and a clock that tests own."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading

import pytest

from mobile_harness import plans
from mobile_harness.measurer.cooling import PAUSES_S, PROBES, Gate, Open, Wait, cool
from mobile_harness.measurer.loop import Cancelled, Watch
from mobile_harness.records.state import Battery, Gauge, PowerSample, Temperature, Thermal, Unavailable, Vitals
from mobile_harness.transports.base import DeviceFailed

PLAN = dataclasses.replace(plans.load("quick"), cooldown_max_s=40.0, cool_to_c=38.0)
BATTERY = Battery(
    frozen=False, powered=(), status=3, health=2, present=True, level_percent=80.0, voltage_mv=4000.0,
    temperature_c=25.0, counter_raw=3_200_000, technology="",
)  # fmt: skip


def at(skin_c: float | None, status: int | None = 0, **parts: object) -> Vitals:
    rows = () if skin_c is None else (Temperature(name="skin", part="skin", celsius=skin_c, status=0),)
    heat = Thermal(status=status, overridden=False, source="current", temperatures=rows, skipped=0)
    return Vitals(at_ns=0, **{"thermal": heat, "battery": BATTERY, **parts})


class Hand:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc(self) -> dt.datetime:
        return dt.datetime(2026, 11, 23, tzinfo=dt.UTC)

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class Scripted:
    """A far side that is asked how it stands and nothing else; it says its last word again and again."""

    def __init__(self, clock: Hand, *looks: Vitals) -> None:
        self.clock = clock
        self.looks = list(looks)
        self.asked: list[float] = []

    def vitals(self, moment: str) -> Vitals:
        assert moment in ("idle", "resting")
        self.asked.append(self.clock.now_ns / 1e9)
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def watch(clock: Hand, told: list[tuple[str, int]] | None = None, seen: list[Vitals] | None = None) -> Watch:
    return Watch(
        clock=clock,
        cancelled=threading.Event(),
        progress=lambda phase, done: None if told is None else told.append((phase, done)),
        seen=lambda vitals: None if seen is None else seen.append(vitals),
    )


# what the gate decides ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "baseline", "reason"),
    [
        (at(31.0), None, ""),
        (at(38.0), None, ""),
        (at(38.1), None, "the skin has 38.1 °C, where the plan begins at 38.0 °C"),
        (at(31.0, 2), None, "the thermal status is moderate"),
        (at(33.0), at(31.0), ""),
        (at(33.1), at(31.0), "the skin has 33.1 °C, 2.1 °C more than before the first session"),
        (at(33.1), at(None), ""),
        (at(33.1), Vitals(at_ns=0, thermal=Unavailable(reason="x")), ""),
        (at(None, None), at(31.0), ""),
        (Vitals(at_ns=0, thermal=Unavailable(reason="it does not tell")), at(31.0), ""),
    ],
)
def test_the_reason_to_wait(now: Vitals, baseline: Vitals | None, reason: str) -> None:
    decided = Gate(PLAN, baseline).seen(now, 0.0)
    assert decided == (Wait(PAUSES_S[0], reason) if reason else Open(""))


def test_pauses_grow_and_never_pass_the_limit() -> None:
    gate, waited, pauses = Gate(PLAN, None), 0.0, []
    while isinstance(decided := gate.seen(at(45.0), waited), Wait):
        pauses.append(decided.seconds)
        waited += decided.seconds
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 10.0]
    assert decided.reason.startswith("the skin has 45.0 °C")


def test_a_plan_without_a_wait_opens_and_says_why_it_should_not_have() -> None:
    assert Gate(dataclasses.replace(PLAN, cooldown_max_s=0.0), None).seen(at(45.0), 0.0).reason != ""


# and the loop that obeys it -------------------------------------------------------------------------------------------


def test_it_waits_until_the_device_is_as_cool_as_at_first() -> None:
    clock, told, seen = Hand(), [], []
    device = Scripted(clock, at(47.0, 3), at(36.0), at(33.5), at(32.0))
    cooled = cool(device, PLAN, at(31.0), watch(clock, told, seen))
    assert (cooled.reached, cooled.reason, cooled.waited_s, cooled.vitals) == (True, "", 7.0, at(32.0))
    assert device.asked == [0.0, 1.0, 3.0, 7.0]
    assert [done for _, done in told] == [0, 1, 3]
    assert told[0][0].startswith("cooling: the thermal status is severe; the skin has 47.0 °C")
    assert len(seen) == 4


def test_it_gives_up_at_the_limit() -> None:
    clock = Hand()
    cooled = cool(Scripted(clock, at(47.0, 3)), PLAN, at(31.0), watch(clock))
    assert (cooled.reached, cooled.waited_s) == (False, 40.0)
    assert "severe" in cooled.reason


def test_a_user_who_stops_is_obeyed_within_a_second() -> None:
    clock, told = Hand(), []
    watching = watch(clock, told)
    watching = dataclasses.replace(watching, progress=lambda phase, done: watching.cancelled.set())
    with pytest.raises(Cancelled):
        cool(Scripted(clock, at(47.0)), PLAN, None, watching)
    assert clock.now_ns < 1e9


def test_a_device_that_is_lost_is_the_matrix_s_affair() -> None:
    class Lost(Scripted):
        def vitals(self, moment: str) -> Vitals:
            raise DeviceFailed("gone", kind="lost")

    with pytest.raises(DeviceFailed, match="gone"):
        cool(Lost(Hand(), at(31.0)), PLAN, None, watch(Hand()))


def sample(second: int, **rails: int) -> PowerSample:
    gauge = Gauge(at_ns=second * 10**9, status=3, level_percent=80.0, voltage_mv=4000.0, counter_raw=3_000_000)
    return PowerSample(gauge=gauge, rails_uws=rails)


def test_it_rests_where_a_meter_counts() -> None:
    clock, told = Hand(), []
    looks = [at(31.0, power=sample(second)) for second in range(PROBES + 3)]
    device = Scripted(clock, *looks)
    cooled = cool(device, dataclasses.replace(PLAN, idle_s=12.0), None, watch(clock, told))
    assert cooled.probes == tuple(sample(second) for second in range(1, PROBES + 1))
    assert cooled.idle == (sample(PROBES + 1), sample(PROBES + 2))
    assert (cooled.vitals, cooled.waited_s) == (looks[-1], 0.0)
    assert device.asked[-1] - device.asked[-2] == pytest.approx(12.0)
    assert told == [("resting", 0)]


@pytest.mark.parametrize(
    "parts",
    [
        {"power": Unavailable(reason="no meter")},
        {"power": sample(0), "battery": dataclasses.replace(BATTERY, status=2, powered=("usb",))},
        {"power": sample(0), "battery": dataclasses.replace(BATTERY, frozen=True)},
        {"power": sample(0), "battery": dataclasses.replace(BATTERY, powered=("usb",))},
        {"power": sample(0), "battery": Unavailable(reason="no battery")},
    ],
)
def test_it_does_not_rest_in_vain(parts: dict[str, object]) -> None:
    clock = Hand()
    cooled = cool(Scripted(clock, at(31.0, **parts)), dataclasses.replace(PLAN, idle_s=12.0), None, watch(clock))
    assert (cooled.idle, clock.now_ns) == ((), 0)


def test_rails_count_on_a_charger_too() -> None:
    clock = Hand()
    charging = dataclasses.replace(BATTERY, status=2, powered=("usb",))
    look = at(31.0, battery=charging, power=sample(0, cpu=5))
    assert len(cool(Scripted(clock, look), dataclasses.replace(PLAN, idle_s=12.0), None, watch(clock)).idle) == 2
