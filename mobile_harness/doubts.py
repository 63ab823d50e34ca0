"""Why a number should not be trusted, in plain sentences. Pure; the figures come from :mod:`mobile_harness.stats`.

A doubt never hides a figure and never changes it. The first ones say what the figure is not, the others what went wrong
while it was taken. Sentences of one kind may differ in their whole numbers and in no other word than a plural.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mobile_harness.records import Doubt, Kind, Session

SPREAD_MAX = 0.05
"""Session medians further apart than the margin that comparisons are made at cannot support one."""
BUSY_MAX = 0.10
STEAL_MAX = 0.01

_NOT_A_PHONE: dict[Kind, str] = {
    "host": "Taken on this host, not on a phone: it ranks no build for any phone.",
    "emulator": "Taken on an emulator, whose processor is the host's: it is no phone's figure.",
    "simulator": "Taken in a simulator, whose processor is the host's: it is no phone's figure.",
    "virtual": "Taken on a virtual device, whose processor is the host's: it is no phone's figure.",
}
_NOTES = {
    "load_includes_import": "The cold load includes importing the runtime's library.",
    "peak_not_reset": "The peak memory includes importing the runtime and checking its outputs.",
    "looked_while_timing": "The device was still being asked for its memory when timing began.",
    "random_inputs": "Timed on random inputs: no golden samples were given.",
    "stand_in_runtime": "Executed by a stand-in, not by the runtime that ships: latency and memory are the stand-in's.",
}


_Found = tuple[str, str]
"""A kind and a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a cell when it ends.

    ``steps`` are the changes of level inside each session's series, as ratio of later over earlier (None: it stood
    still). ``spread`` is how far session medians lie apart. ``runs_needed`` is the plan's least number of runs.
    ``circumstances`` are the doubts that the device's own words raised; see :mod:`mobile_harness.vitals.circumstances`.
    """

    kind: Kind
    sessions: tuple[Session, ...]
    sessions_planned: int
    runs_needed: int
    spread: float
    steps: tuple[float | None, ...]
    circumstances: tuple[Doubt, ...] = ()


def doubts_of(evidence: Evidence) -> tuple[Doubt, ...]:
    """Return the doubts about a cell, most fundamental first, each once."""
    found = (*_place(evidence), *_checks(evidence), *_steadiness(evidence), *_surroundings(evidence))
    own = tuple(Doubt(kind=kind, message=message) for kind, message in dict.fromkeys(found))
    return (*own, *(doubt for doubt in evidence.circumstances if doubt not in own))


def _place(evidence: Evidence) -> Iterator[_Found]:
    if evidence.kind in _NOT_A_PHONE:
        yield f"on_{evidence.kind}", _NOT_A_PHONE[evidence.kind]
    for session in evidence.sessions:
        yield from ((note, _NOTES[note]) for note in session.notes if note in _NOTES)
    if evidence.kind == "host" and evidence.sessions:
        yield "host_memory", "Peak memory includes Python and the runtime's library, which no app carries."


def _checks(evidence: Evidence) -> Iterator[_Found]:
    unchecked = sum(session.parity.samples == 0 and session.aggregate is None for session in evidence.sessions)
    if unchecked:
        words = "Its outputs were not checked here: the build has no golden samples (`palmtop verify` makes them)."
        yield "unchecked_outputs", words
    if len(evidence.sessions) < evidence.sessions_planned:
        planned = _count(evidence.sessions_planned, "planned session")
        yield "missing_sessions", f"Only {len(evidence.sessions)} of {planned} were taken."
    if evidence.sessions_planned == 1:
        yield "one_session", "One session only: how far sessions differ is not known."
    fewest = min((_runs(session) for session in evidence.sessions), default=0)
    if fewest < evidence.runs_needed:
        yield "few_runs", f"Few runs: a session has {fewest}, where the plan asks for {evidence.runs_needed}."


def _runs(session: Session) -> int:
    return len(session.latency_ns) if session.aggregate is None else session.runs


def _steadiness(evidence: Evidence) -> Iterator[_Found]:
    cold = [item for item in evidence.sessions if not item.warmup.converged and item.aggregate is None]
    if cold:
        words = f"Warm-up did not settle in {_of(cold, evidence)}: latency was still moving when measuring began."
        yield "warm_up", words
    moved = [ratio for ratio in evidence.steps if ratio is not None]
    if moved:
        worst = max(moved, key=lambda ratio: abs(ratio - 1))
        words = f"Latency changed level by {100 * (worst - 1):+.0f} % during the measurement in {_of(moved, evidence)}."
        yield "level_change", words
    if evidence.spread > SPREAD_MAX:
        words = f"Session medians lie {100 * evidence.spread:.0f} % apart; differences below that mean nothing."
        yield "session_spread", words


def _surroundings(evidence: Evidence) -> Iterator[_Found]:
    busy = [session.busy_share for session in evidence.sessions if (session.busy_share or 0) > BUSY_MAX]
    if busy:
        worst = max(share for share in busy if share is not None)
        words = f"Other processes used {100 * worst:.0f} % of the processors at worst, in {_of(busy, evidence)}."
        yield "busy", words
    stolen = [session.steal_share for session in evidence.sessions if (session.steal_share or 0) > STEAL_MAX]
    if stolen:
        worst = max(share for share in stolen if share is not None)
        words = f"The hypervisor took {100 * worst:.0f} % of the processor time at worst, in {_of(stolen, evidence)}."
        yield "stolen", words
    gaps = sum(session.live_gaps for session in evidence.sessions)
    if gaps:
        words = f"{_count(gaps, 'record')} did not come live; the figures are from the verified result files."
        yield "live_gaps", words


def _of(some: Sequence[object], evidence: Evidence) -> str:
    return f"{len(some)} of {_count(len(evidence.sessions), 'session')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
