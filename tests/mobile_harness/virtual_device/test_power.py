"""The device's battery and clocks by script: what a charger, a cap and a running app change, and what greps see."""

from __future__ import annotations

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android import vitals
from mobile_harness.virtual_device.android.system import Busy


def test_a_charger_turns_the_current_and_the_counter(make_farm, adb) -> None:
    farm = make_farm(1, {0: [faults.Charging(over="ac")]})
    text = adb.shell(farm[0], "dumpsys battery; cat /sys/class/power_supply/battery/status").stdout
    assert "  AC powered: true\n  USB powered: false" in text
    assert "  status: 2\n" in text
    assert text.endswith("Charging\n")
    now = vitals.battery(farm[0].system)
    assert now.current_ua == -farm[0].system.profile.current_ua
    assert now.counter_uah >= 84 * 40_000


def test_a_cap_and_its_governor_stand_in_every_core_s_files(make_farm, adb) -> None:
    farm = make_farm(1, {0: [faults.CappedClocks(percent=50, governor="powersave")]})
    folder = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
    said = adb.shell(farm[0], f"cat {folder}/scaling_max_freq {folder}/scaling_governor").stdout.split()
    assert said == ["900000", "900000", "1200000", "1200000", *["powersave"] * 4]


def test_grep_goes_on_behind_files_that_are_not_there(make_farm, adb) -> None:
    device = make_farm(1)[0]
    said = adb.shell(device, "grep -s . /dev/null /none/a /sys/devices/system/cpu/online /none/*; echo $?")
    assert said.stdout == "/sys/devices/system/cpu/online:0-3\n2\n"
    loud = adb.shell(device, "grep -H . /none/a /sys/devices/system/cpu/online")
    assert (loud.stdout, loud.stderr.strip()) == (
        "/sys/devices/system/cpu/online:0-3\n", "grep: /none/a: No such file or directory",
    )  # fmt: skip


def test_time_of_apps_is_counted_while_and_after_they_run() -> None:
    busy = Busy()
    busy.begin(1, 0)
    busy.begin(2, 10**9)
    assert busy.seconds(2 * 10**9) == 3.0
    busy.end(1, 2 * 10**9)
    busy.end(1, 9 * 10**9)
    assert busy.seconds(4 * 10**9) == 5.0
