from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_harness.wire import frames, messages
from mobile_harness.wire.messages import Beat, Bye, Malformed, Record, Samples, Warn
from mobile_harness.wire.transcript import Collector, latencies_ns, merge, read_file, samples_sha256

RUN = "00c0ffee"
BODIES = (
    Beat(phase="start", done=0),
    Warn(code="long", msg="ü" * 400),
    Samples(phase="measure", first_index=0, dns=(1_000_000_000, *([-9_999_999, 9_999_999] * 49))),
    Samples(phase="measure", first_index=99, dns=(5, 5)),
    Beat(phase="measure", done=1),
)
RECORDS = tuple(Record(seq=seq, at_ns=seq, body=body) for seq, body in enumerate(BODIES))


def file_of(records: tuple[Record, ...] = RECORDS) -> bytes:
    head = "".join(messages.to_text(record) + "\n" for record in records).encode()
    bye = Bye(exit="ok", records=len(records), sha256=hashlib.sha256(head).hexdigest())
    return head + messages.to_text(Record(seq=len(records), at_ns=99, body=bye)).encode() + b"\n"


ALL = read_file(file_of()).records
LINES = tuple(line for record in ALL for line in frames.encode(RUN, record.seq, messages.to_text(record)))


def collect(lines: list[str] | tuple[str, ...]) -> Collector:
    live = Collector(RUN)
    for line in lines:
        live.feed(line)
    return live


def test_frames_are_short_ascii_and_long_records_take_several() -> None:
    assert all(len(line) <= frames.FRAME_MAX and line.isascii() for line in LINES)
    assert len(LINES) > len(ALL)
    with pytest.raises(ValueError, match="too long to send"):
        frames.encode(RUN, 0, "x" * 100_000)


def test_a_whole_transcript_is_verified_without_gaps() -> None:
    done = merge(collect(LINES), read_file(file_of()))
    assert (done.records, done.verified, done.live_gaps) == (ALL, True, 0)
    assert done.bodies(Beat) == (BODIES[0], BODIES[4])


@given(st.integers(0, len(file_of())), st.sets(st.sampled_from(LINES)))
def test_a_file_reads_the_same_whatever_came_live(size: int, came: set[str]) -> None:
    data = file_of()[:size]
    assert read_file(data, collect(tuple(came)).by_text) == read_file(data)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(LINES), st.data())
def test_order_repetition_prefixes_and_line_ends_do_not_matter(lines: list[str], data: st.DataObject) -> None:
    noisy = []
    for line in lines:
        prefix = data.draw(st.sampled_from(["", "11-23 00:41 I PALMTOP: ", "@PT1 @PT", "ÿ\x00"]))
        suffix = data.draw(st.sampled_from(["", "\r", "\r\n", " chatty: expire 3 lines", "INFO: created", "}"]))
        sliced = " 1/1 " not in line
        noisy += [prefix + line + (suffix if not sliced or suffix.strip() != "INFO: created" else "\r")] * data.draw(
            st.sampled_from([1, 2])
        )
    live = collect(noisy)
    assert live.records() == ALL


@given(st.permutations(LINES))
def test_many_frames_on_one_line_are_all_found(lines: list[str]) -> None:
    assert collect(["".join(lines)]).records() == ALL


@pytest.mark.parametrize("index", range(len(LINES)))
def test_a_line_cut_at_any_byte_is_damaged_and_costs_only_its_record(index: int) -> None:
    line = LINES[index]
    seq = int(line.split()[2])
    assert all(frames.scan(line[:cut]).chunks == () for cut in range(len(line)))
    live = collect([*LINES[:index], line[: len(line) // 2], *LINES[index + 1 :]])
    assert seq not in {record.seq for record in live.records()}
    done = merge(live, read_file(file_of()))
    assert (done.records, done.live_gaps, live.counts.damaged) == (ALL, 1, 1)


@given(st.integers(0, len(LINES) - 1), st.data())
def test_a_changed_character_never_becomes_another_record(index: int, data: st.DataObject) -> None:
    line = LINES[index]
    place = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.characters(codec="ascii"))
    changed = line[:place] + other + line[place + 1 :]
    live = collect([*LINES[:index], changed, *LINES[index + 1 :]])
    assert set(live.records()) <= set(ALL)


@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    live = collect([text, "@PT1 " + text, f"@PT1 {RUN} 1 1/1 00000000 {text}", *LINES])
    assert live.records() == ALL


def test_other_runs_unknown_kinds_and_repeats_are_counted() -> None:
    unknown = '{"t":"gpu","s":6,"ns":1,"mhz":1}'
    live = collect(
        [*LINES, LINES[0], *frames.encode("12345678", 0, messages.to_text(ALL[0])), *frames.encode(RUN, 6, unknown)]
    )
    counts = live.counts
    assert (counts.duplicates, counts.foreign, counts.unknown, counts.damaged) == (1, 1, 1, 0)
    assert live.feed(frames.encode(RUN, 7, '{"t":"gpu","s":7,"ns":1}')[0]) == ()


def test_a_frame_whose_record_has_another_number_is_damaged() -> None:
    live = collect(frames.encode(RUN, 9, messages.to_text(ALL[0])))
    assert (live.records(), live.counts.damaged) == ((), 1)


def test_hostile_numbers_of_records_and_chunks_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobile_harness.wire.transcript.RECORDS_MAX", 50)
    text = '{"t":"beat","s":%d,"ns":0,"phase":"a","done":0}'
    live = collect([frames.encode(RUN, seq, text % seq)[0] for seq in range(80)])
    assert (len(live.records()), live.counts.overflow) == (50, 30)
    import zlib

    halves = []
    for seq in range(1000, 1200):
        body = f"{RUN} {seq} 1/2 abcd"
        halves.append(f"@PT1 {RUN} {seq} 1/2 {zlib.crc32(body.encode()):08x} abcd")
    monkeypatch.setattr("mobile_harness.wire.transcript.RECORDS_MAX", 5000)
    live = collect(halves)
    assert live.counts.overflow == 200 - 64


def test_a_file_cut_at_any_byte_is_never_verified_and_never_raises() -> None:
    data = file_of()
    for cut in range(len(data) - 1):
        half = read_file(data[:cut])
        assert not half.verified
        assert half.fault
        assert set(half.records) <= set(ALL)
    assert read_file(data[:-1]).verified  # only the last line end is gone


@given(st.integers(0, len(file_of()) - 2), st.integers(1, 255))
def test_a_file_with_a_changed_byte_is_never_verified(place: int, change: int) -> None:
    data = bytearray(file_of())
    data[place] ^= change
    found = read_file(bytes(data))
    assert not found.verified or found.records == ALL


def test_a_file_that_lacks_or_repeats_records_is_not_verified() -> None:
    assert read_file(b"").fault == "it holds no record"
    lines = file_of().splitlines(keepends=True)
    assert "checksum" in read_file(b"".join(lines[1:])).fault
    assert read_file(file_of((RECORDS[0], RECORDS[3]))).fault == "records are missing in it"
    assert read_file(file_of((RECORDS[0], RECORDS[0]))).fault == "it holds lines that are no record"
    assert not read_file(file_of().replace(b"\n", b"\r\n")).verified
    assert "bye" in read_file(b"".join(lines[:-1])).fault


def test_of_an_unverified_file_only_what_did_not_come_live_is_taken() -> None:
    forged = Record(seq=0, at_ns=0, body=Beat(phase="forged", done=9))
    added = Record(seq=4, at_ns=4, body=BODIES[4])
    file = read_file("".join(messages.to_text(record) + "\n" for record in (forged, added)).encode())
    done = merge(collect(LINES[:1]), file)
    assert (done.verified, done.records) == (False, (ALL[0], added))
    assert done.live_gaps == 4


def test_latencies_are_put_together_or_refused() -> None:
    parts = [body for body in BODIES if isinstance(body, Samples)]
    values = latencies_ns(reversed(parts), "measure")
    assert values[:3] == (1_000_000_000, 990_000_001, 1_000_000_000)
    assert values[-2:] == (5, 10)
    assert latencies_ns(parts, "other") == ()
    with pytest.raises(Malformed, match="missing or doubled"):
        latencies_ns(parts[1:], "measure")
    with pytest.raises(Malformed, match="missing or doubled"):
        latencies_ns([*parts, parts[1]], "measure")


def test_the_checksum_of_samples_is_over_little_endian_integers() -> None:
    assert samples_sha256([1, 256]) == hashlib.sha256(b"\x01" + bytes(7) + b"\x00\x01" + bytes(6)).hexdigest()
