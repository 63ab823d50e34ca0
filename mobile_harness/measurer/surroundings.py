"""What surrounds a session's series: memory between phases, clocks, placement, and what its energy is counted from.

Pure. Memory and meters of the runner itself come first: it reads them at the very edge of a phase. What the host asked
the device for fills in where the runner is silent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, TypeVar

from mobile_harness.measurer.machine import Finish
from mobile_harness.records import Session
from mobile_harness.records.state import (
    Cooled,
    Cpus,
    Gauge,
    Placement,
    PowerPair,
    PowerSample,
    Thermal,
    Unavailable,
    Vitals,
)
from mobile_harness.vitals import battery, cpu, energy, reading
from mobile_harness.vitals import thermal as heat
from mobile_harness.wire.messages import Memory, Phase, Place, Power
from mobile_harness.wire.messages import Thermal as ThermalRecord
from mobile_harness.wire.transcript import Transcript

T = TypeVar("T")

SENSORS_MAX: Final = 64
SAMPLES_MAX: Final = 1024
_NO_REST = Unavailable(reason="the plan rests nowhere (`idle_s` is 0), and energy is what inferences take above rest")


def kept(vitals: Vitals) -> Vitals:
    """Return what a record keeps: not the time at each clock since boot, and of sensors the first few."""
    thermal, cpus = vitals.thermal, vitals.cpus
    if isinstance(thermal, Thermal):
        thermal = dataclasses.replace(thermal, temperatures=thermal.temperatures[:SENSORS_MAX])
    if isinstance(cpus, Cpus):
        clusters = tuple(dataclasses.replace(cluster, time_in_state=()) for cluster in cpus.clusters)
        cpus = dataclasses.replace(cpus, clusters=clusters)
    return dataclasses.replace(vitals, thermal=thermal, cpus=cpus)


def with_headroom(vitals: Vitals, transcript: Transcript) -> Vitals:
    """Return how the device stands, with the runner's own forecast of its thermal headroom."""
    told = [item.headroom for item in transcript.bodies(ThermalRecord) if item.headroom is not None]
    value = heat.headroom(told[-1]) if told else None
    if not isinstance(value, float) or isinstance(vitals.thermal, Unavailable):
        return vitals
    return dataclasses.replace(vitals, thermal=dataclasses.replace(vitals.thermal, headroom=value))


def pss_kb(transcript: Transcript, at: str, vitals: Vitals | None) -> int | None:
    """Return the proportional share of memory that the runner's process has at a phase's edge, or None."""
    told = [item.pss_kb for item in transcript.bodies(Memory) if item.at == at and item.pss_kb is not None]
    if told:
        return told[-1]
    return None if vitals is None or isinstance(vitals.app, Unavailable) else vitals.app.pss_kb


def mean_mhz(before: Vitals | None, after: Vitals | None) -> tuple[float, ...]:
    """Return each cluster's mean clock between two looks; empty where the device does not tell that of all."""
    if before is None or after is None or isinstance(before.cpus, Unavailable) or isinstance(after.cpus, Unavailable):
        return ()
    early, late = before.cpus.clusters, after.cpus.clusters
    if len(early) != len(late):
        return ()
    found = [cpu.effective_mhz(one, other) for one, other in zip(early, late, strict=True)]
    told = tuple(item for item in found if not isinstance(item, Unavailable))
    return told if len(told) == len(found) else ()


def placement(transcript: Transcript, requested: str) -> Placement | None:
    """Return where the model ran by the runner's last word; None for a model that was meant for the CPU anyway."""
    told = transcript.bodies(Place)
    if told:
        last = told[-1]
        return Placement(
            requested=reading.shown(requested),
            delegated_nodes=last.delegated_nodes,
            total_nodes=last.total_nodes,
            partitions=last.partitions,
            fallback=last.fallback or (requested != "cpu" and last.delegated_nodes == 0),
            evidence=f"the runner's {reading.shown(last.source)}",
        )
    if requested == "cpu":
        return None
    return Placement(
        requested=requested, delegated_nodes=None, total_nodes=None, partitions=None, fallback=False, evidence=""
    )


def power(finish: Finish, session: Session, cooled: Cooled | None) -> PowerPair | Unavailable | None:
    """Return what the meters said at rest and under load, or why they were not to be asked; None: nobody looked."""
    if cooled is None:
        return None
    calls = _calls(finish.transcript, session)
    own = _of_runner(finish, calls)
    if own is not None:
        return dataclasses.replace(own, probes=cooled.probes, capacity_mah=cooled.vitals.capacity_mah)
    reason = energy.obstacle(cooled.vitals)
    if reason:
        return Unavailable(reason=reason)
    if len(cooled.idle) < 2:
        return _NO_REST
    ends = [look.power for look in (finish.loaded, finish.ended) if look is not None]
    load = tuple(item for item in ends if isinstance(item, PowerSample))
    if len(load) < 2:
        return Unavailable(reason="the meters could not be read at both ends of the load")
    return PowerPair(
        idle=cooled.idle,
        load=load,
        inferences=session.warmup.runs + calls,  # the host's first look is where the warm-up begins
        probes=cooled.probes,
        capacity_mah=cooled.vitals.capacity_mah,
    )


def _calls(transcript: Transcript, session: Session) -> int:
    """Return the inferences that ``measure`` took: those that were not timed take energy, too."""
    told = [item.calls for item in transcript.bodies(Phase) if item.name == "measure" and item.calls is not None]
    return max(session.runs, told[-1] if told else 0)


def _of_runner(finish: Finish, calls: int) -> PowerPair | None:
    """Return the runner's own readings during its phases ``idle`` and ``measure``, on the host's clock."""
    idle: list[PowerSample] = []
    load: list[PowerSample] = []
    into: list[PowerSample] | None = None
    shift_ns = _shift_ns(finish)
    for record in finish.transcript.records:
        match record.body:
            case Phase(name=name, edge=edge):
                into = {"idle": idle, "measure": load}.get(name) if edge == "begin" else None
            case Power() as told if into is not None:
                into.append(_sample(told, record.at_ns + shift_ns))
            case _:
                pass
    if len(idle) < 2 or len(load) < 2:
        return None
    return PowerPair(idle=_thinned(idle), load=_thinned(load), inferences=calls)


def _shift_ns(finish: Finish) -> int:
    """Return what to add to the runner's clock for the host's: it looked right after ``measure`` had ended."""
    ends = [
        record.at_ns
        for record in finish.transcript.records
        if isinstance(record.body, Phase) and (record.body.name, record.body.edge) == ("measure", "end")
    ]
    return finish.ended.at_ns - ends[-1] if ends and finish.ended is not None else 0


def _sample(told: Power, at_ns: int) -> PowerSample:
    raw_mv = None if told.voltage_raw is None else battery.millivolts(told.voltage_raw)
    return PowerSample(
        gauge=Gauge(
            at_ns=at_ns,
            status=told.status,
            level_percent=told.level_percent,
            voltage_mv=raw_mv,
            counter_raw=battery.known(told.counter_raw),
            current_raw=battery.known(told.current_raw),
        ),
        rails_uws={reading.shown(name): value for name, value in told.energy_uws.items()},
    )


def _thinned(items: Sequence[T]) -> tuple[T, ...]:
    """Return at most :data:`SAMPLES_MAX` of them, evenly, the first and the last among them."""
    if len(items) <= SAMPLES_MAX:
        return tuple(items)
    return tuple(items[round(at * (len(items) - 1) / (SAMPLES_MAX - 1))] for at in range(SAMPLES_MAX))
