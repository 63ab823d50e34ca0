"""Records outlive versions: what was written before a field existed reads, and what is written now reads back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mobile_harness import plans
from mobile_harness.records import Cell, DeviceInfo, Parity, RunPlan, Session, Warmup
from mobile_harness.records.state import (
    Battery,
    Cluster,
    Cooled,
    Cpus,
    DeviceMemory,
    Energy,
    Gauge,
    Placement,
    PowerPair,
    PowerSample,
    ProcessMemory,
    Screen,
    Software,
    Temperature,
    Thermal,
    Unavailable,
    Vitals,
)
from toolkit.core import codec

SAMPLE = PowerSample(
    gauge=Gauge(at_ns=5, status=3, level_percent=80.0, voltage_mv=4098.0, counter_raw=3, current_raw=-4),
    rails_uws={"cpu": 12},
)
VITALS = Vitals(
    at_ns=7,
    thermal=Thermal(
        status=1, overridden=False, source="current", skipped=2, headroom_thresholds=(None, 0.9), headroom=0.4,
        temperatures=(Temperature(name="skin", part="skin", celsius=31.0, status=0),),
    ),
    battery=Battery(
        frozen=False, powered=("usb",), status=2, health=2, present=True, level_percent=80.0, voltage_mv=None,
        temperature_c=25.0, counter_raw=None, technology="Li-ion",
    ),
    cpus=Cpus(
        clusters=(Cluster(cores=(0, 1), max_khz=2, limit_khz=1, capacity=None, governor="g", time_in_state=()),),
        online=(0, 1),
    ),
    memory=DeviceMemory(total_kb=9, available_kb=None),
    screen=Screen(awake=True, power_save=None),
    software=Software(fingerprint="f", build_type="user", debuggable=False, app_debuggable=True),
    app=ProcessMemory(
        pid=1, name="a", pss_kb=2, rss_kb=3, swap_pss_kb=None, native_heap_kb=None, graphics_kb=None
    ),
    power=SAMPLE,
    capacity_mah=4000.0,
)  # fmt: skip
BARE = Session(
    index=0, load_cold_ns=1, load_warm_ns=2, first_ns=3, warmup=Warmup(runs=1, elapsed_ns=2, converged=True),
    latency_ns=(4, 5), rss_before_load_kb=6, rss_after_load_kb=7, peak_rss_kb=8, live_gaps=0, started_utc="t",
    parity=Parity(ok=True, max_abs=0.0, cosine=1.0, samples=1, tolerance=1.0),
)  # fmt: skip
FULL = dataclasses.replace(
    BARE,
    cooled=Cooled(waited_s=3.0, reached=False, reason="warm", vitals=VITALS, idle=(SAMPLE, SAMPLE)),
    after=Vitals(at_ns=8, thermal=Unavailable(reason="gone")),
    pss_after_load_kb=5,
    pss_end_kb=6,
    mean_mhz=(1800.5, 2400.0),
    placement=Placement(
        requested="gpu", delegated_nodes=None, total_nodes=4, partitions=None, fallback=True, evidence="plan"
    ),
    power=PowerPair(idle=(SAMPLE, SAMPLE), load=(SAMPLE, SAMPLE), inferences=9, capacity_mah=None),
)
ENERGY = Energy(
    method="charge_counter", per_inference_uj=2.5, idle_uw=3.0, pairs=3, spread=0.1, resolution_uj=0.2,
    declined=("power_monitors: none",), scale="µAh",
)  # fmt: skip
CELL = Cell(
    id="b@d", run_id="r", build_id="b", build_sha256="0", target="onnx", recipe="r", size_bytes=1, runner="app",
    plan=plans.load("standard"), outcome="measured", runtime="ort", runtime_version="1", sessions=(FULL,),
    energy=ENERGY,
    device=DeviceInfo(
        transport="adb", serial="s", platform="android", model="m", soc="s", os_version="14", abis=(), ram_mb=1,
        kind="phone",
    ),
)  # fmt: skip


def again(value, kind):
    return codec.structure(json.loads(codec.canonical(value)), kind, what="record")


@pytest.mark.parametrize(
    "session", [BARE, FULL, dataclasses.replace(FULL, power=Unavailable(reason="charging over usb"), placement=None)]
)
def test_a_session_reads_back_as_it_was_written(session: Session) -> None:
    assert again(session, Session) == session


@pytest.mark.parametrize("energy", [None, ENERGY, Unavailable(reason="charging over usb")])
def test_a_cell_reads_back_with_its_energy(energy: Energy | Unavailable | None) -> None:
    cell = dataclasses.replace(CELL, energy=energy)
    assert again(cell, Cell) == cell


def test_what_was_written_before_there_were_vitals_reads() -> None:
    plain = json.loads(codec.canonical(CELL))
    del plain["energy"]
    for name in ("cool_to_c", "cooldown_max_s", "idle_s"):
        del plain["plan"][name]
    for name in ("cooled", "after", "pss_after_load_kb", "pss_end_kb", "mean_mhz", "placement", "power"):
        del plain["sessions"][0][name]
    old = codec.structure(plain, Cell, what="record")
    assert old.sessions == (BARE,)
    assert (old.plan.cool_to_c, old.plan.cooldown_max_s, old.plan.idle_s, old.energy) == (None, 0.0, 0.0, None)
    assert isinstance(old.plan, RunPlan)
