"""A session of a native tool: one set of the tool's own figures, no series, and outputs that nobody checked.

Such figures are another kind of runner's (``native:benchmark_model``) and are never held against an app's.
"""

from __future__ import annotations

from typing import Final

from mobile_harness.records import Aggregate, Parity, Session, Share, Warmup
from mobile_harness.wire import messages
from mobile_harness.wire.messages import Malformed, Warn
from mobile_harness.wire.transcript import Transcript

UNCHECKED: Final = Parity(ok=False, max_abs=0.0, cosine=0.0, samples=0, tolerance=0.0)


def is_native(transcript: Transcript) -> bool:
    """Say whether a tool took the session that gives no series."""
    return bool(transcript.bodies(messages.Aggregate))


def session(transcript: Transcript, index: int, started_utc: str) -> Session:
    """Return the figures of a native tool; times and memory that it does not tell are 0.

    Raises:
        Malformed: the tool gave several sets, no time, or a percentile that is none.
    """
    told = transcript.bodies(messages.Aggregate)
    if len(told) != 1 or told[0].average <= 0:
        raise Malformed("a native tool gives one set of figures, and its average is above 0")
    one = told[0]
    return Session(
        index=index,
        load_cold_ns=one.load or 0,
        load_warm_ns=0,
        first_ns=one.first or 0,
        warmup=Warmup(
            runs=one.warmup_runs or 0, elapsed_ns=(one.warmup or 0) * (one.warmup_runs or 0), converged=False
        ),
        latency_ns=(),
        rss_before_load_kb=0,
        rss_after_load_kb=0,
        peak_rss_kb=one.peak_kb or 0,
        parity=UNCHECKED,
        live_gaps=transcript.live_gaps,
        started_utc=started_utc,
        runs=one.runs or 0,
        notes=tuple(dict.fromkeys(warn.code[:40] for warn in transcript.bodies(Warn))),
        aggregate=_aggregate(one),
    )


def _aggregate(one: messages.Aggregate) -> Aggregate:
    return Aggregate(
        runner=one.runner[:40],
        runs=one.runs,
        average_ns=one.average,
        minimum_ns=one.min,
        maximum_ns=one.max,
        deviation_ns=one.deviation,
        load_ns=one.load,
        first_ns=one.first,
        peak_kb=one.peak_kb,
        percentiles=tuple(sorted((_share(*item) for item in one.percentiles.items()), key=lambda item: item.share)),
        dropped=one.dropped,
    )


def _share(word: str, value_ns: int) -> Share:
    try:
        share = float(word)
    except ValueError as error:
        raise Malformed(f"{word[:20]!r} is no share") from error
    if not 0 < share < 1 or value_ns <= 0:
        raise Malformed(f"{word[:20]!r} with {value_ns} ns is no percentile")
    return Share(share=share, value_ns=value_ns)
