from __future__ import annotations

import math

import pytest

from mobile_harness.records.state import Energy, Gauge, PowerPair, PowerSample, Unavailable
from mobile_harness.vitals.battery import CHARGING, DISCHARGING, Calibration, Scale
from mobile_harness.vitals.energy import energy_per_inference

NOTHING = Calibration(counter=Unavailable(reason="no counter"), current=Unavailable(reason="no current"))
MICRO = Scale(factor=1.0, unit="micro", step=1.0, reason="")


def stretch(power_w, seconds=60, *, rails=True, status=DISCHARGING, step_uah=1, factor=1.0):
    """A device that draws a constant power at 4 V: what its meters would say, each second."""
    ua = power_w / 4 * 1e6
    return tuple(
        PowerSample(
            gauge=Gauge(
                at_ns=i * 10**9,
                status=status,
                level_percent=50.0,
                voltage_mv=4000.0,
                counter_raw=int((3e6 - step_uah * math.floor(ua * i / 3600 / step_uah)) / factor),
                current_raw=round((-ua + (1 if i % 2 else -1)) / factor),
            ),
            rails_uws={"cpu": int(i * power_w * 0.25e6), "rest": int(i * power_w * 0.75e6)} if rails else {},
        )
        for i in range(seconds + 1)
    )


def pairs(count=3, **how):
    return [PowerPair(idle=stretch(1.0, **how), load=stretch(3.0, **how), inferences=1000) for _ in range(count)]


# Two watts above idle for a minute are 120 J, 120 mJ for each of a thousand inferences.


def test_power_monitors_come_first_and_hold_while_plugged_in() -> None:
    found = energy_per_inference(pairs(status=CHARGING), NOTHING)
    assert found == Energy(
        method="power_monitors", per_inference_uj=120_000.0, idle_uw=1_000_000.0, pairs=3, spread=0.0,
        resolution_uj=0.002, declined=(),
    )  # fmt: skip


def test_the_charge_counter_is_next() -> None:
    found = energy_per_inference(pairs(rails=False), Calibration(counter=MICRO, current=MICRO))
    assert found.method == "charge_counter"
    assert found.per_inference_uj == pytest.approx(120_000, rel=0.001)
    assert found.resolution_uj == pytest.approx(2 * 14_400 / 1000)
    assert found.declined == ("power_monitors: the device offers no power monitors",)


def test_a_coarse_counter_is_declined_for_the_current() -> None:
    coarse = Scale(factor=1.0, unit="micro", step=1000.0, reason="")
    found = energy_per_inference(pairs(rails=False, step_uah=1000), Calibration(counter=coarse, current=MICRO))
    assert found.method == "current_voltage"
    assert found.per_inference_uj == pytest.approx(120_000, rel=0.001)
    assert found.declined[1] == "charge_counter: the charge counter made 12 steps under load, 20 are needed"


def test_milli_units_are_scaled() -> None:
    milli = Scale(factor=1e3, unit="milli", step=1000.0, reason="")
    how = {"rails": False, "step_uah": 1000, "factor": 1e3, "seconds": 3600}
    found = energy_per_inference(pairs(**how), Calibration(counter=milli, current=milli))
    assert found.method == "charge_counter"
    assert found.per_inference_uj == pytest.approx(7_200_000, rel=0.02)


def test_nothing_serves() -> None:
    found = energy_per_inference(pairs(rails=False), NOTHING)
    assert found == Unavailable(
        reason="power_monitors: the device offers no power monitors; charge_counter: no counter; "
        "current_voltage: no current"
    )


def test_on_the_charger_only_power_monitors_count() -> None:
    found = energy_per_inference(pairs(rails=False, status=CHARGING), Calibration(counter=MICRO, current=MICRO))
    assert isinstance(found, Unavailable)
    assert "not on battery" in found.reason


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (pairs(2), "needs 3 pairs"),
        ([PowerPair(idle=stretch(1.0), load=stretch(1.0), inferences=10)] * 3, "no more above idle"),
        ([PowerPair(idle=stretch(1.0), load=stretch(1.0)[:1], inferences=10)] * 3, "fewer than two samples"),
        ([PowerPair(idle=stretch(1.0), load=stretch(1.0)[::-1], inferences=10)] * 3, "clock does not go forward"),
        ([PowerPair(idle=stretch(1.0), load=stretch(1.0), inferences=0)] * 3, "no inferences"),
    ],
)
def test_what_cannot_be_measured(broken, words) -> None:
    found = energy_per_inference(broken, NOTHING)
    assert isinstance(found, Unavailable)
    assert words in found.reason


def test_rails_that_fail_go_down_the_ladder() -> None:
    def spoiled(uws):
        load = stretch(3.0)
        last = PowerSample(gauge=load[-1].gauge, rails_uws=uws)
        return [PowerPair(idle=stretch(1.0), load=(*load[:-1], last), inferences=1000)] * 3

    for uws, words in (
        ({"cpu": -1, "rest": 5}, "no reading"),
        ({"cpu": 5}, "changed"),
        ({"cpu": 0, "rest": 0}, "no more above idle"),
    ):
        assert words in energy_per_inference(spoiled(uws), NOTHING).reason
    restarted = [PowerPair(idle=stretch(1.0), load=stretch(3.0)[:1] + stretch(0.0)[1:], inferences=9)] * 3
    late = [PowerSample(gauge=s.gauge, rails_uws={"cpu": 9 - i, "rest": 1}) for i, s in enumerate(stretch(1.0, 5))]
    assert "no more above idle" in energy_per_inference(restarted, NOTHING).reason
    backward = [PowerPair(idle=tuple(late), load=stretch(3.0), inferences=9)] * 3
    assert "went backward" in energy_per_inference(backward, NOTHING).reason


def test_one_bad_pair_spoils_a_method_for_all() -> None:
    mixed = [*pairs(2), PowerPair(idle=stretch(1.0, rails=False), load=stretch(3.0, rails=False), inferences=1000)]
    assert energy_per_inference(mixed, Calibration(counter=MICRO, current=MICRO)).method == "charge_counter"


def test_pairs_that_disagree_show_it() -> None:
    uneven = [PowerPair(idle=stretch(1.0), load=stretch(watts), inferences=1000) for watts in (2.0, 3.0, 4.0)]
    found = energy_per_inference(uneven, NOTHING)
    assert found.per_inference_uj == pytest.approx(120_000)
    assert found.spread == pytest.approx(1.0)
