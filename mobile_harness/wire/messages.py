"""The records of palmtop-bench/1 as frozen values, and their strict, bounded reading.

Times are nanoseconds of the runner's monotonic clock since its start, memory kilobytes (1024 bytes).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.core import codec
from toolkit.core.errors import SettingsError

MAJOR = 1
SAMPLES_MAX = 100
"""Latencies in one ``samples`` record."""

_TEXT_MAX = 1000
_ITEMS_MAX = 256
_DEPTH_MAX = 5
_INT_END = 1 << 63
_LATENCY_MAX_NS = 1 << 53


class Malformed(ValueError):
    """What claims to be a record is none; the collection counts it and goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first record: who measures what. ``runtime`` is the library that executes the model."""

    proto: str
    run: str
    app: str
    app_ver: str
    runtime: str
    runtime_ver: str
    model_sha256: str
    os: str
    device: str
    pid: int
    page_size: int
    clock: str
    caps: tuple[str, ...] = ()

    @property
    def major(self) -> int | None:
        """The major version of the protocol, or None where it is not a version."""
        number = self.proto.partition(".")[0]
        return int(number) if number.isascii() and number.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A battery reading as the system gives it; units deviate between vendors, so the unit is a guess."""

    raw: int
    unit_guess: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """The state of the device around the measurement; None where it does not tell.

    ``at`` is ``start`` (before the timed runs) or ``end`` (after). ``other_cpu`` is the share of all processor time
    that other processes used between the two, ``steal`` the share that a hypervisor took (0 to 1, on ``end`` only).
    """

    at: str
    thermal: str | None = None
    battery: Battery | None = None
    low_power: bool | None = None
    foreground: bool | None = None
    cpu_mask: str | None = None
    power_monitors: tuple[str, ...] = ()
    load_1m: float | None = None
    other_cpu: float | None = None
    steal: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """An edge of a phase. At the end ``took_ns`` is the time of the phase's own work and nothing around it.

    ``runs`` and ``converged`` are given at the end of ``warmup``: whether block medians stood still. ``runs`` of
    ``measure`` are the timed ones, ``calls`` all of them.
    """

    name: str
    edge: Literal["begin", "end"]
    took_ns: int | None = None
    runs: int | None = None
    converged: bool | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the runtime says that it executes the model."""

    requested: str
    delegated_nodes: int
    total_nodes: int
    partitions: int
    source: str
    fallback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Latencies of consecutive stored runs: the first as it is, each next as the difference to the one before."""

    phase: str
    first_index: int
    dns: tuple[int, ...]

    def latencies_ns(self) -> tuple[int, ...]:
        """Return the latencies themselves."""
        total, values = 0, []
        for difference in self.dns:
            total += difference
            values.append(total)
        return tuple(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the runner's process now, and its peak since the runtime was loaded.

    ``at`` is ``before_load``, ``after_load`` or ``end``. ``footprint_kb`` is what the system judges an app by (iOS),
    ``pss_kb`` the process's proportional share, which counts shared pages once (Android, Linux).
    """

    at: str
    rss_kb: int
    peak_kb: int | None = None
    footprint_kb: int | None = None
    pss_kb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """Heat of the device: the system's word, its headroom (1 is the throttling threshold), temperatures in Celsius."""

    status: str | None = None
    headroom: float | None = None
    temps: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Energy in µWs by monitor, and the battery's raw figures (``status`` 2: charging, 3: discharging)."""

    energy_uws: dict[str, int] = dataclasses.field(default_factory=dict)
    current_raw: int | None = None
    counter_raw: int | None = None
    voltage_raw: int | None = None
    level_percent: float | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReading:
    """One output over all golden samples: how far the device's values are from the golden ones.

    ``cos`` is the cosine of the flattened arrays, ``top1`` the share of samples with the same largest element (None
    for an output that is not a vector of scores), ``n`` the number of samples.
    """

    output_index: int
    output: str
    max_abs: float
    cos: float
    n: int
    top1: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A sign of life every two seconds; ``total`` is 0 where the amount of work is unknown."""

    phase: str
    done: int
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """Something that does not stop the session but belongs to its figures."""

    code: str
    msg: str
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Something that went wrong; after a ``fatal`` one only ``bye`` follows."""

    code: str
    msg: str
    where: str = ""
    fatal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The runner's own summary of the stored latencies, held against the host's.

    ``samples_sha256`` covers them as little-endian 64-bit integers in order. Every ``stride``-th timed run is stored,
    ``runs`` is how many were timed.
    """

    n: int
    p50: int
    p90: int
    p99: int
    min: int
    mean: float
    samples_sha256: str
    runs: int = 0
    stride: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """What a tool that keeps no series says of its runs, in place of ``samples`` and ``result``; times in nanoseconds.

    ``percentiles`` are by their share as text (``"0.95"``), those that the number of runs supports; ``dropped`` says
    which others it printed.
    """

    runner: str
    average: int
    runs: int | None = None
    min: int | None = None
    max: int | None = None
    deviation: int | None = None
    load: int | None = None
    first: int | None = None
    warmup: int | None = None
    warmup_runs: int | None = None
    peak_kb: int | None = None
    percentiles: dict[str, int] = dataclasses.field(default_factory=dict)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The last record. ``records`` counts those before it; in the file ``sha256`` covers all bytes before its line."""

    exit: Literal["ok", "error"]
    records: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A record of a kind that this version does not know; ignored and counted."""

    t: str


Body = (
    Hello
    | Env
    | Phase
    | Place
    | Samples
    | Memory
    | Thermal
    | Power
    | ParityReading
    | Beat
    | Warn
    | Error
    | Result
    | Aggregate
    | Bye
    | Unknown
)

KINDS: dict[str, type[Any]] = {
    "hello": Hello,
    "env": Env,
    "phase": Phase,
    "place": Place,
    "samples": Samples,
    "mem": Memory,
    "therm": Thermal,
    "power": Power,
    "parity": ParityReading,
    "beat": Beat,
    "warn": Warn,
    "error": Error,
    "result": Result,
    "aggregate": Aggregate,
    "bye": Bye,
}
_WORDS = {kind: word for word, kind in KINDS.items()}
_NAMES = {word: frozenset(field.name for field in dataclasses.fields(kind)) for word, kind in KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: its number in the run, the runner's time, and what it says. ``extra`` counts unknown fields."""

    seq: int
    at_ns: int
    body: Body
    extra: int = 0


def to_text(record: Record) -> str:
    """Return the record as one line of compact ASCII JSON; a field that is None is left out.

    ``@`` is escaped, so that the mark of a frame never occurs inside a record.
    """
    if isinstance(record.body, Unknown):
        raise ValueError("an unknown record cannot be written again")
    fields = {key: value for key, value in codec.unstructure(record.body).items() if value is not None}
    plain = {"t": _WORDS[type(record.body)], "s": record.seq, "ns": record.at_ns, **fields}
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).replace("@", "\\u0040")


def from_text(text: str) -> Record:
    """Read a record from its JSON.

    Raises:
        Malformed: it is not JSON, exceeds a bound, or a known kind lacks a field or has one of another type.
    """
    try:
        plain = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(plain, dict) or not _bounded(plain, _DEPTH_MAX):
        raise Malformed("not an object within bounds")
    word, seq, at_ns = plain.pop("t", None), plain.pop("s", None), plain.pop("ns", None)
    if not isinstance(word, str) or not _is_count(seq) or not _is_count(at_ns):
        raise Malformed("t, s or ns is missing or of another type")
    kind = KINDS.get(word)
    if kind is None:
        return Record(seq=seq, at_ns=at_ns, body=Unknown(t=word))
    known = {key: value for key, value in plain.items() if key in _NAMES[word]}
    try:
        body = codec.structure(known, kind, what=f"record {word!r}")
    except SettingsError as error:
        raise Malformed(error.message) from error
    _check(body)
    return Record(seq=seq, at_ns=at_ns, body=body, extra=len(plain) - len(known))


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _bounded(value: object, depth: int) -> bool:
    """Say whether no text, number, list or nesting in a value is larger than any honest record's."""
    if isinstance(value, str):
        return len(value) <= _TEXT_MAX
    if isinstance(value, int):
        return -_INT_END <= value < _INT_END
    if isinstance(value, dict | list):
        if depth == 0 or len(value) > _ITEMS_MAX:
            return False
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        if set(map(type, inner)) == {int}:  # a series: most of what comes
            return bool(min(inner) >= -_INT_END and max(inner) < _INT_END)
        return all(_bounded(item, depth - 1) for item in inner)
    return True


def _check(body: Body) -> None:
    if isinstance(body, Samples):
        if not 0 < len(body.dns) <= SAMPLES_MAX or body.first_index < 0:
            raise Malformed("samples are none, too many, or start below zero")
        if not all(0 <= value < _LATENCY_MAX_NS for value in body.latencies_ns()):
            raise Malformed("a latency is negative or longer than a hundred days")
    counts = {
        Phase: ("took_ns", "runs", "calls"),
        Memory: ("rss_kb", "peak_kb", "footprint_kb", "pss_kb"),
        ParityReading: ("output_index", "n"),
        Beat: ("done", "total"),
        Result: ("n", "p50", "p90", "p99", "min", "runs", "stride"),
        Aggregate: ("average", "runs", "min", "max", "deviation", "load", "first", "warmup", "warmup_runs", "peak_kb"),
        Bye: ("records",),
        Hello: ("pid", "page_size"),
    }
    for name in counts.get(type(body), ()):
        value = getattr(body, name)
        if value is not None and value < 0:
            raise Malformed(f"{name} is negative")
