"""From lines and the result file to the records of one run: what came, what is missing, and whether it is verified.

The file is the truth: once the checksum in its last line holds, its records win over those that came live. Of a file
that is cut or changed, only records that did not come live are taken, since each live one has a checksum of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from mobile_harness.wire import frames, messages
from mobile_harness.wire.messages import Bye, Malformed, Record, Samples, Unknown

FILE_MAX_BYTES = 64 << 20
RECORDS_MAX = 50_000
_OPEN_MAX = 64
_FILE_LINE_MAX = 1 << 16

B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was ignored, and why. ``damaged`` frames or lines failed their checksum or did not parse."""

    damaged: int = 0
    duplicates: int = 0
    foreign: int = 0
    unknown: int = 0
    extra_fields: int = 0
    overflow: int = 0


@dataclass(slots=True)
class _Open:
    count: int
    parts: dict[int, str] = field(default_factory=dict)


class Collector:
    """Takes the live lines of one run, in any order, and keeps its records. Memory is bounded whatever comes."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._records: dict[int, Record] = {}
        self.by_text: dict[str, Record] = {}
        """Each record by its JSON: the file says the same again, which need not be read twice."""
        self._open: dict[int, _Open] = {}
        self._tally: dict[str, int] = {}

    def feed(self, line: str) -> tuple[Record, ...]:
        """Take a line and return the records that it completed, unknown ones not among them."""
        found = frames.scan(line)
        self._count("damaged", found.damaged)
        done = [record for chunk in found.chunks if (record := self._take(chunk)) is not None]
        return tuple(record for record in done if not isinstance(record.body, Unknown))

    @property
    def counts(self) -> Counts:
        """What was ignored so far."""
        return Counts(**self._tally)

    def records(self) -> tuple[Record, ...]:
        """Return all records so far, in their order."""
        return tuple(self._records[seq] for seq in sorted(self._records))

    def _count(self, what: str, number: int = 1) -> None:
        if number:
            self._tally[what] = self._tally.get(what, 0) + number

    def _take(self, chunk: frames.Chunk) -> Record | None:
        if chunk.run != self.run:
            self._count("foreign")
            return None
        if chunk.seq in self._records:
            self._count("duplicates")
            return None
        if len(self._records) >= RECORDS_MAX:
            self._count("overflow")
            return None
        waiting = self._open.setdefault(chunk.seq, _Open(chunk.count))
        if waiting.count != chunk.count:
            self._count("damaged")
            return None
        if chunk.index in waiting.parts:
            self._count("duplicates")
            return None
        waiting.parts[chunk.index] = chunk.payload
        if len(waiting.parts) < waiting.count:
            if len(self._open) > _OPEN_MAX:
                self._open.pop(next(iter(self._open)))
                self._count("overflow")
            return None
        del self._open[chunk.seq]
        return self._finish(chunk.seq, tuple(waiting.parts[index] for index in range(waiting.count)))

    def _finish(self, seq: int, payloads: tuple[str, ...]) -> Record | None:
        text = frames.join(payloads)
        try:
            record = messages.from_text(text or "")
        except Malformed:
            self._count("damaged")
            return None
        if record.seq != seq:
            self._count("damaged")
            return None
        self._count("unknown", isinstance(record.body, Unknown))
        self._count("extra_fields", record.extra)
        self._records[seq] = record
        self.by_text[text or ""] = record
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """The result file as read. ``verified``: its last line is ``bye``, its checksum holds and no record is missing."""

    records: tuple[Record, ...]
    verified: bool
    fault: str = ""
    counts: Counts = Counts()


def read_file(data: bytes, known: Mapping[str, Record] = MappingProxyType({})) -> ResultFile:
    """Read the JSON-lines form, whole or cut anywhere; ``known`` are records that were read before, by their JSON."""
    if len(data) > FILE_MAX_BYTES:
        return ResultFile(records=(), verified=False, fault=f"it is larger than {FILE_MAX_BYTES} bytes")
    records: dict[int, Record] = {}
    tally = dict.fromkeys(("damaged", "duplicates", "unknown", "extra_fields", "overflow"), 0)
    last: Record | None = None
    before = start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        stop = len(data) if end < 0 else end
        last, before = _line(data[start:stop], known), start
        start = stop + 1
        if last is None:
            tally["damaged"] += 1
        elif last.seq in records:
            tally["duplicates"] += 1
        elif len(records) >= RECORDS_MAX:
            tally["overflow"] += 1
        else:
            records[last.seq] = last
            tally["unknown"] += isinstance(last.body, Unknown)
            tally["extra_fields"] += last.extra
    counts = Counts(**tally)
    fault = _fault(records, last, hashlib.sha256(data[:before]).hexdigest(), counts)
    ordered = tuple(records[seq] for seq in sorted(records))
    return ResultFile(records=ordered, verified=not fault, fault=fault, counts=counts)


def _line(raw: bytes, known: Mapping[str, Record]) -> Record | None:
    if len(raw) > _FILE_LINE_MAX:
        return None
    try:
        text = raw.decode("ascii")
        return known.get(text) or messages.from_text(text)
    except (UnicodeDecodeError, Malformed):
        return None


def _fault(records: dict[int, Record], last: Record | None, sha256: str, counts: Counts) -> str:
    if not records:
        return "it holds no record"
    if last is None or not isinstance(last.body, Bye):
        return "it does not end with the record `bye`"
    if last.body.sha256 != sha256:
        return "its checksum does not hold"
    if counts.damaged or counts.duplicates or counts.overflow:
        return "it holds lines that are no record"
    if sorted(records) != list(range(len(records))) or last.body.records != len(records) - 1:
        return "records are missing in it"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """All that is known of a run. ``live_gaps`` counts the records that should have come live and did not."""

    records: tuple[Record, ...]
    verified: bool
    live_gaps: int
    fault: str
    counts: Counts

    def bodies(self, kind: type[B]) -> tuple[B, ...]:
        """Return what the records of one kind say, in order."""
        return tuple(record.body for record in self.records if isinstance(record.body, kind))


def merge(live: Collector, file: ResultFile | None) -> Transcript:
    """Unite the live records with the file's by their number; see the module's words for which one wins."""
    came = {record.seq: record for record in live.records()}
    kept = {record.seq: record for record in file.records} if file else {}
    verified = file is not None and file.verified
    union = kept if verified else {**kept, **came}
    missing = len(kept.keys() - came.keys()) if verified else max(union, default=-1) + 1 - len(came)
    return Transcript(
        records=tuple(union[seq] for seq in sorted(union)),
        verified=verified,
        live_gaps=missing,
        fault="there is no result file" if file is None else file.fault,
        counts=live.counts,
    )


def latencies_ns(records: Iterable[Samples], phase: str) -> tuple[int, ...]:
    """Put the latencies of a phase together.

    Raises:
        Malformed: a part is missing or overlaps another.
    """
    values: list[int] = []
    for part in sorted((item for item in records if item.phase == phase), key=lambda item: item.first_index):
        if part.first_index != len(values):
            raise Malformed(f"latencies {len(values)} to {part.first_index} of phase {phase!r} are missing or doubled")
        values.extend(part.latencies_ns())
    return tuple(values)


def samples_sha256(latencies: Iterable[int]) -> str:
    """Return the checksum of latencies as ``result`` carries it."""
    digest = hashlib.sha256()
    for value in latencies:
        digest.update(value.to_bytes(8, "little", signed=True))
    return digest.hexdigest()
