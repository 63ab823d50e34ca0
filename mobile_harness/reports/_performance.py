"""A cell's figures as reports show them: over sessions what is concluded, over time and over runs what is looked at."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mobile_harness import stats
from mobile_harness.records import Cell, Session
from mobile_harness.records.state import Battery, Part, Thermal, Vitals
from mobile_harness.reports.base import Distribution, Heat, Performance, SessionFigures

TRACE_POINTS: Final = 120
"""Points of all sessions of a cell together; a session has at least :data:`TRACE_LEAST`, or one a run."""
TRACE_LEAST: Final = 12
BINS: Final = 40
_Runs = npt.NDArray[np.int64]
_STAND_IN = "stand_in_runtime"
_HALF = stats.needed(0.75)
"""By symmetry the runs from which both quartiles are published."""


def performance_of(cell: Cell) -> Performance:
    """Return the figures of a measured cell, which has sessions."""
    sessions = cell.sessions
    taken = [stats.taken(session) for session in sessions]
    summary = stats.summarise_taken(taken)
    checked = [session.parity for session in sessions if session.parity.samples]
    points = max(TRACE_POINTS // len(sessions), TRACE_LEAST)
    series = [np.asarray(session.latency_ns, np.int64) for session in sessions]
    return Performance(
        median_ns=summary.median_ns,
        interval=summary.interval,
        p90_ns=summary.p90_ns,
        p99_ns=summary.p99_ns,
        runs=sum(map(stats.runs_of, sessions)),
        mean_ns=summary.mean_ns,
        load_cold_ns=_middle(session.load_cold_ns for session in sessions),
        load_warm_ns=_middle(session.load_warm_ns for session in sessions),
        first_ns=_middle(session.first_ns for session in sessions),
        peak_rss_kb=max(session.peak_rss_kb for session in sessions) or None,
        model_rss_kb=_model_rss_kb(sessions),
        pss_kb=_pss_kb(sessions),
        output_max_abs=max((parity.max_abs for parity in checked), default=None),
        output_cosine=min((parity.cosine for parity in checked), default=None),
        stand_in=any(_STAND_IN in session.notes for session in sessions),
        sessions=tuple(_session(item, runs, points) for item, runs in zip(taken, series, strict=True)),
        distribution=_distribution(series),
    )


def _middle(values: Iterable[int]) -> int | None:
    """Return the median of times; None where they are 0, which is what no runner told."""
    return round(statistics.median(values)) or None


def _model_rss_kb(sessions: Sequence[Session]) -> int | None:
    if any(session.aggregate is not None for session in sessions):
        return None
    return max(session.rss_after_load_kb - session.rss_before_load_kb for session in sessions)


def _pss_kb(sessions: Sequence[Session]) -> int | None:
    told = (value for session in sessions for value in (session.pss_after_load_kb, session.pss_end_kb))
    return max((value for value in told if value is not None), default=None)


def _session(taken: stats.Taken, runs: _Runs, points: int) -> SessionFigures:
    session = taken.session
    quartiles = len(runs) >= _HALF
    at_ns, trace_ns = _trace(runs, session.stride, points)
    return SessionFigures(
        index=session.index,
        runs=stats.runs_of(session),
        median_ns=taken.published_ns(0.5),
        q25_ns=taken.runs.percentile(0.25) if quartiles else None,
        q75_ns=taken.runs.percentile(0.75) if quartiles else None,
        p90_ns=taken.published_ns(0.9),
        load_cold_ns=session.load_cold_ns,
        load_warm_ns=session.load_warm_ns,
        first_ns=session.first_ns,
        peak_rss_kb=session.peak_rss_kb,
        warmup_runs=session.warmup.runs,
        warmup_ns=session.warmup.elapsed_ns,
        warmup_converged=session.warmup.converged,
        started_utc=session.started_utc,
        trace_at_ns=at_ns,
        trace_ns=trace_ns,
        heat=_heat(session),
    )


def _trace(series: _Runs, stride: int, points: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return when blocks of runs ended and their medians: a slow-down stays visible, single outliers do not."""
    if not len(series):
        return (), ()
    size = max(len(series) // points, 1)
    blocks = np.sort(series[: len(series) // size * size].reshape(-1, size), axis=1)
    elapsed = np.cumsum(blocks.sum(axis=1)) * max(stride, 1)
    return tuple(elapsed.tolist()), tuple(blocks[:, (size - 1) // 2].tolist())


def _distribution(series: Sequence[_Runs]) -> Distribution | None:
    runs = np.concatenate(series).astype(np.float64)
    if len(runs) < stats.needed(0.5):
        return None
    runs.sort()
    low = max(float(runs[0]), 1.0)
    high = max(float(runs[math.ceil(0.99 * len(runs)) - 1]), low * 1.001, low + BINS)
    inside = runs[runs <= high]
    place = np.log(np.maximum(inside, low) / low) * (BINS / math.log(high / low))
    counts = np.bincount(np.minimum(place.astype(np.int64), BINS - 1), minlength=BINS)
    return Distribution(
        low_ns=round(low), high_ns=round(high), counts=tuple(counts.tolist()), above=len(runs) - len(inside)
    )


def _heat(session: Session) -> Heat | None:
    before, after = session.cooled.vitals if session.cooled else None, session.after
    if before is None and after is None:
        return None
    start, end = _warmth(before), _warmth(after)
    part = next((part for part in _PARTS if part in start and part in end), None)
    part = part or next((part for part in _PARTS if part in start or part in end), None)
    return Heat(
        part=part,
        start_c=start.get(part) if part else None,
        end_c=end.get(part) if part else None,
        status_start=_status(before),
        status_end=_status(after),
        waited_s=session.cooled.waited_s if session.cooled else 0.0,
        cooled=session.cooled.reached if session.cooled else True,
        reason=session.cooled.reason if session.cooled else "",
        mean_mhz=session.mean_mhz,
    )


_PARTS: Final[tuple[Part, ...]] = ("skin", "battery", "cpu")
"""What is shown of a device's temperatures: what throttles it, else the nearest thing."""


def _warmth(vitals: Vitals | None) -> dict[Part, float]:
    if vitals is None:
        return {}
    readings = [vitals.thermal.celsius(part) if isinstance(vitals.thermal, Thermal) else None for part in _PARTS]
    found = {part: value for part, value in zip(_PARTS, readings, strict=True) if value is not None}
    if "battery" not in found and isinstance(vitals.battery, Battery) and vitals.battery.temperature_c is not None:
        found["battery"] = vitals.battery.temperature_c
    return found


def _status(vitals: Vitals | None) -> int | None:
    return vitals.thermal.status if vitals is not None and isinstance(vitals.thermal, Thermal) else None
