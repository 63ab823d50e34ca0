"""From what a runner left behind to a session's figures, or to the failure that explains why there are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mobile_harness import parity, stats
from mobile_harness.measurer import native, surroundings
from mobile_harness.measurer.machine import Finish
from mobile_harness.records import Failure, Session, Warmup
from mobile_harness.records.state import Cooled
from mobile_harness.wire.messages import (
    Env,
    Error,
    Malformed,
    Memory,
    ParityReading,
    Phase,
    Result,
    Samples,
    Warn,
)
from mobile_harness.wire.transcript import Transcript, latencies_ns, samples_sha256

T = TypeVar("T")

LAST_WORDS_MAX = 600

RUNNER_CODES = {
    "bad_args": ("refused", "Update palmtop or the bench app: they do not understand each other."),
    "model_missing": ("refused", "The build is not where it was pushed to."),
    "model_hash": ("refused", "The build on the device is not the one that was pushed."),
    "load_failed": ("load_failed", "`palmtop predict` runs the same build alone."),
    "accelerator_unavailable": ("accelerator_unavailable", "Choose a plan for an accelerator that the device has."),
    "run_failed": ("run_failed", "`palmtop predict` runs the same build alone."),
    "check_failed": ("parity", "`palmtop verify DIR` writes the golden samples again."),
    "timeout": ("timed_out", "Choose a plan with a longer deadline."),
    "oom": ("out_of_memory", "The build needs more memory than the device gives it."),
}
_HINTS = {
    "app_crash": "Tried twice; the build or its runtime crashes on this device.",
    "hung": "Tried twice; the build or its runtime does not come back on this device.",
    "timed_out": "Tried twice; choose a longer plan, or a smaller model.",
    "lost": "Check the cable or the network, then resume the run.",
    "result_corrupt": "Tried twice; the device may be out of storage.",
    "protocol": "Tried twice; update palmtop or the bench app.",
    "refused": "Update palmtop or the bench app: they do not fit each other.",
}
_KINDS = {"CRASHED": "app_crash", "HUNG": "hung", "PARTIAL": "result_corrupt", "LOST": "lost", "REFUSED": "refused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the host knows of a session before it reads it; ``cooled`` is how the wait before it ended.

    ``accelerator`` is the one that the plan asks for.
    """

    index: int
    started_utc: str
    expected: tuple[parity.Expected, ...]
    cooled: Cooled | None = None
    accelerator: str = "cpu"


def figures(finish: Finish, frame: Frame) -> Session | Failure:
    """Return the session's figures, or why it has none."""
    if finish.outcome not in ("COMPLETE", "COMPLETE_FILE_ONLY"):
        return _not_complete(finish)
    errors = [error for error in finish.transcript.bodies(Error) if error.fatal]
    if errors:
        return _told(errors[0])
    try:
        if native.is_native(finish.transcript):
            taken = native.session(finish.transcript, frame.index, frame.started_utc)
        else:
            taken = _session(finish.transcript, frame)
        return _observed(taken, finish, frame)
    except _NotEqual as error:
        return Failure(kind="parity", message=str(error), hint="A fast wrong answer is not measured; see docs/wire.md.")
    except Malformed as error:
        return Failure(kind="protocol", message=f"The result file is not whole: {error}.", hint=_HINTS["protocol"])


def _not_complete(finish: Finish) -> Failure:
    fatal = [error for error in finish.transcript.bodies(Error) if error.fatal]
    if fatal and finish.outcome != "REFUSED":
        return _told(fatal[0])
    kind = "timed_out" if "deadline" in finish.reason and finish.outcome == "HUNG" else _KINDS[finish.outcome]
    last = " ".join(finish.evidence.split())[-LAST_WORDS_MAX:]
    hint = " ".join(filter(None, [_HINTS.get(kind, ""), f"Its last words: {last}" if last else ""]))
    memory = "; most often memory ran out" if kind == "app_crash" and "SIGKILL" in finish.reason else ""
    return Failure(kind=kind, message=f"The runner failed: {finish.reason.rstrip('.')}{memory}.", hint=hint)


def _told(error: Error) -> Failure:
    kind, hint = RUNNER_CODES.get(error.code, ("run_failed", ""))
    place = f" in phase {error.where}" if error.where else ""
    return Failure(kind=kind, message=f"The runner reports {error.code}{place}: {error.msg}", hint=hint)


class _NotEqual(Exception):
    """The build computes something else on the device."""


def _session(transcript: Transcript, frame: Frame) -> Session:
    judged = parity.judge(
        frame.expected,
        [
            parity.Reading(output=item.output, max_abs=item.max_abs, cosine=item.cos, samples=item.n)
            for item in transcript.bodies(ParityReading)
        ],
    )
    if judged.reason:
        raise _NotEqual(f"The build computes something else here than on the reference interpreter: {judged.reason}.")
    ends = {phase.name: phase for phase in transcript.bodies(Phase) if phase.edge == "end"}
    warm = _need(ends.get("warmup"), "the end of phase warmup")
    latency, result = _latencies(transcript)
    memory = {item.at: item for item in transcript.bodies(Memory)}
    before, after, end = (_need(memory.get(at), f"memory at {at}") for at in ("before_load", "after_load", "end"))
    around = {item.at: item for item in transcript.bodies(Env)}
    last = around.get("end")
    return Session(
        index=frame.index,
        load_cold_ns=_took(ends, "load_cold"),
        load_warm_ns=_took(ends, "load_warm"),
        first_ns=_took(ends, "first"),
        warmup=Warmup(runs=warm.runs or 0, elapsed_ns=_took(ends, "warmup"), converged=bool(warm.converged)),
        latency_ns=latency,
        rss_before_load_kb=before.rss_kb,
        rss_after_load_kb=after.rss_kb,
        peak_rss_kb=max(item.peak_kb or item.rss_kb for item in (after, end)),
        parity=judged.parity,
        live_gaps=transcript.live_gaps,
        started_utc=frame.started_utc,
        runs=result.runs or result.n,
        stride=max(result.stride, 1),
        busy_share=last.other_cpu if last else None,
        steal_share=last.steal if last else None,
        load_1m=around["start"].load_1m if "start" in around else None,
        notes=tuple(dict.fromkeys(warn.code[:40] for warn in transcript.bodies(Warn))),
    )


def _observed(session: Session, finish: Finish, frame: Frame) -> Session:
    """Return the session with what the device said of itself around it, and where the model ran."""
    cooled = frame.cooled
    before = cooled.vitals if cooled is not None else None
    return dataclasses.replace(
        session,
        cooled=None if cooled is None else dataclasses.replace(cooled, vitals=surroundings.kept(cooled.vitals)),
        after=None
        if finish.ended is None
        else surroundings.kept(surroundings.with_headroom(finish.ended, finish.transcript)),
        pss_after_load_kb=surroundings.pss_kb(finish.transcript, "after_load", finish.loaded),
        pss_end_kb=surroundings.pss_kb(finish.transcript, "end", finish.ended),
        mean_mhz=surroundings.mean_mhz(before, finish.ended),
        placement=surroundings.placement(finish.transcript, frame.accelerator),
        power=surroundings.power(finish, session, cooled),
        notes=(*session.notes, "looked_while_timing") if finish.overlapped else session.notes,
    )


def _need(value: T | None, what: str) -> T:
    if value is None:
        raise Malformed(f"{what} is missing")
    return value


def _took(ends: dict[str, Phase], name: str) -> int:
    return _need(_need(ends.get(name), f"the end of phase {name}").took_ns, f"the time of phase {name}")


def _latencies(transcript: Transcript) -> tuple[tuple[int, ...], Result]:
    """Return the measured latencies, held against the runner's own count, checksum and percentiles."""
    latency = latencies_ns(transcript.bodies(Samples), "measure")
    result = _need(_only(transcript.bodies(Result)), "the record `result`")
    if not latency or result.n != len(latency) or result.samples_sha256 != samples_sha256(latency):
        raise Malformed(f"{len(latency)} latencies came where the runner counts {result.n}, or their checksum differs")
    told = {0.5: result.p50, 0.9: result.p90, 0.99: result.p99}
    wrong = [share for share, value in told.items() if stats.percentile(latency, share) != value]
    if wrong:
        raise Malformed(f"the runner's p{100 * wrong[0]:.0f} is not that of its latencies")
    return latency, result


def _only(items: Sequence[T]) -> T | None:
    return items[0] if len(items) == 1 else None


def worst_step(latencies: Iterable[Sequence[int]]) -> tuple[float | None, ...]:
    """Return each session's change of level as later over earlier, None where it stood still."""
    steps = [stats.nonstationary(series) for series in latencies]
    return tuple(None if step is None else step.ratio for step in steps)
