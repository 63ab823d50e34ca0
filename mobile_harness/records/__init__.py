"""What a measurement leaves behind: immutable, versioned, with where it was taken in every value.

A *run* is a matrix of *cells* (one build on one device under one plan); a cell is made of *sessions*, each a fresh
process, and the session is the unit of statistics. Times are nanoseconds, memory kilobytes (1024 bytes). What a device
says of itself around a session is in :mod:`.state`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobile_harness.records.state import Cooled, Energy, Placement, PowerPair, Unavailable, Vitals
from toolkit.core.artifacts import ToolVersion
from toolkit.core.manifest import Manifest

SCHEMA = 1

Kind = Literal["phone", "emulator", "simulator", "virtual", "host"]
Outcome = Literal["measured", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """Which device. ``kind`` is part of every figure: only ``phone`` figures are ever a phone's."""

    transport: str
    serial: str
    platform: Literal["android", "ios", "linux", "macos", "windows"]
    model: str
    soc: str
    os_version: str
    abis: tuple[str, ...]
    ram_mb: int
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How to measure a cell; named plans are ``quick``, ``standard``, ``gate`` and ``sustained``.

    Warm-up lasts at least ``warmup_min_s`` and ``warmup_min_runs``, then until block medians stand still, at most
    ``warmup_max_s``. Then at least ``min_runs`` inferences and ``min_seconds``, at most ``max_seconds``.
    ``threads`` 0 is the runtime's default.

    A session waits until the device has cooled down to how it stood before its first one, and below ``cool_to_c`` (of
    its skin, else of its battery, in degrees Celsius; None: no such bound), at most ``cooldown_max_s``. Then the device
    rests for ``idle_s``: what it draws at rest is taken off what inferences draw. 0: energy is not measured.
    """

    name: str
    sessions: int
    warmup_min_s: float
    warmup_min_runs: int
    warmup_max_s: float
    min_runs: int
    min_seconds: float
    max_seconds: float
    threads: int
    accelerator: str
    seed: int
    session_deadline_s: float
    cool_to_c: float | None = None
    cooldown_max_s: float = 0.0
    idle_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """How the warm-up of a session went; ``converged`` says that block medians stood still."""

    runs: int
    elapsed_ns: int
    converged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The device's output for the golden input held against the build's output on the reference interpreter.

    ``samples`` 0 means that nothing was checked: ``ok`` is false then and the figures are not numbers. Else they are
    the worst over all outputs, and ``tolerance`` is what ``max_abs`` was held against on that output.
    """

    ok: bool
    max_abs: float
    cosine: float
    samples: int
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """``share`` of the runs took at most ``value_ns``."""

    share: float
    value_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """What a native tool says of one run of itself in place of a series; None where it is silent.

    ``percentiles`` are those that its number of runs supports, ``dropped`` says which others it printed.
    """

    runner: str
    runs: int | None
    average_ns: int
    minimum_ns: int | None = None
    maximum_ns: int | None = None
    deviation_ns: int | None = None
    load_ns: int | None = None
    first_ns: int | None = None
    peak_kb: int | None = None
    percentiles: tuple[Share, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One fresh process: load cold, load warm, first inference, warm-up, then the measured series.

    ``latency_ns`` keeps every ``stride``-th of the ``runs`` timed inferences (0: all of them), in order.
    ``busy_share`` is the part of all processor time that other processes took during the series, ``steal_share`` the
    part that a hypervisor took, ``load_1m`` the load average before it; None where the device does not tell. ``notes``
    are the codes of the runner's own warnings. ``palmtop`` is the version that took it, empty in records of before.

    ``cooled`` and ``after`` are how the device stood before and right after it; ``pss_*`` are its app's memory between
    phases; ``mean_mhz`` is each cluster's mean clock between the two. What is None was not told or not asked for.

    With ``aggregate`` a native tool took it: there is no series then, nothing was checked, and times and memory of 0
    were not told.
    """

    index: int
    load_cold_ns: int
    load_warm_ns: int
    first_ns: int
    warmup: Warmup
    latency_ns: tuple[int, ...]
    rss_before_load_kb: int
    rss_after_load_kb: int
    peak_rss_kb: int
    parity: Parity
    live_gaps: int
    started_utc: str
    runs: int = 0
    stride: int = 1
    busy_share: float | None = None
    steal_share: float | None = None
    load_1m: float | None = None
    notes: tuple[str, ...] = ()
    palmtop: str = ""
    cooled: Cooled | None = None
    after: Vitals | None = None
    pss_after_load_kb: int | None = None
    pss_end_kb: int | None = None
    mean_mhz: tuple[float, ...] = ()
    placement: Placement | None = None
    power: PowerPair | Unavailable | None = None
    aggregate: Aggregate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a cell has no figures. ``kind`` is one word of a fixed list, such as ``app_crash`` or ``timed_out``."""

    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why a figure should not be trusted, in a plain sentence.

    Doubts of one ``kind`` differ in nothing but their figures, all whole numbers, so that reports can put them
    together. The kind is empty in records of before there were kinds.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One build on one device under one plan: measured or explained."""

    id: str
    run_id: str
    device: DeviceInfo
    build_id: str
    build_sha256: str
    target: str
    recipe: str
    size_bytes: int
    plan: RunPlan
    outcome: Outcome
    runner: str
    runtime: str
    runtime_version: str
    sessions: tuple[Session, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    failure: Failure | None = None
    started_utc: str = ""
    ended_utc: str = ""
    energy: Energy | Unavailable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run: its cells, and the ``build.json`` of the builds as it stood then."""

    schema: Literal[1] = 1
    id: str
    palmtop: str
    created_utc: str
    build_dir: str
    manifest: Manifest
    plan: RunPlan
    cells: tuple[Cell, ...]
    toolchain: tuple[ToolVersion, ...] = ()
