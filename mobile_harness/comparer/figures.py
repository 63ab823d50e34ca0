"""One metric of two cells: what is held against what, before any verdict.

Sessions are summarised by one figure each and tested by their ratio; energy has the band of its meter; sizes are
counted. The verdict waits until all tests of a comparison are known, since their number is part of it.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mobile_harness import stats
from mobile_harness.comparer.values import Change, Criteria, Metric
from mobile_harness.records import Cell
from mobile_harness.records.state import Energy, EnergyMethod, Unavailable

BANDS: Final[dict[EnergyMethod, float]] = {"power_monitors": 0.05, "charge_counter": 0.20, "current_voltage": 0.30}
"""How far a relative change on one device by one method may be off; a judgement (:mod:`mobile_harness.vitals.energy`).
"""
UNDECIDED: Final = "inconclusive"
AVERAGES: Final = "Averages, not medians: the tool prints no other."
_Figures = dict[Metric, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A change before its verdict, with the deviation between sessions where it is made of theirs."""

    change: Change
    deviation: float | None = None


_UNITS: Final[dict[Metric, str]] = {"latency": "ns", "p90": "ns", "load": "ns", "memory": "kB"}


def changes_of(before: Cell, after: Cell, criteria: Criteria) -> Iterator[Compared]:
    """Yield every metric that both cells have, tested but not judged yet (``verdict`` is ``inconclusive``)."""
    first, second = _figures_of(before), _figures_of(after)
    for metric, unit in _UNITS.items():
        sides = first[metric], second[metric]
        if all(sides):
            change = _by_sessions(metric, unit, sides, criteria)
            change = _with_reason(change, AVERAGES) if metric == "latency" and _averaged(before, after) else change
            yield Compared(change=change, deviation=pooled_deviation(*sides))
    energy = _energy(before.energy, after.energy)
    if energy is not None:
        yield Compared(change=energy)


def _figures_of(cell: Cell) -> _Figures:
    """Return one figure a session of every metric; those of a metric are none where a session lacks its own."""
    taken = [stats.taken(session) for session in cell.sessions]
    return {
        "latency": _known([item.middle_ns() for item in taken]),
        "p90": _known([item.published_ns(0.9) for item in taken]),
        "load": _known([session.load_cold_ns for session in cell.sessions]),
        "memory": _known([session.peak_rss_kb for session in cell.sessions]),
    }


def _averaged(*cells: Cell) -> bool:
    """Say whether a session has no series and its tool printed no median either."""
    sessions = [session for cell in cells for session in cell.sessions if session.aggregate is not None]
    return any(stats.published_ns(session, 0.5) is None for session in sessions)


def _known(values: Sequence[float | None]) -> list[float]:
    """Return all figures, or none where a session lacks one or has nothing to take a logarithm of."""
    known = [float(value) for value in values if value is not None and value > 0]
    return known if len(known) == len(values) else []


def _by_sessions(metric: Metric, unit: str, sides: tuple[list[float], list[float]], criteria: Criteria) -> Change:
    before, after = sides
    found = stats.ratio(before, after, criteria.confidence)
    centres = [stats.geometric_mean(side) for side in sides]
    return Change(
        metric=metric,
        unit=unit,
        before=centres[0],
        after=centres[1],
        effect=centres[1] / centres[0],
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        method="none" if found is None else "sessions",
        verdict=UNDECIDED,
        reason="",
        p=None if found is None else found.p,
        rank_p=None if found is None else found.rank_p,
        sessions_before=len(before),
        sessions_after=len(after),
    )


def pooled_deviation(*sides: list[float]) -> float | None:
    """Return the standard deviation between the sessions of all sides, of the logarithm; None where it is not known."""
    found = [stats.deviation(side) for side in sides]
    known = [(value, len(side) - 1) for value, side in zip(found, sides, strict=True) if value is not None]
    if not known:
        return None
    return math.sqrt(sum(value**2 * weight for value, weight in known) / sum(weight for _, weight in known))


def session_medians(cell: Cell) -> list[float]:
    """Return the median latency of each session in nanoseconds."""
    return [stats.middle_ns(session) for session in cell.sessions]


def _energy(before: Energy | Unavailable | None, after: Energy | Unavailable | None) -> Change | None:
    """Compare energy by one method only; None where neither side says anything."""
    if before is None and after is None:
        return None
    figures = [side.per_inference_uj if isinstance(side, Energy) else None for side in (before, after)]
    plain = Change(
        metric="energy", unit="uJ", before=figures[0], after=figures[1], effect=None, low=None, high=None,
        method="none", verdict=UNDECIDED, reason="",
    )  # fmt: skip
    if not isinstance(before, Energy) or not isinstance(after, Energy):
        return _with_reason(plain, f"Not compared: {_missing(before, after)}.")
    if before.method != after.method:
        words = f"Not compared: {_said(before.method)} before, {_said(after.method)} after; methods are never mixed."
        return _with_reason(plain, words)
    if min(before.per_inference_uj, after.per_inference_uj) <= 0:
        return _with_reason(plain, "Not compared: a figure is not above 0.")
    effect = after.per_inference_uj / before.per_inference_uj
    reach = 1 + max(BANDS[before.method], statistics.fmean((before.spread, after.spread)))
    return Change(
        metric="energy",
        unit="uJ",
        before=before.per_inference_uj,
        after=after.per_inference_uj,
        effect=effect,
        low=effect / reach,
        high=effect * reach,
        method="meter",
        verdict=UNDECIDED,
        reason=f"By {_said(before.method)}, good to {100 * (reach - 1):.0f} %.",
        sessions_before=before.pairs,
        sessions_after=after.pairs,
    )


def _missing(before: Energy | Unavailable | None, after: Energy | Unavailable | None) -> str:
    for side, name in ((before, "before"), (after, "after")):
        if isinstance(side, Unavailable):
            return f"there is no figure {name} ({side.reason.rstrip('.')})"
        if side is None:
            return f"it was not asked for {name}"
    raise AssertionError("both sides have a figure")


def _said(method: str) -> str:
    return method.replace("_", " ")


def _with_reason(change: Change, reason: str) -> Change:
    return dataclasses.replace(change, reason=reason)


def size_of(before_bytes: int, after_bytes: int) -> Change:
    """Compare the sizes of two builds: counted, so that any difference is a fact."""
    return Change(
        metric="size",
        unit="B",
        before=float(before_bytes),
        after=float(after_bytes),
        effect=after_bytes / before_bytes if before_bytes else None,
        low=after_bytes / before_bytes if before_bytes else None,
        high=after_bytes / before_bytes if before_bytes else None,
        method="exact",
        verdict=UNDECIDED,
        reason="",
    )
