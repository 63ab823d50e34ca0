"""The composed transcripts of ``tests/samples/wire`` against our parser and both of our encoders."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobile_harness.wire import frames, messages
from mobile_harness.wire.messages import Bye, Hello
from mobile_harness.wire.transcript import Collector, Counts, merge, read_file
from toolkit.host_runner import channel

SAMPLES = Path(__file__).parents[2] / "samples" / "wire"
RUN = "5eed0001"
FILE = read_file((SAMPLES / "complete.jsonl").read_bytes())
TEXTS = (SAMPLES / "complete.jsonl").read_text(encoding="ascii").splitlines()

EXPECTED = {
    "complete": (26, 0, Counts()),
    "crlf": (26, 0, Counts()),
    "reordered": (26, 0, Counts()),
    "duplicated": (26, 0, Counts(duplicates=27)),
    "two_runs": (26, 0, Counts(foreign=27)),
    "truncated_line": (24, 2, Counts(damaged=2)),
    "interleaved": (25, 1, Counts(damaged=1)),
    "crash_mid_chunk": (18, 8, Counts()),
    "newer_minor": (2, 24, Counts(unknown=1, extra_fields=1)),
}


def live(name: str) -> Collector:
    collector = Collector(RUN)
    for line in (SAMPLES / f"{name}.txt").read_bytes().decode("ascii").split("\n"):
        collector.feed(line)
    return collector


def test_the_result_file_is_verified() -> None:
    assert (FILE.verified, FILE.fault, len(FILE.records)) == (True, "", 26)
    assert isinstance(FILE.records[0].body, Hello)
    assert isinstance(FILE.records[-1].body, Bye)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_transcript_gives_the_records_and_counts_it_was_composed_for(name: str) -> None:
    records, gaps, counts = EXPECTED[name]
    found = live(name)
    assert (len(found.records()), found.counts) == (records, counts)
    done = merge(found, FILE)
    assert (done.verified, done.records, done.live_gaps) == (True, FILE.records, gaps)


def test_every_transcript_is_in_the_table() -> None:
    assert {path.stem for path in SAMPLES.glob("*.txt")} == set(EXPECTED)


def test_both_encoders_write_the_complete_transcript_byte_for_byte() -> None:
    wanted = (SAMPLES / "complete.txt").read_text(encoding="ascii").splitlines()
    assert [line for seq, text in enumerate(TEXTS) for line in frames.encode(RUN, seq, text)] == wanted
    assert [line for seq, text in enumerate(TEXTS) for line in channel.frames(RUN, seq, text)] == wanted
    assert [messages.to_text(record) for record in FILE.records] == TEXTS
