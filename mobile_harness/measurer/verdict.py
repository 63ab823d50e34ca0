"""What a cell comes to when it ends: its energy by the best method that holds for all sessions, and its doubts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Final

from mobile_harness import stats
from mobile_harness.doubts import Evidence, doubts_of
from mobile_harness.measurer.session import worst_step
from mobile_harness.records import Cell, Doubt, Session
from mobile_harness.records.state import (
    NOT_ASKED,
    Cpus,
    Energy,
    PowerPair,
    Thermal,
    Unavailable,
    Vitals,
)
from mobile_harness.vitals import circumstances, energy
from mobile_harness.vitals.battery import calibrate

_LESS_IS_WORSE: Final = {"low_battery", "capped_clocks"}
_OF_PHONES: Final = {"heat_unknown", "clocks_unknown", "unlocked_clocks", "debuggable_app", "debuggable_system"}
"""Doubts that add nothing where the figure is no phone's anyway."""
_STEADY: Final = 1.03
"""A change of level below this is not laid to heat."""


def conclude(cell: Cell) -> Cell:
    """Return a cell whose sessions are complete with its energy and its doubts; a failed cell has neither."""
    used = energy_of(cell.sessions)
    series = [session.latency_ns for session in cell.sessions]
    steps = worst_step(series)
    evidence = Evidence(
        kind=cell.device.kind,
        sessions=cell.sessions,
        sessions_planned=cell.plan.sessions,
        runs_needed=cell.plan.min_runs,
        spread=stats.summarise_cell(cell.sessions).spread,
        steps=steps,
        circumstances=tuple(_circumstances(cell, steps, used)),
    )
    return dataclasses.replace(cell, energy=used, doubts=doubts_of(evidence))


def energy_of(sessions: Sequence[Session]) -> Energy | Unavailable | None:
    """Return the energy an inference takes above rest, or why it is not known; None where nobody looked.

    Every session is a pair of rest and load. One that could not be metered makes the cell's figure unavailable: what
    holds for a part of the sessions would be held against other cells' whole.
    """
    powers = [session.power for session in sessions if session.power is not None]
    if not powers:
        return None
    missing = [item for item in powers if isinstance(item, Unavailable)]
    if missing:
        where = "" if len(missing) == len(sessions) else f" in {len(missing)} of {len(sessions)} sessions"
        return Unavailable(reason=f"{missing[0].reason}{where}")
    pairs = [item for item in powers if isinstance(item, PowerPair)]
    gauges = [sample.gauge for pair in pairs for sample in (*pair.probes, *pair.idle, *pair.load)]
    capacity = next((pair.capacity_mah for pair in pairs if pair.capacity_mah is not None), None)
    return energy.energy_per_inference(pairs, calibrate(gauges, capacity))


def _circumstances(cell: Cell, steps: Sequence[float | None], used: Energy | Unavailable | None) -> Iterator[Doubt]:
    """Yield the worst doubt of each kind, in the order in which sessions raised them."""
    found: dict[str, Doubt] = {}
    raised = [doubt for session, step in zip(cell.sessions, steps, strict=True) for doubt in _of_session(session, step)]
    for doubt in (*_of_cooling(cell), *raised, *(circumstances.of_energy(used) if used is not None else ())):
        before = found.get(doubt.kind)
        if before is None or _is_worse(doubt, before):
            found[doubt.kind] = doubt
    yield from (doubt for doubt in found.values() if cell.device.kind == "phone" or doubt.kind not in _OF_PHONES)


def _is_worse(doubt: Doubt, other: Doubt) -> bool:
    one, two = (tuple(map(int, re.findall(r"\d+", item.message))) for item in (doubt, other))
    return one < two if doubt.kind in _LESS_IS_WORSE else one > two


def _of_cooling(cell: Cell) -> Iterator[Doubt]:
    waits = [session.cooled for session in cell.sessions if session.cooled is not None]
    warm = [item for item in waits if not item.reached]
    if warm:
        longest = max(item.waited_s for item in warm)
        of = f"{len(warm)} of {len(waits)} session{'' if len(waits) == 1 else 's'}"
        words = f"It had not cooled down before {of}, after waiting {longest:.0f} s at most."
        yield Doubt(kind="not_cooled", message=words)


def _of_session(session: Session, step: float | None) -> Iterator[Doubt]:
    before = session.cooled.vitals if session.cooled is not None else None
    after = session.after
    for vitals in (before, after):
        if vitals is not None:
            yield from _of_state(vitals)
    if before is not None and isinstance(before.thermal, Thermal):
        late = after.thermal if after is not None and isinstance(after.thermal, Thermal) else before.thermal
        yield from circumstances.of_heat(before.thermal, late)
    elif before is not None:
        words = "The device does not tell how warm it is: throttling would go unseen."
        yield Doubt(kind="heat_unknown", message=words)
    if before is not None and after is not None:
        yield from circumstances.of_throttling(before, after, step if step is not None and step > _STEADY else None)
    if session.placement is not None:
        yield from circumstances.of_placement(session.placement)
    if session.aggregate is not None:
        yield from circumstances.of_native(session.aggregate)


def _of_state(vitals: Vitals) -> Iterator[Doubt]:
    if not isinstance(vitals.battery, Unavailable):
        yield from circumstances.of_battery(vitals.battery)
    if isinstance(vitals.cpus, Cpus) or vitals.cpus.reason != NOT_ASKED.reason:
        yield from circumstances.of_clocks(vitals.cpus)
    yield from circumstances.of_screen(vitals.screen)
    yield from circumstances.of_software(vitals.software)
