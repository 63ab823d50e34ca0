"""What a cell comes to, whether its sessions have a series or only what a native tool said of one.

A tool's percentile counts as the session's own where the tool made enough runs for it. Where it prints no median its
average stands for the middle, in doubts and in ``mean_ns`` alone: an average is never shown as a median.
"""

from __future__ import annotations

from collections.abc import Sequence

from mobile_harness.records import Session
from mobile_harness.stats import sessions as of_series
from mobile_harness.stats.sessions import Summary


def middle_ns(session: Session) -> float:
    """Return a session's median, published or not; of a tool that prints none its average."""
    if session.aggregate is None:
        return float(max(of_series.percentile(session.latency_ns, 0.5), 1))
    return float(max(published_ns(session, 0.5) or session.aggregate.average_ns, 1))


def published_ns(session: Session, share: float) -> int | None:
    """Return a session's percentile, or None where its runs are too few or its tool prints none."""
    if session.aggregate is None:
        return of_series.published(session.latency_ns, share)
    return next((item.value_ns for item in session.aggregate.percentiles if item.share == share), None)


def runs_of(session: Session) -> int:
    """Return how many runs a session timed; 0 where its tool does not tell."""
    return session.runs or len(session.latency_ns)


def summarise_cell(sessions: Sequence[Session]) -> Summary:
    """Summarise the sessions of a cell; ``mean_ns`` is given only where a session has no series.

    Raises:
        ValueError: there is no session, or one without figures.
    """
    if all(session.aggregate is None for session in sessions):
        return of_series.summarise([session.latency_ns for session in sessions])
    middles = [middle_ns(session) for session in sessions]
    median_ns = _over(sessions, 0.5)
    averages = [float(max(_average_ns(session), 1)) for session in sessions]
    return Summary(
        sessions=len(sessions),
        runs=sum(map(runs_of, sessions)),
        median_ns=median_ns,
        interval=None if median_ns is None else of_series.interval(middles),
        p90_ns=_over(sessions, 0.9),
        p99_ns=_over(sessions, 0.99),
        min_ns=min(map(_least_ns, sessions)),
        spread=of_series.spread(middles),
        mean_ns=of_series.geometric_mean(averages),
    )


def _over(sessions: Sequence[Session], share: float) -> float | None:
    found = [value for session in sessions if (value := published_ns(session, share)) is not None]
    return of_series.geometric_mean([float(max(value, 1)) for value in found]) if len(found) == len(sessions) else None


def _average_ns(session: Session) -> float:
    if session.aggregate is not None:
        return float(session.aggregate.average_ns)
    return sum(session.latency_ns) / len(session.latency_ns)


def _least_ns(session: Session) -> int:
    if session.aggregate is None:
        return min(session.latency_ns)
    least = session.aggregate.minimum_ns
    return session.aggregate.average_ns if least is None else least
