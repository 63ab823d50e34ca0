from __future__ import annotations

import dataclasses
import re

import pytest

from mobile_harness.records.state import Battery, Energy, Screen, Software, Thermal, Unavailable, Vitals
from mobile_harness.stats import needed
from mobile_harness.vitals import circumstances, sysfs
from mobile_harness.vitals.cpu import read_cpus
from mobile_harness.vitals.native import read_benchmark_model
from mobile_harness.vitals.placement import judge, read_log

FULL = Battery(
    frozen=False, powered=(), status=3, health=2, present=True, level_percent=80.0, voltage_mv=4000.0,
    temperature_c=25.0, counter_raw=None, technology="",
)  # fmt: skip
COOL = Thermal(status=0, overridden=False, source="current", temperatures=(), skipped=0)
USER = Software(fingerprint="a/b/c:14/X/1:user/release-keys", build_type="user", debuggable=False)
GOOD = Energy(
    method="power_monitors", per_inference_uj=100.0, idle_uw=1.0, pairs=3, spread=0.01, resolution_uj=0.1, declined=()
)


def kinds(doubts) -> list[str]:
    return [doubt.kind for doubt in doubts]


def test_a_common_phone_raises_none() -> None:
    assert circumstances.of_software(USER) == circumstances.of_battery(FULL) == circumstances.of_heat(COOL, COOL) == ()
    assert circumstances.of_energy(GOOD) == circumstances.of_screen(Screen(awake=True, power_save=False)) == ()
    assert circumstances.of_throttling(Vitals(at_ns=0, thermal=COOL), Vitals(at_ns=1, thermal=COOL), 1.5) == ()


@pytest.mark.parametrize(
    ("software", "expected"),
    [
        ({"build_type": "eng", "debuggable": True}, ["engineering_build"]),
        ({"fingerprint": "a/b/c:14/X/1:eng/test-keys"}, ["engineering_build"]),
        ({"build_type": "userdebug", "debuggable": True}, ["debuggable_system"]),
        ({"app_debuggable": True}, ["debuggable_app"]),
        ({"app_debuggable": False}, []),
    ],
)
def test_systems_and_apps(software, expected) -> None:
    assert kinds(circumstances.of_software(dataclasses.replace(USER, **software))) == expected
    assert circumstances.of_software(Unavailable(reason="x")) == ()


def test_screens() -> None:
    assert kinds(circumstances.of_screen(Screen(awake=False, power_save=True))) == ["power_save", "asleep"]
    assert circumstances.of_screen(Screen(awake=None, power_save=None)) == ()
    assert circumstances.of_screen(Unavailable(reason="x")) == ()


def test_throttling_is_a_slower_series_with_a_cap_or_a_status_behind_it(composed) -> None:
    before, after = (
        Vitals(at_ns=0, thermal=COOL, cpus=read_cpus(sysfs.read_files(composed(f"sysfs_cpu_{when}.txt"))))
        for when in ("before", "after")
    )
    assert kinds(circumstances.of_throttling(before, after, 1.21)) == ["cap_fell", "throttled_series"]
    fell, slower = circumstances.of_throttling(before, after, 1.21)
    assert "fell from 100 to 72 %" in fell.message
    assert "became 21 % slower" in slower.message
    assert kinds(circumstances.of_throttling(before, after, None)) == ["cap_fell"]
    warm = dataclasses.replace(before, thermal=dataclasses.replace(COOL, status=2))
    assert kinds(circumstances.of_throttling(before, warm, 1.21)) == ["throttled_series"]
    assert circumstances.of_throttling(after, before, 1.21) == ()


def test_batteries() -> None:
    low = dataclasses.replace(FULL, level_percent=24.0, status=2, frozen=True)
    assert kinds(circumstances.of_battery(low)) == ["low_battery", "charging", "battery_overridden"]
    assert circumstances.of_battery(low)[0].message.startswith("The battery stood at 24 %, below 25 %")
    assert circumstances.of_battery(dataclasses.replace(FULL, level_percent=25.0)) == ()
    assert circumstances.of_battery(dataclasses.replace(FULL, level_percent=None)) == ()


def test_heat() -> None:
    hot = dataclasses.replace(COOL, status=3, overridden=True)
    assert kinds(circumstances.of_heat(COOL, hot, 1.3)) == ["thermal_overridden", "throttled", "slower_probe"]
    assert kinds(circumstances.of_heat(hot, COOL)) == ["thermal_overridden", "started_warm"]
    silent = dataclasses.replace(COOL, status=None, source="none")
    assert kinds(circumstances.of_heat(silent, silent)) == ["heat_unknown"]


def test_clocks(composed) -> None:
    before, after = (read_cpus(sysfs.read_files(composed(f"sysfs_cpu_{when}.txt"))) for when in ("before", "after"))
    assert kinds(circumstances.of_clocks(before)) == ["unlocked_clocks"]
    assert kinds(circumstances.of_clocks(after)) == ["capped_clocks", "unlocked_clocks"]
    assert circumstances.of_clocks(after)[0].message == "The system caps processors at 72 % of their top clock."
    switched_off = dataclasses.replace(before, online=(0, 1, 2, 3))
    assert circumstances.of_clocks(switched_off)[0].message == "Processor cores were switched off: 4 of 8."
    locked = dataclasses.replace(
        before, clusters=tuple(dataclasses.replace(cluster, governor="performance") for cluster in before.clusters)
    )
    assert circumstances.of_clocks(locked) == ()
    saving = dataclasses.replace(before, clusters=(dataclasses.replace(before.clusters[0], governor="powersave"),))
    assert kinds(circumstances.of_clocks(saving))[-2:] == ["powersave", "unlocked_clocks"]
    assert kinds(circumstances.of_clocks(Unavailable(reason="x"))) == ["clocks_unknown"]


def test_placements() -> None:
    partly = read_log("Replacing 40 out of 63 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 5 partitions")
    (doubt,) = circumstances.of_placement(judge(partly, "gpu"))
    assert (doubt.kind, doubt.message) == ("partial_gpu", "The gpu ran 40 of 63 nodes; the CPU ran the rest.")
    assert kinds(circumstances.of_placement(judge(partly, "npu"))) == ["fell_back_npu"]
    assert kinds(circumstances.of_placement(judge(read_log(""), "gpu"))) == ["unplaced_gpu"]
    assert circumstances.of_placement(judge(read_log(""), "cpu")) == ()


def test_energies() -> None:
    coarse = dataclasses.replace(GOOD, spread=0.4, resolution_uj=20.0)
    assert kinds(circumstances.of_energy(coarse)) == ["energy_spread", "energy_resolution"]
    assert circumstances.of_energy(Unavailable(reason="none")) == ()


def test_native_tools(composed) -> None:
    few = read_benchmark_model(composed("benchmark_model_nnapi_fallback.txt"), needed)
    assert kinds(circumstances.of_native(few)) == ["native_benchmark_model", "dropped_percentiles"]


def test_sentences_of_a_kind_differ_in_whole_numbers_alone() -> None:
    def shape(doubts):
        return [re.sub(r"[0-9]+", "0", doubt.message) for doubt in doubts]

    two, three = (dataclasses.replace(COOL, status=status) for status in (2, 3))
    assert shape(circumstances.of_heat(COOL, two, 1.2)) == shape(circumstances.of_heat(COOL, three, 1.57))
    low, lower = (dataclasses.replace(FULL, level_percent=level) for level in (24.5, 3.2))
    assert shape(circumstances.of_battery(low)) == shape(circumstances.of_battery(lower))
