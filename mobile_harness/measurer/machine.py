"""One session of one build on one device as a state machine: events in, instructions out, no I/O and no clock.

``launched -> hello -> phases -> result -> bye -> file pulled -> verified``. How it ends:

- COMPLETE: the result file came and its checksum holds. COMPLETE_FILE_ONLY: so it did, but records were missing live.
- PARTIAL: the runner ended without a verified file; what came is kept as evidence and never used as figures.
- CRASHED: it is gone without ``bye``. HUNG: no sign of life, or past its deadline; it was stopped.
- REFUSED: it speaks another major version, or measured another model. LOST: the way to the device is gone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mobile_harness.records.state import Vitals
from mobile_harness.transports.base import Job, Moment
from mobile_harness.wire.messages import MAJOR, Beat, Bye, Hello, Phase, Record
from mobile_harness.wire.transcript import Collector, Transcript, merge, read_file

Outcome = Literal["COMPLETE", "COMPLETE_FILE_ONLY", "PARTIAL", "CRASHED", "HUNG", "REFUSED", "LOST"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to wait, in seconds.

    ``silence_s`` is three beats. A load or a first inference is one native call, in which some runtimes keep even a
    thread of their process from running: there and before the first word the wait is longer.
    """

    hello_s: float = 120.0
    silence_s: float = 6.0
    native_silence_s: float = 60.0
    grace_s: float = 10.0
    deadline_s: float = 300.0


_NATIVE_PHASES = ("start", "load_cold", "load_warm", "parity", "first")


@dataclass(frozen=True, slots=True)
class Launched:
    """The runner was started."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A poll returned, with or without lines; ``ended`` is empty while the runner runs."""

    at_s: float
    lines: tuple[str, ...]
    ended: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A verb said that the way to the device is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class Investigated:
    """The device said what it knows of the runner's end."""

    evidence: str


@dataclass(frozen=True, slots=True)
class Observed:
    """The device said how it stands; None: it could not be asked."""

    at_s: float
    moment: Moment
    vitals: Vitals | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The runner is ended for certain."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The result file came, or there is none."""

    data: bytes | None


Event = Launched | Heard | Gone | Investigated | Observed | Stopped | Pulled


@dataclass(frozen=True, slots=True)
class Poll:
    """Wait for lines."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Observe:
    """Ask the device how it stands. Only between timed phases: looking costs it time."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Investigate:
    """Ask the device what it knows."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the runner."""


@dataclass(frozen=True, slots=True)
class Pull:
    """Fetch the result file of a run."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The session is over.

    ``loaded`` and ``ended`` are how the device stood when the warm-up began and when the timed runs were over.
    ``overlapped``: looking at it lasted until timing had begun.
    """

    outcome: Outcome
    reason: str
    evidence: str
    transcript: Transcript
    loaded: Vitals | None = None
    ended: Vitals | None = None
    overlapped: bool = False


Instruction = Poll | Observe | Investigate | Stop | Pull | Finish

POLL_S = 0.5


class Measurement:
    """The state machine; the same events give the same instructions. ``phase`` and ``done`` tell the progress."""

    def __init__(self, job: Job, limits: Limits) -> None:
        self._job = job
        self._limits = limits
        self._live = Collector(job.run)
        self._started_s = 0.0
        self._sign_s = 0.0
        self._bye_s: float | None = None
        self._hello: Hello | None = None
        self.phase = "start"
        self.done = 0
        self._first_s = 0.0
        self._ending: tuple[Outcome, str] | None = None
        self._evidence = ""
        self._asked = False
        self._held: Finish | None = None
        self._wanted: Moment | None = None
        self._seen: dict[Moment, Vitals | None] = {}
        self._looking = False
        self._overlapped = False

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        """Take an event and say what to do next, in order."""
        match event:
            case Launched():
                self._started_s = self._sign_s = event.at_s
                return (Poll(POLL_S),)
            case Heard():
                return self._heard(event)
            case Gone():
                return self._end("LOST", event.reason)
            case Investigated():
                self._evidence = event.evidence
                return () if self._held is None else (dataclasses.replace(self._held, evidence=event.evidence),)
            case Observed():
                self._sign_s = max(self._sign_s, event.at_s)
                self._seen[event.moment] = event.vitals
                self._looking = event.moment == "loaded"
                return ()
            case Stopped():
                return (Pull(self._job.run),)
            case Pulled():
                finish = self._finish(event.data)
                if self._asked or finish.outcome in ("COMPLETE", "COMPLETE_FILE_ONLY"):
                    return (finish,)
                self._asked, self._held = True, finish
                return (Investigate(),)

    def _heard(self, event: Heard) -> tuple[Instruction, ...]:
        records = [record for line in event.lines for record in self._live.feed(line)]
        if records:
            self._sign_s = event.at_s
        for record in records:
            refusal = self._note(record, event.at_s)
            if refusal:
                return self._end("REFUSED", refusal)
        self._looking = False
        if event.ended:
            look = (Observe("ended"),) if self._bye_s is not None and "ended" not in self._seen else ()
            return (*look, *self._end("CRASHED", event.ended, asks=self._bye_s is None))
        late = self._too_late(event.at_s)
        if late:
            return self._end("HUNG", late)
        if self._bye_s is not None and event.at_s - self._bye_s > self._limits.grace_s:
            return self._end("PARTIAL", "it said goodbye and did not end")
        return self._look() or (Poll(POLL_S),)

    def _look(self) -> tuple[Instruction, ...]:
        """Ask for a look at the device where the runner's phase allows one, and at once for what came meanwhile."""
        wanted, self._wanted = self._wanted, None
        return () if wanted is None or wanted in self._seen else (Observe(wanted), Poll(0.0))

    def _note(self, record: Record, at_s: float) -> str:
        """Remember what a record says; returns why the session is refused, if it is."""
        match record.body:
            case Hello() as hello:
                self._hello = hello
                return self._refusal(hello)
            case Phase() as edge:
                self._pass(edge)
            case Beat(phase=phase, done=done):
                self.phase, self.done = phase[:40], done
            case Bye():
                self._bye_s = at_s
            case _:
                pass
        return ""

    def _pass(self, phase: Phase) -> None:
        """Note an edge of a phase, and whether the device may be looked at behind it: warm-up is not timed."""
        if phase.edge == "begin":
            self.phase, self.done = phase.name[:40], 0
        if phase.name == "first" and phase.took_ns is not None:
            self._first_s = phase.took_ns / 1e9
        match phase.name, phase.edge:
            case "warmup", "begin":
                self._wanted = "loaded"
            case "warmup", "end":
                self._wanted = None
            case "measure", "begin":
                self._wanted = None
                self._overlapped = self._overlapped or self._looking
            case "measure", "end":
                self._wanted = "ended"

    def _refusal(self, hello: Hello) -> str:
        if hello.major != MAJOR:
            return f"the runner speaks palmtop-bench {hello.proto[:20]}, this palmtop {MAJOR}.x"
        if hello.run != self._job.run:
            return f"the runner answers for the run {hello.run[:20]!r}"
        if hello.model_sha256 and hello.model_sha256 != self._job.model_sha256:
            return f"the runner has another model: sha256 {hello.model_sha256[:12]}…"
        return ""

    def _too_late(self, at_s: float) -> str:
        if at_s - self._started_s > self._limits.deadline_s:
            return f"it ran past its deadline of {self._limits.deadline_s:.0f} s in phase {self.phase}"
        if self._bye_s is not None:
            return ""
        patience = self._patience_s()
        if at_s - self._sign_s > patience:
            return f"it gave no sign of life for {patience:.0f} s in phase {self.phase}"
        return ""

    def _patience_s(self) -> float:
        if self._hello is None:
            return self._limits.hello_s
        if self.phase in _NATIVE_PHASES:
            return self._limits.native_silence_s
        return max(self._limits.silence_s, 3 * self._first_s)

    def _end(self, outcome: Outcome, reason: str, *, asks: bool = True) -> tuple[Instruction, ...]:
        """End the runner. One that said goodbye and ended is asked about only if its file turns out to be no use."""
        self._ending = self._ending or (outcome, reason)
        self._asked = self._asked or asks
        return (Investigate(), Stop()) if asks else (Pull(self._job.run),)

    def _finish(self, data: bytes | None) -> Finish:
        transcript = merge(self._live, None if data is None else read_file(data, self._live.by_text))
        outcome, reason = self._ending or ("PARTIAL", "")
        if outcome != "REFUSED" and transcript.verified:
            outcome, reason = "COMPLETE_FILE_ONLY" if transcript.live_gaps else "COMPLETE", ""
            refusals = [refusal for hello in transcript.bodies(Hello) if (refusal := self._refusal(hello))]
            if refusals:
                outcome, reason = "REFUSED", refusals[0]
        elif outcome == "CRASHED" and transcript.bodies(Bye):
            outcome, reason = "PARTIAL", f"its result file cannot be used: {transcript.fault}"
        elif outcome == "CRASHED":
            reason = f"it ended with {reason} in phase {self.phase}"
        return Finish(
            outcome=outcome,
            reason=reason,
            evidence=self._evidence,
            transcript=transcript,
            loaded=self._seen.get("loaded"),
            ended=self._seen.get("ended"),
            overlapped=self._overlapped,
        )
