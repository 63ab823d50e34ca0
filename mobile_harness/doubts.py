"""Why a number should not be trusted, in plain sentences. Pure; the figures come from :mod:`mobile_harness.stats`.

A doubt never hides a figure and never changes it. The first ones say what the figure is not, the others what went wrong
while it was taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mobile_harness.records import Kind, Session

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
    "random_inputs": "Timed on random inputs: no golden samples were given.",
    "stand_in_runtime": "Executed by a stand-in, not by the runtime that ships: latency and memory are the stand-in's.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a cell when it ends.

    ``steps`` are the changes of level inside each session's series, as ratio of later over earlier (None: it stood
    still). ``spread`` is how far session medians lie apart. ``runs_needed`` is the plan's least number of runs.
    """

    kind: Kind
    sessions: tuple[Session, ...]
    sessions_planned: int
    runs_needed: int
    spread: float
    steps: tuple[float | None, ...]


def doubts_of(evidence: Evidence) -> tuple[str, ...]:
    """Return the doubts about a cell, most fundamental first, each once."""
    found = (*_place(evidence), *_checks(evidence), *_steadiness(evidence), *_surroundings(evidence))
    return tuple(dict.fromkeys(found))


def _place(evidence: Evidence) -> Iterator[str]:
    if evidence.kind in _NOT_A_PHONE:
        yield _NOT_A_PHONE[evidence.kind]
    for session in evidence.sessions:
        yield from (_NOTES[note] for note in session.notes if note in _NOTES)
    if evidence.kind == "host" and evidence.sessions:
        yield "Peak memory includes Python and the runtime's library, which no app carries."


def _checks(evidence: Evidence) -> Iterator[str]:
    unchecked = sum(session.parity.samples == 0 for session in evidence.sessions)
    if unchecked:
        yield "Its outputs were not checked here: the build has no golden samples (`palmtop verify` makes them)."
    if len(evidence.sessions) < evidence.sessions_planned:
        yield f"Only {len(evidence.sessions)} of {_count(evidence.sessions_planned, 'planned session')} were taken."
    if evidence.sessions_planned == 1:
        yield "One session only: how far sessions differ is not known."
    fewest = min((len(session.latency_ns) for session in evidence.sessions), default=0)
    if fewest < evidence.runs_needed:
        yield f"Few runs: a session has {fewest}, where the plan asks for {evidence.runs_needed}."


def _steadiness(evidence: Evidence) -> Iterator[str]:
    cold = [session for session in evidence.sessions if not session.warmup.converged]
    if cold:
        yield f"Warm-up did not settle in {_of(cold, evidence)}: latency was still moving when measuring began."
    moved = [ratio for ratio in evidence.steps if ratio is not None]
    if moved:
        worst = max(moved, key=lambda ratio: abs(ratio - 1))
        yield f"Latency changed level by {100 * (worst - 1):+.0f} % during the measurement in {_of(moved, evidence)}."
    if evidence.spread > SPREAD_MAX:
        yield f"Session medians lie {100 * evidence.spread:.0f} % apart; differences below that mean nothing."


def _surroundings(evidence: Evidence) -> Iterator[str]:
    busy = [session.busy_share for session in evidence.sessions if (session.busy_share or 0) > BUSY_MAX]
    if busy:
        worst = max(share for share in busy if share is not None)
        yield f"Other processes used up to {100 * worst:.0f} % of the processors during {_of(busy, evidence)}."
    stolen = [session.steal_share for session in evidence.sessions if (session.steal_share or 0) > STEAL_MAX]
    if stolen:
        worst = max(share for share in stolen if share is not None)
        yield f"The hypervisor took up to {100 * worst:.0f} % of the processor time during {_of(stolen, evidence)}."
    gaps = sum(session.live_gaps for session in evidence.sessions)
    if gaps:
        yield f"{_count(gaps, 'record')} did not come live; the figures are from the verified result files."


def _of(some: Sequence[object], evidence: Evidence) -> str:
    return f"{len(some)} of {_count(len(evidence.sessions), 'session')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
