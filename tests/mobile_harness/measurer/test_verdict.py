"""What surrounds a session, taken from the runner first and from the device else, and what a cell comes to."""

from __future__ import annotations

import dataclasses

import pytest

from mobile_harness import plans
from mobile_harness.measurer import surroundings
from mobile_harness.measurer.machine import Finish
from mobile_harness.measurer.verdict import conclude, energy_of
from mobile_harness.records import Cell, DeviceInfo, Kind, Parity, Session, Warmup
from mobile_harness.records.state import (
    Battery,
    Cluster,
    Cooled,
    Cpus,
    Energy,
    Gauge,
    Placement,
    PowerPair,
    PowerSample,
    ProcessMemory,
    Temperature,
    Thermal,
    Unavailable,
    Vitals,
)
from mobile_harness.wire.messages import Body, Memory, Phase, Place, Power, Record
from mobile_harness.wire.messages import Thermal as Therm
from mobile_harness.wire.transcript import Counts, Transcript

S = 10**9
BATTERY = Battery(
    frozen=False, powered=(), status=3, health=2, present=True, level_percent=75.0, voltage_mv=4000.0,
    temperature_c=25.0, counter_raw=3_000_000, technology="",
)  # fmt: skip
CLUSTER = Cluster(
    cores=(0, 1), max_khz=2_000_000, limit_khz=2_000_000, capacity=None, governor="schedutil",
    time_in_state=((500_000, 100), (2_000_000, 100)),
)  # fmt: skip


def heat(status: int = 0, skin_c: float = 31.0) -> Thermal:
    rows = (Temperature(name="skin", part="skin", celsius=skin_c, status=0),) * 3
    return Thermal(status=status, overridden=False, source="current", temperatures=rows, skipped=0)


def gauge(at_ns: int, counter: int) -> PowerSample:
    return PowerSample(gauge=Gauge(at_ns=at_ns, status=3, level_percent=75.0, voltage_mv=4000.0, counter_raw=counter))


def vitals(at_s: float = 0.0, **parts: object) -> Vitals:
    power = gauge(round(at_s * S), 3_000_000)
    return Vitals(
        at_ns=round(at_s * S),
        **{
            "thermal": heat(), "battery": BATTERY, "cpus": Cpus(clusters=(CLUSTER,), online=(0, 1)), "power": power,
            **parts,
        },
    )  # fmt: skip


def session(**changes: object) -> Session:
    bare = Session(
        index=0, load_cold_ns=1, load_warm_ns=1, first_ns=1, warmup=Warmup(runs=100, elapsed_ns=S, converged=True),
        latency_ns=(5,) * 100, rss_before_load_kb=1, rss_after_load_kb=2, peak_rss_kb=3, live_gaps=0, started_utc="",
        parity=Parity(ok=True, max_abs=0, cosine=1, samples=3, tolerance=1), runs=900,
    )  # fmt: skip
    return dataclasses.replace(bare, **changes)


def finish(*bodies: Body, **looks: Vitals | None) -> Finish:
    records = tuple(Record(seq=seq, at_ns=seq * S, body=body) for seq, body in enumerate(bodies))
    transcript = Transcript(records=records, verified=True, live_gaps=0, fault="", counts=Counts())
    return Finish(outcome="COMPLETE", reason="", evidence="", transcript=transcript, **looks)


def cooled(**changes: object) -> Cooled:
    return dataclasses.replace(Cooled(waited_s=0.0, reached=True, reason="", vitals=vitals()), **changes)


# memory, clocks, placement, headroom --------------------------------------------------------------------------------


def test_the_runner_s_own_pss_comes_before_what_the_host_asked_for() -> None:
    app = ProcessMemory(pid=1, name="a", pss_kb=70, rss_kb=90, swap_pss_kb=None, native_heap_kb=None, graphics_kb=None)
    told = finish(Memory(at="after_load", rss_kb=100, pss_kb=60)).transcript
    silent = finish(Memory(at="after_load", rss_kb=100)).transcript
    assert surroundings.pss_kb(told, "after_load", vitals(app=app)) == 60
    assert surroundings.pss_kb(told, "end", vitals(app=app)) == 70
    assert surroundings.pss_kb(silent, "after_load", vitals(app=app)) == 70
    assert surroundings.pss_kb(silent, "after_load", vitals(app=Unavailable(reason="gone"))) is None
    assert surroundings.pss_kb(silent, "after_load", None) is None


def test_the_mean_clock_is_weighted_by_the_time_spent_at_each() -> None:
    later = dataclasses.replace(CLUSTER, time_in_state=((500_000, 150), (2_000_000, 250)))
    after = vitals(cpus=Cpus(clusters=(later,), online=(0, 1)))
    assert surroundings.mean_mhz(vitals(), after) == (1625.0,)
    assert surroundings.mean_mhz(vitals(), vitals()) == ()
    assert surroundings.mean_mhz(vitals(), vitals(cpus=Unavailable(reason="x"))) == ()
    assert surroundings.mean_mhz(None, after) == ()


@pytest.mark.parametrize(
    ("place", "requested", "nodes", "fallback"),
    [
        (Place(requested="gpu", delegated_nodes=9, total_nodes=9, partitions=1, source="log", fallback=False), "gpu", 9,
         False),
        (Place(requested="gpu", delegated_nodes=0, total_nodes=9, partitions=0, source="log", fallback=False), "gpu", 0,
         True),
        (Place(requested="cpu", delegated_nodes=0, total_nodes=9, partitions=0, source="api", fallback=False), "cpu", 0,
         False),
        (None, "gpu", None, False),
    ],
)  # fmt: skip
def test_placements(place: Place | None, requested: str, nodes: int | None, fallback: bool) -> None:
    found = surroundings.placement(finish(*filter(None, [place])).transcript, requested)
    assert isinstance(found, Placement)
    assert (found.requested, found.delegated_nodes, found.fallback) == (requested, nodes, fallback)


def test_a_model_for_the_cpu_needs_no_word_on_placement() -> None:
    assert surroundings.placement(finish().transcript, "cpu") is None


def test_what_is_kept_of_a_look_is_bounded_and_carries_the_app_s_headroom() -> None:
    many = dataclasses.replace(heat(), temperatures=heat().temperatures * 100)
    kept = surroundings.kept(vitals(thermal=many))
    assert len(kept.thermal.temperatures) == surroundings.SENSORS_MAX
    assert kept.cpus.clusters[0].time_in_state == ()
    told = finish(Therm(headroom=0.5), Therm(headroom=0.7), Therm(status="none")).transcript
    assert surroundings.with_headroom(vitals(), told).thermal.headroom == 0.7
    assert surroundings.with_headroom(vitals(), finish(Therm(headroom=-1.0)).transcript).thermal.headroom is None


# energy -------------------------------------------------------------------------------------------------------------


def test_energy_that_cannot_be_counted_says_why() -> None:
    def reason(before: Cooled, done: Finish) -> str:
        found = surroundings.power(done, session(), before)
        assert isinstance(found, Unavailable)
        return found.reason

    both = finish(loaded=vitals(20), ended=vitals(30))
    rested = cooled(idle=(gauge(0, 9), gauge(S, 8)))
    charging = dataclasses.replace(BATTERY, status=2, powered=("usb",))
    assert surroundings.power(both, session(), None) is None
    assert reason(cooled(vitals=vitals(battery=charging)), both) == "the battery is charging and powered over usb"
    assert reason(cooled(vitals=vitals(power=Unavailable(reason="no meter"))), both) == "no meter"
    assert "idle_s" in reason(cooled(), both)
    assert reason(rested, finish(loaded=vitals(20))) == "the meters could not be read at both ends of the load"
    assert isinstance(surroundings.power(both, session(), rested), PowerPair)


def test_the_runner_s_own_meters_win_and_come_on_the_host_s_clock() -> None:
    def power(uws: int) -> Power:
        return Power(energy_uws={"cpu": uws}, current_raw=-500_000, counter_raw=0, voltage_raw=4000, status=2)

    done = finish(
        Phase(name="idle", edge="begin"), power(0), power(100), Phase(name="idle", edge="end", took_ns=1),
        power(7), Phase(name="measure", edge="begin"), power(110), power(900),
        Phase(name="measure", edge="end", took_ns=1), power(7),
        loaded=vitals(50), ended=vitals(108),
    )  # fmt: skip
    probed = cooled(probes=(gauge(0, 9),))
    pair = surroundings.power(done, session(), probed)
    assert isinstance(pair, PowerPair)
    assert [sample.rails_uws["cpu"] for sample in (*pair.idle, *pair.load)] == [0, 100, 110, 900]
    assert [sample.gauge.at_ns for sample in pair.load] == [106 * S, 107 * S]
    assert (pair.inferences, pair.load[0].gauge.counter_raw, pair.load[0].gauge.voltage_mv) == (900, None, 4000.0)
    assert pair.probes == probed.probes


def test_inferences_that_were_not_timed_take_energy_too() -> None:
    told = Phase(name="measure", edge="end", took_ns=1, runs=900, calls=912)
    rested = cooled(idle=(gauge(0, 9), gauge(S, 8)))
    pair = surroundings.power(finish(told, loaded=vitals(20), ended=vitals(30)), session(), rested)
    assert isinstance(pair, PowerPair)
    assert pair.inferences == session().warmup.runs + 912


def gauged(ua: float, factor: float, updates: int) -> list[Power]:
    """Thirteen readings of a current in a vendor's unit and sign, of which so many differ from the one before."""
    raws = [round(ua * factor * (1.01 if min(at, updates) % 2 else 0.99)) for at in range(13)]
    return [Power(current_raw=raw, voltage_raw=4000, level_percent=75.0, status=3) for raw in raws]


def followed(factor: float, *, updates: int = 12) -> Energy | Unavailable | None:
    """Three sessions of an app on a phone without rails and charge counter: 0.25 A at rest, 0.75 A at work, 4 V."""
    done = finish(
        Phase(name="idle", edge="begin"), *gauged(250e3, factor, 12), Phase(name="idle", edge="end", took_ns=12 * S),
        Phase(name="measure", edge="begin"), *gauged(750e3, factor, updates),
        Phase(name="measure", edge="end", took_ns=12 * S, runs=900, calls=1000),
        loaded=vitals(20), ended=vitals(40),
    )  # fmt: skip
    blind = cooled(vitals=vitals(power=Unavailable(reason="no meter")))
    return energy_of([session(power=surroundings.power(done, session(), blind))] * 3)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1, "µA; it is negative"),
        (1, "µA; it is positive"),
        (-1e-3, "mA; it is negative"),
        (1e-3, "mA; it is positive"),
    ],
)
def test_a_current_that_the_app_followed_gives_energy_in_every_vendor_s_unit(factor: float, words: str) -> None:
    found = followed(factor)
    assert isinstance(found, Energy), found
    assert (found.method, found.pairs) == ("current_voltage", 3)
    assert found.per_inference_uj == pytest.approx(0.5 * 4 * 12 * 1e6 / 1000, rel=0.02)
    assert found.idle_uw == pytest.approx(1e6, rel=0.02)
    assert words in found.scale
    assert [line.split(": ")[0] for line in found.declined] == ["power_monitors", "charge_counter"]


@pytest.mark.parametrize(
    ("factor", "updates", "words"),
    [
        (-1, 9, "updated 9 times in a stretch, 10 are needed"),
        (-1.5e-2, 12, "may be mA or µA"),
        (0, 12, "does not tell"),
    ],
)
def test_a_current_that_says_too_little_gives_none_and_why(factor: float, updates: int, words: str) -> None:
    found = followed(factor, updates=updates)
    assert isinstance(found, Unavailable), found
    assert words in found.reason


def pair(start_s: int, idle_uah: int = 1_000, load_uah: int = 5_000) -> PowerPair:
    """Ten seconds at rest and ten at work; the counter steps by 1 µAh, as the probes show."""
    at, counter = start_s * S, 3_000_000 - 100 * start_s
    probes = tuple(gauge(at + step * S // 10, counter - step) for step in range(12))
    counter -= 11
    idle = (gauge(at + 2 * S, counter), gauge(at + 12 * S, counter - idle_uah))
    counter -= idle_uah
    load = (gauge(at + 13 * S, counter), gauge(at + 23 * S, counter - load_uah))
    return PowerPair(idle=idle, load=load, inferences=1000, probes=probes, capacity_mah=4000.0)


def test_a_cell_s_energy_is_the_sessions_as_pairs() -> None:
    found = energy_of([session(power=pair(start)) for start in (0, 100, 200)])
    assert isinstance(found, Energy), found
    assert (found.method, found.pairs, found.spread) == ("charge_counter", 3, 0.0)
    assert found.per_inference_uj == pytest.approx(4_000 * 4000.0 * 3.6 / 1000)
    assert "µAh" in found.scale


def test_a_session_that_could_not_be_metered_leaves_none_for_the_cell() -> None:
    broken = [session(power=pair(0)), session(power=Unavailable(reason="it was charging")), session(power=pair(200))]
    assert energy_of(broken) == Unavailable(reason="it was charging in 1 of 3 sessions")
    assert energy_of([session(), session()]) is None
    assert "needs 3 pairs" in energy_of([session(power=pair(0))]).reason


# doubts -------------------------------------------------------------------------------------------------------------


def cell(*sessions: Session, kind: Kind = "phone") -> Cell:
    plan = dataclasses.replace(plans.load("quick"), sessions=len(sessions), min_runs=100)
    return Cell(
        id="b@d", run_id="r", build_id="b", build_sha256="0", target="onnx", recipe="r", size_bytes=1, runner="app",
        plan=plan, outcome="measured", runtime="ort", runtime_version="1", sessions=sessions,
        device=DeviceInfo(
            transport="adb", serial="s", platform="android", model="m", soc="s", os_version="14", abis=(), ram_mb=1,
            kind=kind,
        ),
    )  # fmt: skip


def kinds(done: Cell) -> list[str]:
    return [doubt.kind for doubt in done.doubts]


def test_a_phone_that_stayed_as_it_was_is_doubted_for_its_clocks_alone() -> None:
    good = session(cooled=cooled(), after=vitals())
    assert kinds(conclude(cell(good, good, good))) == ["unlocked_clocks"]
    assert kinds(conclude(cell(good, good, good, kind="virtual"))) == ["on_virtual"]


def test_records_without_vitals_raise_no_doubt_about_them() -> None:
    assert kinds(conclude(cell(session(), session(), session()))) == []


def test_the_worst_of_each_kind_is_told_once() -> None:
    low, lower = (dataclasses.replace(BATTERY, level_percent=level) for level in (20.0, 9.0))
    capped, more = (
        Cpus(clusters=(dataclasses.replace(CLUSTER, limit_khz=khz),), online=(0, 1)) for khz in (1_800_000, 1_000_000)
    )
    first = session(cooled=cooled(vitals=vitals(battery=low, cpus=capped)), after=vitals(battery=low, cpus=capped))
    second = session(
        cooled=cooled(vitals=vitals(battery=lower, cpus=more), reached=False, waited_s=60.0),
        after=vitals(battery=lower, cpus=more, thermal=heat(3)),
    )
    done = conclude(cell(first, second, first))
    told = {doubt.kind: doubt.message for doubt in done.doubts}
    assert len(told) == len(done.doubts)
    assert "at 9 %" in told["low_battery"]
    assert "at 50 %" in told["capped_clocks"]
    assert "before 1 of 3 sessions, after waiting 60 s" in told["not_cooled"]
    assert "from 0 to 3" in told["throttled"]
    assert "throttled_series" not in told


def test_a_series_that_slows_down_while_the_status_rises_is_throttled() -> None:
    series = (5_000_000,) * 300 + (6_000_000,) * 300
    slow = session(latency_ns=series, cooled=cooled(), after=vitals(thermal=heat(2)))
    told = {doubt.kind: doubt.message for doubt in conclude(cell(slow, slow, slow)).doubts}
    assert "became 20 % slower while the system held the device back" in told["throttled_series"]
    calm = session(latency_ns=series, cooled=cooled(), after=vitals())
    assert "throttled_series" not in kinds(conclude(cell(calm, calm, calm)))


def test_a_silent_fallback_to_the_cpu_is_a_doubt() -> None:
    fell = Placement(
        requested="gpu", delegated_nodes=0, total_nodes=9, partitions=None, fallback=True, evidence="the log"
    )
    assert "fell_back_gpu" in kinds(conclude(cell(session(placement=fell), session(), session())))


def test_a_device_that_tells_nothing_is_doubted_for_that_where_it_is_a_phone() -> None:
    blank = Unavailable(reason="no")
    mute = session(cooled=cooled(vitals=vitals(thermal=blank, battery=blank, cpus=blank, power=blank)))
    assert kinds(conclude(cell(mute, mute, mute))) == ["clocks_unknown", "heat_unknown"]
    assert kinds(conclude(cell(mute, mute, mute, kind="host"))) == ["on_host", "host_memory"]
