"""What a device says of itself, and what the harness makes of it: heat, power and clocks by script."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from bench_builds import make_folder

from mobile_harness import bench, plans
from mobile_harness.measurer.cooling import cool
from mobile_harness.measurer.loop import Watch
from mobile_harness.records import Cell, RunPlan
from mobile_harness.records.state import Energy, PowerPair, Unavailable, Vitals
from mobile_harness.transports import _adb_vitals, adb
from mobile_harness.transports._adb_device import AdbDevice
from mobile_harness.transports.base import DeviceFailed
from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.profile import DEFAULT
from toolkit.core.tools import Tools

SHORT = dataclasses.replace(
    plans.load("quick"), warmup_min_s=0.3, warmup_max_s=0.4, min_seconds=0.3, min_runs=30, sessions=3,
    cooldown_max_s=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, onnx_model: Path) -> Path:
    from toolkit.core.tools import system_tools

    return make_folder(system_tools(), onnx_model, tmp_path_factory.mktemp("a") / "builds", ("float32",))


def only(tools: Tools) -> AdbDevice:
    (found,) = adb.discover(tools).devices
    assert isinstance(found, AdbDevice)
    return found


def watch(tools: Tools, told: list[str]) -> Watch:
    return Watch(clock=tools.clock, cancelled=threading.Event(), progress=lambda phase, done: told.append(phase))


def measured(plan: RunPlan, folder: Path, tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Cell:
    monkeypatch.setitem(plans.PLANS, "quick", plan)
    request = bench.BenchRequest(folder=folder, devices=("adb:virtual-0",), store=str(tmp_path / "h.sqlite"))
    (cell,) = bench.bench(request, tools).cells
    assert cell.outcome == "measured", cell.failure
    return cell


# one look -------------------------------------------------------------------------------------------------------------


def test_a_look_is_one_round_trip_and_finds_every_part(boot, tools: Tools) -> None:
    farm = boot()
    device = only(tools)
    device.vitals("idle")  # asks for the battery's capacity too, once
    opened: list[str] = []
    link = device._session._open
    device._session._open = lambda service, deadline: opened.append(service) or link(service, deadline)
    found = device.vitals("idle")
    assert len(opened) == 1
    assert (found.thermal.status, found.thermal.celsius("skin"), found.thermal.source) == (0, 31.0, "current")
    assert (found.battery.level_percent, found.battery.status, found.capacity_mah) == (84.0, 3, 4000.0)
    assert [(item.cores, item.max_khz, item.governor) for item in found.cpus.clusters] == [
        ((0, 1), 1_800_000, "schedutil"), ((2, 3), 2_400_000, "schedutil"),
    ]  # fmt: skip
    assert (found.memory.total_kb, found.screen.awake, found.screen.power_save) == (4 << 20, True, False)
    assert found.software.fingerprint == farm[0].system.properties["ro.build.fingerprint"]
    assert (found.power.gauge.current_raw, found.power.gauge.voltage_mv) == (-240_000, 4012.0)


def test_what_befalls_the_device_is_seen(boot, tools: Tools) -> None:
    boot(1, [faults.Hot(status=2), faults.LowBattery(level=9), faults.Charging(), faults.CappedClocks(percent=50)])
    found = only(tools).vitals("idle")
    assert (found.thermal.status, found.thermal.celsius("skin")) == (2, 47.0)
    assert (found.battery.level_percent, found.battery.status, found.battery.powered) == (9.0, 2, ("usb",))
    assert [item.limit_khz for item in found.cpus.clusters] == [900_000, 1_200_000]
    assert found.power.gauge.current_raw == 240_000


def test_a_shell_that_says_nothing_ends_at_the_deadline(boot, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    boot(1, [faults.Silent(on="palmtop thermal")])
    monkeypatch.setattr(_adb_vitals, "LOOK_S", 0.5)
    with pytest.raises(DeviceFailed) as caught:
        only(tools).vitals("idle")
    assert caught.value.kind == "lost"


# the gate -------------------------------------------------------------------------------------------------------------


def test_the_gate_waits_until_a_hot_device_has_cooled_down(boot, tools: Tools) -> None:
    farm = boot()
    device, told = only(tools), []
    first = device.vitals("idle")
    farm[0].faults.add(faults.Hot(skin_c=47.0, status=3, cools_s=1.5))
    cooled = cool(device, dataclasses.replace(SHORT, cooldown_max_s=20.0), first, watch(tools, told))
    assert cooled.reached
    assert 1.0 <= cooled.waited_s < 10.0
    assert told[0].startswith("cooling: the thermal status is severe; the skin has ")
    assert isinstance(cooled.vitals, Vitals)
    assert cooled.vitals.thermal.status == 0


# whole cells ----------------------------------------------------------------------------------------------------------


def test_a_hot_device_is_measured_after_the_wait_and_doubted(
    boot, tools: Tools, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(1, [faults.Hot(status=3), faults.LowBattery(level=9), faults.Charging(), faults.CappedClocks(percent=50)])
    plan = dataclasses.replace(SHORT, sessions=1, idle_s=0.2)
    cell = measured(plan, folder, tmp_path, tools, monkeypatch)
    (session,) = cell.sessions
    assert (session.cooled.reached, session.cooled.waited_s >= 1.0) == (False, True)
    told = {doubt.kind: doubt.message for doubt in cell.doubts}
    assert "had not cooled down before 1 of 1 session" in told["not_cooled"]
    assert "status was 3" in told["started_warm"]
    assert "stood at 9 %" in told["low_battery"]
    assert "charging" in told["charging"]
    assert "at 50 % of their top clock" in told["capped_clocks"]
    assert cell.energy == Unavailable(reason="the battery is charging and powered over usb")


def test_energy_is_counted_from_the_charge_counter_of_a_device_on_battery(
    boot, tools: Tools, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = dataclasses.replace(DEFAULT, current_ua=-60_000, load_ua=-1_800_000)
    boot(profile=profile)
    cell = measured(dataclasses.replace(SHORT, idle_s=0.4), folder, tmp_path, tools, monkeypatch)
    assert isinstance(cell.energy, Energy), cell.energy
    assert (cell.energy.method, cell.energy.pairs) == ("charge_counter", 3)
    assert "µAh" in cell.energy.scale
    above_w = (profile.current_ua - profile.load_ua) * 1e-6 * profile.battery_mv * 1e-3
    pairs = [session.power for session in cell.sessions]
    assert all(isinstance(pair, PowerPair) for pair in pairs)
    spans = [(pair.load[-1].gauge.at_ns - pair.load[0].gauge.at_ns) / 1e3 / pair.inferences for pair in pairs]
    most_uj = above_w * max(spans)  # the app may have ended before the last look, so that some of a span is rest
    assert 0.3 * most_uj < cell.energy.per_inference_uj < 1.1 * most_uj
    for session in cell.sessions:
        assert 0 < session.pss_after_load_kb <= session.rss_after_load_kb
        assert 0 < session.pss_end_kb <= session.peak_rss_kb
        assert session.after is not None
        assert len(session.mean_mhz) == 2
        assert session.after.cpus.clusters[0].time_in_state == ()
    assert not {"not_cooled", "charging", "low_battery", "heat_unknown"} & {doubt.kind for doubt in cell.doubts}


def test_a_device_that_becomes_hot_while_it_measures_is_throttled(
    boot, tools: Tools, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = boot()

    def heat(event) -> None:
        if event.message.endswith(": measure") and farm[0].faults.holding(faults.Hot) is None:
            farm[0].faults.add(faults.Hot(status=2))
            farm[0].faults.add(faults.CappedClocks(percent=70))

    cell = measured(
        dataclasses.replace(SHORT, sessions=1), folder, tmp_path, dataclasses.replace(tools, emit=heat), monkeypatch
    )
    told = {doubt.kind: doubt.message for doubt in cell.doubts}
    assert told["throttled"] == "Throttled: the thermal status rose from 0 to 2 (of 6)."
    assert "from 100 to 70 %" in told["cap_fell"]
