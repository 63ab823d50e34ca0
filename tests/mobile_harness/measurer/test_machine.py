"""The state machine alone: events in, instructions out; no process, no clock."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_harness import plans
from mobile_harness.measurer.machine import (
    Event,
    Finish,
    Gone,
    Heard,
    Instruction,
    Investigate,
    Investigated,
    Launched,
    Limits,
    Measurement,
    Observe,
    Observed,
    Poll,
    Pull,
    Pulled,
    Stop,
    Stopped,
)
from mobile_harness.records.state import Vitals
from mobile_harness.transports.base import Job
from mobile_harness.wire import frames, messages
from mobile_harness.wire.messages import Beat, Body, Bye, Hello, Phase, Record

RUN = "00c0ffee"
SHA = "ab" * 32
JOB = Job(run=RUN, target="onnx", model="m", model_sha256=SHA, golden=None, plan=plans.load("quick"))
HELLO = Hello(
    proto="1.0", run=RUN, app="a", app_ver="1", runtime="r", runtime_ver="1", model_sha256=SHA, os="o", device="d",
    pid=1, page_size=4096, clock="c",
)  # fmt: skip
ENDING = (Investigate(), Stop())
LOOK = Vitals(at_ns=7)


def text(seq: int, body: Body) -> str:
    return messages.to_text(Record(seq=seq, at_ns=seq, body=body))


def lines(*bodies: Body, start: int = 0) -> tuple[str, ...]:
    return tuple(line for seq, body in enumerate(bodies, start) for line in frames.encode(RUN, seq, text(seq, body)))


def whole(*bodies: Body) -> tuple[tuple[str, ...], bytes]:
    """Live lines and the result file of a session that says these and goodbye."""
    head = "".join(text(seq, body) + "\n" for seq, body in enumerate(bodies)).encode()
    bye = Bye(exit="ok", records=len(bodies), sha256=hashlib.sha256(head).hexdigest())
    return lines(*bodies, bye), head + text(len(bodies), bye).encode() + b"\n"


def begun() -> Measurement:
    machine = Measurement(JOB, Limits())
    assert machine.handle(Launched(100.0)) == (Poll(0.5),)
    return machine


def finish(machine: Measurement, data: bytes | None, evidence: str = "") -> Finish:
    """End a session whose device was asked what it knows of the end."""
    assert machine.handle(Investigated(evidence)) == ()
    assert machine.handle(Stopped()) == (Pull(RUN),)
    return pulled(machine, data)


def pulled(machine: Measurement, data: bytes | None) -> Finish:
    (done,) = machine.handle(Pulled(data))
    assert isinstance(done, Finish)
    return done


def test_a_session_that_says_all_and_ends_is_complete() -> None:
    live, data = whole(HELLO, Phase(name="measure", edge="begin"))
    machine = begun()
    assert machine.handle(Heard(101, live[:1], "")) == (Poll(0.5),)
    assert machine.handle(Heard(102, live[1:], "")) == (Poll(0.5),)
    assert machine.handle(Heard(103, (), "exit code 0")) == (Observe("ended"), Pull(RUN))
    done = pulled(machine, data)
    assert (done.outcome, done.reason, done.transcript.live_gaps) == ("COMPLETE", "", 0)
    assert machine.phase == "measure"


# looks at the device --------------------------------------------------------------------------------------------------

WARM, WARMED = Phase(name="warmup", edge="begin"), Phase(name="warmup", edge="end", took_ns=1)
TIMED, DONE = Phase(name="measure", edge="begin"), Phase(name="measure", edge="end", took_ns=1)


def test_the_device_is_looked_at_when_the_warm_up_begins_and_when_timing_is_over() -> None:
    live, data = whole(HELLO, WARM, WARMED, TIMED, DONE)
    machine = begun()
    assert machine.handle(Heard(101, live[:2], "")) == (Observe("loaded"), Poll(0.0))
    assert machine.handle(Observed(102, "loaded", LOOK)) == ()
    assert machine.handle(Heard(102, (), "")) == (Poll(0.5),)
    assert machine.handle(Heard(103, live[2:4], "")) == (Poll(0.5),)
    assert machine.handle(Heard(104, live[4:5], "")) == (Observe("ended"), Poll(0.0))
    assert machine.handle(Observed(105, "ended", None)) == ()
    assert machine.handle(Heard(105, live[5:], "")) == (Poll(0.5),)
    assert machine.handle(Heard(106, (), "exit code 0")) == (Pull(RUN),)
    done = pulled(machine, data)
    assert (done.loaded, done.ended, done.overlapped) == (LOOK, None, False)


@pytest.mark.parametrize(
    "said", [(WARM, WARMED), (WARM, WARMED, TIMED), (TIMED,), (Phase(name="first", edge="begin"),)]
)
def test_it_is_never_looked_at_where_timing_may_have_begun(said: tuple[Body, ...]) -> None:
    assert begun().handle(Heard(101, lines(HELLO, *said), "")) == (Poll(0.5),)


def test_a_look_that_lasts_into_timing_is_told() -> None:
    live, data = whole(HELLO, WARM, WARMED, TIMED, DONE)
    machine = begun()
    machine.handle(Heard(101, live[:2], ""))
    machine.handle(Observed(103, "loaded", LOOK))
    machine.handle(Heard(103, live[2:4], ""))
    machine.handle(Heard(104, live[4:], "exit code 0"))
    assert finish(machine, data).overlapped


def test_a_look_that_takes_its_time_is_not_taken_for_a_hang() -> None:
    machine = begun()
    machine.handle(Heard(101, lines(HELLO, WARM), ""))
    machine.handle(Observed(120, "loaded", None))
    assert machine.handle(Heard(120, (), "")) == (Poll(0.5),)
    assert machine.handle(Heard(126.5, (), "")) == ENDING


def test_missing_live_lines_leave_the_file_only() -> None:
    live, data = whole(HELLO, Beat(phase="a", done=1))
    machine = begun()
    machine.handle(Heard(101, live[::2], "exit code 0"))
    done = finish(machine, data)
    assert (done.outcome, done.transcript.live_gaps) == ("COMPLETE_FILE_ONLY", 1)


def test_no_goodbye_is_a_crash_and_says_where() -> None:
    machine = begun()
    machine.handle(Heard(101, lines(HELLO, Phase(name="warmup", edge="begin")), "signal SIGSEGV"))
    done = finish(machine, None, "stack")
    assert (done.outcome, done.evidence) == ("CRASHED", "stack")
    assert done.reason == "it ended with signal SIGSEGV in phase warmup"


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_goodbye_without_a_verified_file_is_partial(cut: int) -> None:
    live, data = whole(HELLO)
    machine = begun()
    machine.handle(Heard(101, live, "exit code 0"))
    assert machine.handle(Pulled(data[:cut] if cut else None)) == (Investigate(),)
    (done,) = machine.handle(Investigated("no space left"))
    assert isinstance(done, Finish)
    assert (done.outcome, done.evidence) == ("PARTIAL", "no space left")
    assert "result file cannot be used" in done.reason


@pytest.mark.parametrize(
    ("said", "silent_s", "patience"),
    [
        ((), 120, "no sign of life for 120 s in phase start"),
        ((HELLO,), 60, "no sign of life for 60 s in phase start"),
        ((HELLO, Phase(name="load_cold", edge="begin")), 60, "60 s in phase load_cold"),
        ((HELLO, Phase(name="measure", edge="begin")), 6, "6 s in phase measure"),
        ((HELLO, Phase(name="first", edge="end", took_ns=5 * 10**9), Beat(phase="warmup", done=1)), 15, "15 s in"),
    ],
)  # fmt: skip
def test_silence_beyond_patience_is_a_hang(said: tuple[Body, ...], silent_s: float, patience: str) -> None:
    machine = begun()
    assert machine.handle(Heard(100, lines(*said), "")) == (Poll(0.5),)
    assert machine.handle(Heard(100 + silent_s, (), "")) == (Poll(0.5),)
    assert machine.handle(Heard(100.5 + silent_s, (), "")) == ENDING
    done = finish(machine, None)
    assert done.outcome == "HUNG"
    assert patience in done.reason


def test_noise_is_no_sign_of_life_and_beats_do_not_stretch_the_deadline() -> None:
    machine = begun()
    machine.handle(Heard(100, lines(HELLO, Phase(name="measure", edge="begin")), ""))
    assert machine.handle(Heard(107, ("still here",), "")) == ENDING
    machine = begun()
    machine.handle(Heard(100, lines(HELLO), ""))
    for second in range(1, 301):
        assert machine.handle(Heard(100 + second, lines(Beat(phase="measure", done=second), start=second), "")) == (
            Poll(0.5),
        )
    assert machine.handle(Heard(400.5, (), "")) == ENDING
    assert "past its deadline of 300 s in phase measure" in finish(machine, None).reason


def test_goodbye_and_no_end_is_stopped_and_still_complete() -> None:
    live, data = whole(HELLO)
    machine = begun()
    assert machine.handle(Heard(101, live, "")) == (Poll(0.5),)
    assert machine.handle(Heard(110, (), "")) == (Poll(0.5),)
    assert machine.handle(Heard(112, (), "")) == ENDING
    assert finish(machine, data).outcome == "COMPLETE"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"proto": "2.0"}, "speaks palmtop-bench 2.0"),
        ({"proto": "mine"}, "speaks palmtop-bench mine"),
        ({"run": "other"}, "answers for the run 'other'"),
        ({"model_sha256": "ff" * 32}, "another model"),
    ],
)  # fmt: skip
def test_a_runner_that_does_not_fit_is_refused_live_and_in_the_file(changes: dict[str, str], reason: str) -> None:
    fields = {name: getattr(HELLO, name) for name in HELLO.__slots__}
    wrong = Hello(**{**fields, **changes})
    live, data = whole(wrong)
    machine = begun()
    assert machine.handle(Heard(101, live, "")) == ENDING
    done = finish(machine, data)
    assert done.outcome == "REFUSED"
    assert reason in done.reason
    mute = begun()
    mute.handle(Heard(101, (), "exit code 0"))
    assert finish(mute, data).outcome == "REFUSED"


def test_a_newer_minor_version_is_taken() -> None:
    fields = {name: getattr(HELLO, name) for name in HELLO.__slots__}
    live, data = whole(Hello(**{**fields, "proto": "1.9", "model_sha256": ""}))
    machine = begun()
    machine.handle(Heard(101, live, "exit code 0"))
    assert finish(machine, data).outcome == "COMPLETE"


def test_a_lost_device_is_asked_for_the_file_first() -> None:
    live, data = whole(HELLO)
    machine = begun()
    machine.handle(Heard(101, live[:1], ""))
    assert machine.handle(Gone("cable")) == ENDING
    assert finish(machine, None).outcome == "LOST"
    machine = begun()
    machine.handle(Gone("cable"))
    assert finish(machine, data).outcome == "COMPLETE_FILE_ONLY"


LINES = st.text(max_size=30) | st.sampled_from(lines(HELLO, Beat(phase="a", done=1)))
EVENTS = st.one_of(
    st.builds(Heard, st.floats(100, 1e6), st.lists(LINES, max_size=3).map(tuple), st.sampled_from(["", "exit code 1"])),
    st.builds(Gone, st.text(max_size=5)),
    st.builds(Observed, st.floats(100, 1e6), st.sampled_from(["loaded", "ended"]), st.none() | st.just(LOOK)),
    st.builds(Investigated, st.text(max_size=5)),
    st.just(Stopped()),
)  # fmt: skip


@given(st.lists(EVENTS, max_size=20), st.none() | st.binary(max_size=200))
def test_any_events_end_in_an_explained_outcome(events: list[Event], data: bytes | None) -> None:
    machine = begun()
    said: list[Instruction] = [instruction for event in events for instruction in machine.handle(event)]
    assert not any(isinstance(instruction, Finish) for instruction in said)
    (done,) = machine.handle(Pulled(data))
    if isinstance(done, Investigate):
        (done,) = machine.handle(Investigated("words"))
    assert isinstance(done, Finish)
    assert done.outcome in ("PARTIAL", "CRASHED", "HUNG", "LOST")
