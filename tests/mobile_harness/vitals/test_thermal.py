from __future__ import annotations

import math

import pytest

from mobile_harness.vitals import sysfs
from mobile_harness.vitals.reading import Unavailable, Unreadable
from mobile_harness.vitals.thermal import (
    Temperature,
    Thermal,
    headroom,
    read_thermalservice,
    read_zones,
    status_name,
    throttling,
    too_warm,
)


def test_current_temperatures_win_over_cached_ones(recorded) -> None:
    found = read_thermalservice(recorded("dumpsys_thermalservice__qualcomm_hal20.txt"))
    assert (found.status, found.overridden, found.source) == (0, False, "current")
    assert len(found.temperatures) == 12
    assert found.skipped == 1  # the USB port
    assert found.temperatures[0] == Temperature(name="battery", part="battery", celsius=28.000002, status=0)
    assert found.celsius("cpu") == 44.1  # 48.3 among the cached
    assert (found.celsius("gpu"), found.celsius("skin"), found.celsius("battery")) == (32.9, 30.147001, 28.000002)
    assert found.celsius("npu") is None


def test_volts_and_amperes_are_no_temperatures(recorded) -> None:
    found = read_thermalservice(recorded("dumpsys_thermalservice__pixel_tensor_milli_units.txt"))
    assert (found.status, found.source) == (0, "current")
    assert max(item.celsius for item in found.temperatures) == 27.000002
    assert found.celsius("npu") == 25.000002
    assert (found.celsius("gpu"), found.celsius("skin"), found.celsius("battery")) == (26.000002, 24.83324, 22.1)
    names = {item.name for item in found.temperatures}
    assert names == {
        "TPU", "G3D", "BIG", "LITTLE", "MID", "VIRTUAL-SKIN", "battery", "neutral_therm", "disp_therm", "qi_therm",
        "rf1_therm", "rf2_therm", "gnss_tcxo_therm", "quiet_therm", "usb_pwr_therm", "usb_pwr_therm2",
    }  # fmt: skip
    assert found.skipped == 42 - len(names)


def test_samsung_shifts_its_types(recorded) -> None:
    found = read_thermalservice(recorded("dumpsys_thermalservice__samsung_sdhms.txt"))
    assert found.temperatures == (
        Temperature(name="TYPE_CPU", part="cpu", celsius=24.0, status=0),
        Temperature(name="TYPE_BATTERY", part="battery", celsius=24.4, status=0),
        Temperature(name="TYPE_SKIN", part="skin", celsius=25.3, status=0),
    )
    assert (found.status, found.source, found.skipped) == (0, "current", 2)


def test_a_newer_page_without_current_temperatures(composed) -> None:
    found = read_thermalservice(composed("dumpsys_thermalservice_android15.txt"))
    assert found == Thermal(
        status=2,
        overridden=True,
        source="cached",
        temperatures=(Temperature(name="VIRTUAL-SKIN", part="skin", celsius=39.5, status=2),),
        skipped=1,
        headroom_thresholds=(None, 0.86, 0.93, 1.0, 1.1, 1.17, 1.43),
    )


def test_zones_of_the_kernel(composed) -> None:
    found = read_zones(sysfs.read_files(composed("sysfs_thermal.txt")))
    assert found.temperatures == (
        Temperature(name="cpu-0-0", part="cpu", celsius=41.3, status=0),
        Temperature(name="gpuss-0", part="gpu", celsius=39.9, status=0),
        Temperature(name="skin-msm-therm-usr", part="skin", celsius=31.25, status=0),
        Temperature(name="battery", part="battery", celsius=30.0, status=0),
        Temperature(name="nspss-0", part="npu", celsius=38.0, status=0),
    )
    assert (found.source, found.status, found.skipped) == ("sysfs", None, 4)


def test_nothing_to_read() -> None:
    assert isinstance(read_thermalservice("Can't find service: thermalservice"), Unreadable)
    assert isinstance(sysfs.read_files("grep: /sys/class/thermal: Permission denied"), Unreadable)
    assert read_zones({}).source == "none"
    silent = read_thermalservice("IsStatusOverride: false\nThermal Status: 0\nHAL Ready: false\n")
    assert (silent.source, silent.temperatures, silent.status) == ("none", (), 0)
    assert read_thermalservice("Thermal Status: 9\nHAL Ready: true\n").status is None


def test_headroom_that_is_not_known() -> None:
    assert headroom(0.7) == 0.7
    assert all(isinstance(headroom(value), Unavailable) for value in (math.nan, math.inf, -1.0))


def thermal(status=0, *, skin=30.0, battery=28.0):
    return Thermal(
        status=status,
        overridden=False,
        source="current",
        temperatures=(
            Temperature(name="s", part="skin", celsius=skin, status=0),
            Temperature(name="b", part="battery", celsius=battery, status=0),
        ),
        skipped=0,
    )


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (thermal(), ()),
        (thermal(skin=32.0), ()),
        (thermal(skin=20.0), ()),
        (thermal(skin=32.5), ("the skin has 32.5 °C, 2.5 °C more than before the first session",)),
        (thermal(1, battery=31.0), (
            "the thermal status is light", "the battery has 31.0 °C, 3.0 °C more than before the first session",
        )),
    ],
)  # fmt: skip
def test_the_gate_before_a_session(now, words) -> None:
    assert too_warm(now, thermal()) == words


def test_throttling_is_a_status_that_rose_or_a_slower_probe() -> None:
    assert throttling(thermal(), thermal(), 1.10) == ()
    assert throttling(thermal(2), thermal(1)) == ()
    assert throttling(thermal(), thermal(2)) == ("the thermal status rose from none to moderate",)
    assert throttling(thermal(), thermal(), 1.25) == ("a fixed probe took 25 % longer afterwards",)
    assert throttling(thermal(None), thermal(None)) == ()
    assert status_name(6) == "shutdown"
