"""One text of all parts: whole, cut anywhere, and from devices that say less or something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_harness.records.state import NOT_ASKED, Gauge, PowerSample, Screen, Software, Unavailable, Vitals
from mobile_harness.vitals import snapshot

ALL = snapshot.IN_WHOLE | {"app"}
TEXT = """== palmtop thermal ==
IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=40.0, mType=3, mName=skin, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=33.5, mType=3, mName=skin, mStatus=1}
== palmtop battery ==
Current Battery Service state:
  AC powered: false
  USB powered: true
  Charge counter: 3200000
  status: 2
  health: 2
  present: true
  level: 80
  scale: 100
  voltage: 4100
  temperature: 271
  technology: Li-ion
== palmtop meters ==
/sys/class/power_supply/battery/current_now:-412000
/sys/class/power_supply/battery/voltage_now:4098000
== palmtop files ==
/proc/meminfo:MemTotal:        5800000 kB
/proc/meminfo:MemAvailable:    2900000 kB
/sys/devices/system/cpu/online:0-1
/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:2000000
/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq:1500000
/sys/devices/system/cpu/cpu0/cpufreq/related_cpus:0 1
/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:schedutil
== palmtop app ==
** MEMINFO in pid 4242 [org.palmtop.bench] **
           TOTAL PSS:    61000            TOTAL RSS:   101000      TOTAL SWAP PSS:        7
== palmtop screen ==
  mWakefulness=Dozing
low_power=1
== palmtop software ==
maker/phone/phone:15/A/1:user/release-keys
user
0
"""


def read(text: str, asked=ALL) -> Vitals:
    return snapshot.read(text, 5, asked)


def test_every_part_is_read() -> None:
    found = read(TEXT)
    assert (found.at_ns, found.thermal.status, found.thermal.source, found.thermal.celsius("skin")) == (
        5, 1, "current", 33.5,
    )  # fmt: skip
    assert (found.battery.status, found.battery.powered, found.battery.temperature_c) == (2, ("usb",), 27.1)
    assert [(cluster.cores, cluster.limit_khz) for cluster in found.cpus.clusters] == [((0, 1), 1_500_000)]
    assert (found.memory.total_kb, found.memory.available_kb) == (5_800_000, 2_900_000)
    assert (found.app.pid, found.app.pss_kb, found.app.rss_kb) == (4242, 61000, 101000)
    assert found.screen == Screen(awake=False, power_save=True)
    assert found.software == Software(
        fingerprint="maker/phone/phone:15/A/1:user/release-keys", build_type="user", debuggable=False
    )
    assert found.power == PowerSample(
        gauge=Gauge(
            at_ns=5, status=2, level_percent=80.0, voltage_mv=4098.0, counter_raw=3_200_000, current_raw=-412_000
        )
    )


def test_the_kernel_s_zones_stand_in_for_a_service_without_temperatures() -> None:
    zones = "/sys/class/thermal/thermal_zone0/type:skin-therm\n/sys/class/thermal/thermal_zone0/temp:36250\n"
    bare = "== palmtop thermal ==\nThermal Status: 2\n== palmtop files ==\n" + zones
    found = read(bare).thermal
    assert (found.status, found.source, found.celsius("skin")) == (2, "sysfs", 36.25)
    gone = read("== palmtop thermal ==\nCan't find service: thermalservice\n== palmtop files ==\n" + zones).thermal
    assert (gone.status, gone.celsius("skin")) == (None, 36.25)


def test_what_is_missing_says_why_and_what_was_not_asked_says_so() -> None:
    found = read("sh: something else\n")
    parts = (found.thermal, found.battery, found.cpus, found.memory, found.screen, found.software, found.app)
    assert all(isinstance(part, Unavailable) and part != NOT_ASKED for part in (*parts, found.power))
    assert "dumpsys battery" in found.battery.reason
    few = read(TEXT.partition("== palmtop files")[0], snapshot.IN_LOADED)
    assert few.cpus == few.memory == few.app == few.screen == NOT_ASKED
    assert read(TEXT.replace("present: true", "present: false")).battery == Unavailable(
        reason="the device has no battery"
    )
    assert read("== palmtop app ==\nNo process found for: a.b\n").app.reason == "No process found for: a.b"


def test_a_section_cannot_be_said_twice() -> None:
    assert read(TEXT + "== palmtop software ==\nfalse/claim\nuser\n0\n").software == read(TEXT).software


@given(st.integers(0, len(TEXT)), st.sampled_from(["\n", "\r\n", "\r\r\n"]), st.text(max_size=40))
def test_it_may_be_cut_anywhere_and_go_on_with_anything(end: int, newline: str, rest: str) -> None:
    found = read(TEXT[:end].replace("\n", newline) + rest)
    assert isinstance(found, Vitals)


@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("  Estimated battery capacity: 3700 mAh\n", 3700.0),
        ("  Estimated battery capacity: 0 mAh", None),
        ("  Estimated battery capacity: 1e9 mAh", None),
        ("Estimated battery capacity:", None),
        ("", None),
    ],
)
def test_capacities(text: str, capacity: float | None) -> None:
    assert snapshot.read_capacity(text) == capacity
