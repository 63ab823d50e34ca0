from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_harness.wire import messages
from mobile_harness.wire.messages import (
    KINDS,
    Aggregate,
    Battery,
    Beat,
    Bye,
    Env,
    Error,
    Hello,
    Malformed,
    Memory,
    ParityReading,
    Phase,
    Place,
    Power,
    Record,
    Result,
    Samples,
    Thermal,
    Unknown,
    Warn,
)

SHA = "ab" * 32
HELLO = Hello(
    proto="1.0", run="00c0ffee", app="app @PT1 x", app_ver="1", runtime="LiteRT", runtime_ver="2.3", model_sha256=SHA,
    os="Android 15", device="Ångström", pid=4, page_size=16384, clock="monotonic", caps=("parity",),
)  # fmt: skip
BODIES = (
    HELLO,
    Env(at="end", thermal="none", battery=Battery(raw=-312000, unit_guess="uA"), low_power=False, other_cpu=0.5),
    Phase(name="warmup", edge="end", took_ns=5, runs=9, converged=True),
    Place(requested="gpu", delegated_nodes=3, total_nodes=9, partitions=2, source="log", fallback=True),
    Samples(phase="measure", first_index=100, dns=(500, -20, 0, 1000)),
    Memory(at="end", rss_kb=3, peak_kb=4, pss_kb=2),
    Thermal(status="light", headroom=0.7, temps={"skin": 41.5}),
    Power(energy_uws={"CPU": 12}, current_raw=-3, voltage_raw=4012, level_percent=80.0, status=3),
    ParityReading(output_index=0, output="y", max_abs=math.inf, cos=math.nan, n=3),
    Beat(phase="measure", done=7),
    Warn(code="x", msg="y"),
    Error(code="oom", msg="full", where="first"),
    Aggregate(runner="benchmark_model", average=5, runs=80, percentiles={"0.5": 4}, dropped=("p95 needs 72 runs",)),
    Result(n=4, p50=500, p90=1480, p99=1480, min=480, mean=735.0, samples_sha256=SHA),
    Bye(exit="ok", records=13, sha256=SHA),
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_each_kind_survives_the_way_there_and_back(body: messages.Body) -> None:
    record = Record(seq=3, at_ns=77, body=body)
    text = messages.to_text(record)
    assert text.isascii()
    assert "@" not in text
    assert "null" not in text
    again = messages.from_text(text)
    assert messages.to_text(again) == text
    assert (again.seq, again.at_ns, type(again.body)) == (3, 77, type(body))


def test_every_kind_of_the_protocol_is_covered_above() -> None:
    assert {type(body) for body in BODIES} == set(KINDS.values())


def test_a_record_of_an_unknown_kind_and_unknown_fields_are_kept_apart() -> None:
    assert messages.from_text('{"t":"gpu_clock","s":1,"ns":2,"mhz":900}').body == Unknown(t="gpu_clock")
    record = messages.from_text('{"t":"beat","s":1,"ns":2,"phase":"first","done":0,"colour":"red","x":[1]}')
    assert (record.body, record.extra) == (Beat(phase="first", done=0), 2)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "7", "{", '{"t":"beat"}', '{"t":"beat","s":0,"ns":0}',
        '{"t":"beat","s":-1,"ns":0,"phase":"a","done":0}',
        '{"t":"beat","s":0,"ns":0,"phase":"a","done":true}', '{"t":"beat","s":0,"ns":0,"phase":"a","done":1e3}',
        '{"t":"beat","s":0,"ns":0,"phase":"a","done":-1}', '{"t":"beat","s":true,"ns":0,"phase":"a","done":1}',
        '{"t":"beat","s":0,"ns":99999999999999999999,"phase":"a","done":1}', '{"t":["beat"],"s":0,"ns":0}',
        '{"t":"env","s":0,"ns":0,"at":"end","other_cpu":NaN}',
        '{"t":"bye","s":0,"ns":0,"exit":"maybe","records":0,"sha256":""}',
        '{"t":"samples","s":0,"ns":0,"phase":"m","first_index":0,"dns":[]}',
        '{"t":"samples","s":0,"ns":0,"phase":"m","first_index":0,"dns":[5,-6]}',
        '{"t":"samples","s":0,"ns":0,"phase":"m","first_index":0,"dns":[9223372036854775807,9]}',
        '{"t":"samples","s":0,"ns":0,"phase":"m","first_index":0,"dns":%s}' % ([1] * 101),
        '{"t":"warn","s":0,"ns":0,"code":"x","msg":"%s"}' % ("y" * 1001),
        '{"t":"x","s":0,"ns":0,"deep":' + "[" * 9 + "1" + "]" * 9 + "}", "[" * 100_000,
        '{"t":"x","s":0,"ns":' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_what_is_no_record_within_bounds_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        messages.from_text(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(st.sampled_from(["s", "ns", "phase", "dns", "n", "proto", "at", "exit"]), JSON),
)
def test_any_json_is_a_record_or_malformed(kind: str, fields: dict[str, object]) -> None:
    try:
        record = messages.from_text(json.dumps({"t": kind, **fields}))
    except Malformed:
        return
    assert record.seq >= 0


def test_the_major_version_is_the_number_before_the_dot() -> None:
    majors = [
        Hello(**{**{f: getattr(HELLO, f) for f in HELLO.__slots__}, "proto": proto}).major
        for proto in ("1.7", "2", "x.1", "", "²")
    ]
    assert majors == [1, 2, None, None, None]
