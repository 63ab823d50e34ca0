"""What a cell comes to, whether its sessions have a series or only what a native tool said of one.

A tool's percentile counts as the session's own where the tool made enough runs for it. Where it prints no median its
average stands for the middle, in doubts and in ``mean_ns`` alone: an average is never shown as a median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mobile_harness.records import Session
from mobile_harness.stats import sessions as of_series
from mobile_harness.stats.sessions import Ordered, Summary


@dataclass(frozen=True, slots=True)
class Taken:
    """A session with its runs in order, none for a tool that keeps no series."""

    session: Session
    runs: Ordered

    def middle_ns(self) -> float:
        """Return the session's median, published or not; of a tool that prints none its average."""
        if self.session.aggregate is None:
            return float(max(self.runs.percentile(0.5), 1))
        return float(max(self.published_ns(0.5) or self.session.aggregate.average_ns, 1))

    def published_ns(self, share: float) -> int | None:
        """Return the session's percentile, or None where its runs are too few or its tool prints none."""
        if self.session.aggregate is None:
            return self.runs.published(share)
        return next((item.value_ns for item in self.session.aggregate.percentiles if item.share == share), None)


def taken(session: Session) -> Taken:
    """Return a session with its runs in order."""
    return Taken(session, of_series.ordered(session.latency_ns))


def middle_ns(session: Session) -> float:
    """Return a session's median, published or not; of a tool that prints none its average."""
    return taken(session).middle_ns()


def published_ns(session: Session, share: float) -> int | None:
    """Return a session's percentile, or None where its runs are too few or its tool prints none."""
    return taken(session).published_ns(share)


def runs_of(session: Session) -> int:
    """Return how many runs a session timed; 0 where its tool does not tell."""
    return session.runs or len(session.latency_ns)


def summarise_cell(sessions: Sequence[Session]) -> Summary:
    """Summarise the sessions of a cell; ``mean_ns`` is given only where a session has no series.

    Raises:
        ValueError: there is no session, or one without figures.
    """
    return summarise_taken([taken(session) for session in sessions])


def summarise_taken(sessions: Sequence[Taken]) -> Summary:
    """Summarise the sessions of a cell whose runs are in order already; see :func:`summarise_cell`."""
    if all(item.session.aggregate is None for item in sessions):
        return of_series.summarise_ordered([item.runs for item in sessions])
    middles = [item.middle_ns() for item in sessions]
    median_ns = _over(sessions, 0.5)
    averages = [float(max(_average_ns(item.session), 1)) for item in sessions]
    return Summary(
        sessions=len(sessions),
        runs=sum(runs_of(item.session) for item in sessions),
        median_ns=median_ns,
        interval=None if median_ns is None else of_series.interval(middles),
        p90_ns=_over(sessions, 0.9),
        p99_ns=_over(sessions, 0.99),
        min_ns=min(_least_ns(item.session) for item in sessions),
        spread=of_series.spread(middles),
        mean_ns=of_series.geometric_mean(averages),
    )


def _over(sessions: Sequence[Taken], share: float) -> float | None:
    found = [value for item in sessions if (value := item.published_ns(share)) is not None]
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
