from __future__ import annotations

import pytest

from mobile_harness.vitals.battery import CHARGING, DISCHARGING, Battery, Gauge, Scale, calibrate, read_battery
from mobile_harness.vitals.powerstats import Channel, read_powerstats
from mobile_harness.vitals.reading import Unavailable, Unreadable


def test_recorded_pages(recorded) -> None:
    assert read_battery(recorded("dumpsys_battery__android10_full.txt")) == Battery(
        frozen=False, powered=("ac",), status=5, health=2, present=True, level_percent=100.0, voltage_mv=4451.0,
        temperature_c=28.6, counter_raw=3333000, technology="Unknown",
    )  # fmt: skip
    assert read_battery(recorded("dumpsys_battery__hammerhead_crlf.txt")) == Battery(
        frozen=False, powered=("usb",), status=5, health=2, present=True, level_percent=45.0, voltage_mv=4189.0,
        temperature_c=18.0, counter_raw=None, technology="Li-ion",
    )  # fmt: skip


def test_vendor_lines_change_nothing(composed) -> None:
    assert read_battery(composed("dumpsys_battery_android14.txt")) == Battery(
        frozen=False, powered=("usb",), status=3, health=2, present=True, level_percent=58.0, voltage_mv=3911.0,
        temperature_c=31.2, counter_raw=2465000, technology="Li-poly",
    )  # fmt: skip


def test_overridden_figures_and_wrong_units(composed) -> None:
    battery = read_battery(composed("dumpsys_battery_frozen_volts.txt"))
    assert battery.frozen
    assert (battery.level_percent, battery.voltage_mv, battery.temperature_c) == (10.0, 4000.0, None)


def test_what_is_no_battery() -> None:
    assert read_battery("Can't find service: battery") == Unreadable(
        what="dumpsys battery",
        reason="no 'Current Battery Service state' with values; it says \"Can't find service: battery\"",
    )
    assert isinstance(read_battery("Current Battery Service state:\n"), Unreadable)
    bare = read_battery("Current Battery Service state:\n  level: 101\n  scale: 100\n  Charge counter: -2147483648\n")
    assert (bare.level_percent, bare.counter_raw, bare.status, bare.voltage_mv) == (None, None, None, None)


def series(count=40, *, status=DISCHARGING, counter=2_500_000, step=-100, current=-500_000, level=50.0, second=1.0):
    return [
        Gauge(
            at_ns=round(i * second * 1e9), status=status, level_percent=level, voltage_mv=3850.0,
            counter_raw=counter + i * step, current_raw=current + i % 7,
        )
        for i in range(count)
    ]  # fmt: skip


def test_a_device_that_keeps_the_contract() -> None:
    found = calibrate(series(step=-139), 5000)
    assert found.counter == Scale(
        factor=1.0, unit="micro", step=139.0, reason="the charge counter is 999 times the charge in mAh: µAh"
    )
    assert found.current.factor == 1.0
    assert found.current.unit == "micro"
    assert found.current.step == 1.0


@pytest.mark.parametrize(
    ("counter", "current", "counter_factor", "current_factor"),
    [
        (2500, -500, 1e3, 1e3),  # HONOR: both in milli-units
        (2_500_000, -441, 1.0, 1e3),  # Samsung: current alone
        (2_500_000, 500_000, 1.0, -1.0),  # Xiaomi Mi A1: sign inverted
        (4274, 900, 1e3, -1e3),
    ],
)
def test_vendors_that_deviate(counter, current, counter_factor, current_factor) -> None:
    found = calibrate(series(counter=counter, step=0, current=current, level=70.0 if counter == 4274 else 50.0), 5000)
    assert found.counter.factor == counter_factor
    assert found.counter.step is None
    assert found.current.factor == current_factor


def test_a_counter_that_is_the_level_in_disguise() -> None:
    samples = [
        Gauge(at_ns=i, status=DISCHARGING, level_percent=level, voltage_mv=None, counter_raw=round(level) * 40_000)
        for i, level in enumerate([52.0, 52.0, 51.0, 50.0])
    ]
    assert calibrate(samples, 4000).counter == Unavailable(
        reason="the charge counter changes only with the level, in steps of 1 %"
    )


def test_a_counter_that_moves_within_a_level_is_its_own() -> None:
    levels = [50.0] * 20 + [49.0] * 20
    fine = [
        Gauge(at_ns=i, status=DISCHARGING, level_percent=level, voltage_mv=None, counter_raw=2_000_000 - 100 * i)
        for i, level in enumerate(levels)
    ]
    assert calibrate(fine, 4000).counter.step == 100.0


@pytest.mark.parametrize(
    ("samples", "capacity", "words"),
    [
        ([], 5000, "no charge counter"),
        (series(), None, "design capacity is not known"),
        (series(counter=80_000), 5000, "neither µAh nor mAh"),
        (series(step=200), 5000, "rises while the battery discharges"),
    ],
)
def test_counters_that_cannot_be_believed(samples, capacity, words) -> None:
    assert words in calibrate(samples, capacity).counter.reason
    assert isinstance(calibrate(samples, capacity).counter, Unavailable)


def test_currents_that_cannot_be_believed() -> None:
    mixed = [*series(20), *series(20, current=500_000)]
    for samples, words in (
        ([], "does not tell"),
        (series(current=-7000), "mA or µA"),
        (series(9), "there are 9"),
        (series(status=CHARGING), "there are 0"),
        (mixed, "sign changes"),
    ):
        current = calibrate(samples, None).current
        assert isinstance(current, Unavailable)
        assert words in current.reason


def test_a_counter_and_a_current_that_disagree_are_both_dropped() -> None:
    found = calibrate(series(step=-1390), 5000)  # lost ten times what 500 mA carries in a second
    assert found.counter == found.current
    assert found.counter.reason == "the current carried 5417 µAh where the charge counter lost 54210 µAh"


def test_rails(composed, recorded) -> None:
    assert read_powerstats(composed("dumpsys_powerstats.txt")) == (
        Channel(id=0, name="S10M_VDD_TPU", subsystem="TPU"),
        Channel(id=2, name="S2M_VDD_CPUCL2", subsystem="CPU(BIG)"),
        Channel(id=7, name="VSYS_PWR_DISPLAY", subsystem=""),
    )
    channels = read_powerstats(recorded("dumpsys_powerstats__pixel6_channels_mocked.txt"))
    assert [(channel.id, channel.name) for channel in channels] == [
        (0, "S10M_VDD_TPU"), (1, "VSYS_PWR_MODEM"), (2, "VSYS_PWR_RFFE"), (3, "S2M_VDD_CPUCL2"),
        (4, "S3M_VDD_CPUCL1"), (10, "S9S_VDD_AOC"),
    ]  # fmt: skip
    assert channels[3].subsystem == "CPU(BIG)"


def test_no_rails() -> None:
    assert isinstance(read_powerstats("PowerStats HAL is not initialized.  No data available.\n"), Unavailable)
    assert isinstance(read_powerstats("Can't find service: powerstats"), Unreadable)
