"""What a comparison of two runs says, as frozen values; schema 1, names are added and never renamed.

A figure that was not taken is None, never 0. Ratios are later over earlier: above 1 is slower, larger, hungrier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.records import DeviceInfo, Doubt

SCHEMA: Final = 1

Verdict = Literal["regressed", "improved", "equivalent", "inconclusive"]
Metric = Literal["latency", "p90", "load", "memory", "energy", "size", "accuracy"]
Method = Literal["sessions", "meter", "exact", "paired", "unpaired", "none"]
Status = Literal["compared", "refused", "unmeasured"]

METRICS: Final[tuple[Metric, ...]] = ("latency", "p90", "load", "memory", "energy", "size", "accuracy")
TESTED: Final[tuple[Metric, ...]] = ("latency", "p90", "load", "memory", "accuracy")
"""The metrics with a test, which a gate may look at."""
KINDS: Final = ("phone", "emulator", "simulator", "virtual", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What a comparison is held to.

    A change whose whole interval lies within ``margin`` (0.05: 5 %) either way is none. ``confidence`` is of the
    intervals, and one less it is the chance that a gate fails though nothing changed. ``gate_kinds`` are the kinds of
    device that may fail it, ``gate_metrics`` the metrics. ``allowed`` names the differences (:class:`Difference`) that
    are what is being tried, and no reason to refuse.
    """

    margin: float = 0.05
    confidence: float = 0.95
    gate_kinds: tuple[str, ...] = ("phone",)
    gate_metrics: tuple[str, ...] = ("latency", "accuracy")
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which two measurements are not alike. ``refused``: their figures are therefore not compared."""

    name: str
    before: str
    after: str
    refused: bool

    @property
    def sentence(self) -> str:
        """The difference in a sentence."""
        return f"{self.name}: {self.before or 'not told'} before, {self.after or 'not told'} after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One metric before and after, in ``unit`` (``ns``, ``kB``, ``uJ``, ``B``, or ``share`` from 0 to 1, or empty).

    ``effect`` is the ratio of after over before, for accuracy the difference of after less before; its interval is
    ``[low, high]``. ``method`` says where that is from: ``sessions`` (Welch's t on logarithms of one figure a session),
    ``meter`` (the known band of the energy meter), ``exact`` (counted, not measured), ``paired`` (a paired test on the
    same labelled samples), ``unpaired`` (from each side's own interval), ``none``.

    ``p`` is of no change at all; ``p_adjusted`` is Holm's, among the ``family`` tests that share one false alarm rate.
    ``rank_p`` is the exact Mann-Whitney p value, a check. ``detectable`` is the least change that these sessions would
    find four times in five, ``sessions_needed`` how many a side would find one of the margin's size; None where that
    is not known or more than a thousand. ``margin`` is what it was held to: a share for ratios, for accuracy what a
    build may lose. ``beyond_margin``: even the near end of the interval is beyond it.
    """

    metric: Metric
    unit: str
    before: float | None
    after: float | None
    effect: float | None
    low: float | None
    high: float | None
    method: Method
    verdict: Verdict
    reason: str
    p: float | None = None
    p_adjusted: float | None = None
    rank_p: float | None = None
    family: int = 1
    sessions_before: int = 0
    sessions_after: int = 0
    detectable: float | None = None
    sessions_needed: int | None = None
    margin: float = 0.0
    gates: bool = False
    beyond_margin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CellComparison:
    """A build on a device under a plan, in both runs.

    ``verdict`` is that of its latency, None where it was refused or a side has no figures; ``reason`` says why then.
    """

    device: DeviceInfo
    build_id: str
    target: str
    recipe: str
    plan: str
    base_cell: str
    head_cell: str
    status: Status
    reason: str
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    verdict: Verdict | None
    gates: bool
    doubts_before: tuple[Doubt, ...]
    doubts_after: tuple[Doubt, ...]

    @property
    def name(self) -> str:
        """``build@transport:serial``."""
        return self.head_cell


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildComparison:
    """A build in both runs, apart from devices: its size, its accuracy, and whether it is the same file."""

    build_id: str
    target: str
    recipe: str
    same_file: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone:
    """A cell that only one of the runs has."""

    side: Literal["base", "head"]
    cell_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """Which run, in a few words."""

    id: str
    created_utc: str
    palmtop: str
    model: str
    model_sha256: str
    plan: str
    cells: int
    measured: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a gate makes of it: ``failed`` only for significant regressions, which ``regressed`` names.

    ``looked_at`` counts the changes that may fail it. ``note`` says what a reader of a passed gate has to know.
    """

    failed: bool
    regressed: tuple[str, ...]
    looked_at: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs held against each other.

    ``verdict`` is the worst of what may gate, or of all that was compared where nothing may. ``differences`` are those
    of the runs as a whole. ``counts`` says how many cells have which verdict, or were ``refused`` or ``unmeasured``.
    """

    schema: Literal[1] = 1
    palmtop: str
    base: RunRef
    head: RunRef
    criteria: Criteria
    differences: tuple[Difference, ...]
    cells: tuple[CellComparison, ...]
    builds: tuple[BuildComparison, ...]
    lone: tuple[Lone, ...]
    counts: dict[str, int]
    verdict: Verdict
    sentence: str
    notes: tuple[str, ...]
    gate: Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """What a device shows when nothing changed: one build measured twice (A/A).

    ``observed`` is the ratio of the second measurement over the first with its interval; ``deviation`` the standard
    deviation between sessions, of the logarithm (0.02: 2 %); ``detectable`` the least change that such a measurement
    finds four times in five, and ``sessions_needed`` how many sessions a side would find one of the margin's size.
    ``alarm``: the device showed a difference where there is none; see ``reason``.
    """

    device: DeviceInfo
    build_id: str
    sessions_before: int
    sessions_after: int
    observed: float | None
    low: float | None
    high: float | None
    deviation: float | None
    detectable: float | None
    sessions_needed: int | None
    alarm: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """The noise floors of all devices that took part; schema 1."""

    schema: Literal[1] = 1
    base: RunRef
    head: RunRef
    margin: float
    confidence: float
    floors: tuple[NoiseFloor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One run in a trend: the geometric mean of its session medians with its interval (None for one session).

    ``changed`` says in words what is not as in the point before (runtime, system, model, plan and so on). ``step`` is
    the change of level that begins here, as a ratio; None where none does.
    """

    run_id: str
    created_utc: str
    cell_id: str
    median_ns: float
    low_ns: float | None
    high_ns: float | None
    sessions: int
    changed: tuple[str, ...]
    step: float | None
    step_p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A build of a model on one device over the runs, in order of time; schema 1."""

    schema: Literal[1] = 1
    model: str
    build_id: str
    device: DeviceInfo
    points: tuple[TrendPoint, ...]
