"""What a report shows, as one frozen value, and the contract of a format.

A format is a module of this room that is a :class:`Report`; the module's name is the word a user types. Modules that
start with an underscore are shared by the formats. Every format shows the same value: a :class:`Document` for a run, a
:class:`mobile_harness.comparer.Comparison` for two, a :class:`HistoryDocument` for many; the JSON format *is* it.
Times are nanoseconds, memory kilobytes (1024 bytes), sizes bytes; a figure that was not taken is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from mobile_harness.comparer import Comparison, Trend
from mobile_harness.records import DeviceInfo, Doubt, Failure, RunPlan
from mobile_harness.records.state import Energy, Part, Placement, Unavailable
from mobile_harness.stats import Interval
from toolkit.core.artifacts import KeptFloat, LayerError, Preprocess, Requirements, Signature, ToolVersion, Verdict
from toolkit.core.manifest import DataEntry, FailedBuild, NotExpressible, SourceEntry
from toolkit.core.precision import SearchEntry, SensitivityEntry

SCHEMA = 1

Decision = Literal["ship", "hold", "stop"]
RowOutcome = Literal["measured", "failed", "skipped", "unmeasured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How a build did on the labelled samples, held against the float model on the same samples.

    ``drop`` is the float model's value less the build's. ``fraction`` says that values lie between 0 and 1 and read as
    percentages; other metrics are shown as they are.
    """

    metric: str
    fraction: bool
    value: float
    float_value: float
    drop: float
    drop_interval: Interval
    max_drop: float
    samples: int
    method: str
    verdict: Verdict
    more_samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """How warm a device was around a session: the warmest reading of ``part``, in degrees Celsius.

    ``status_*`` are Android's throttling status, 0 (none) to 6; ``waited_s`` is how long the device cooled down before,
    ``cooled`` whether that was enough, else ``reason``; ``mean_mhz`` the mean clock of each cluster, slowest first.
    What the device does not tell is None.
    """

    part: Part | None
    start_c: float | None
    end_c: float | None
    status_start: int | None
    status_end: int | None
    waited_s: float
    cooled: bool
    reason: str
    mean_mhz: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFigures:
    """One session, a fresh process. Its percentiles, the median too, are None where the runs are too few.

    ``trace_ns`` are medians of consecutive blocks of its runs, each of which ended ``trace_at_ns`` after the series
    began, counted in the time of inferences: how the latency went, for the eye.
    """

    index: int
    runs: int
    median_ns: int | None
    q25_ns: int | None
    q75_ns: int | None
    p90_ns: int | None
    load_cold_ns: int
    load_warm_ns: int
    first_ns: int
    peak_rss_kb: int
    warmup_runs: int
    warmup_ns: int
    warmup_converged: bool
    started_utc: str
    trace_at_ns: tuple[int, ...] = ()
    trace_ns: tuple[int, ...] = ()
    heat: Heat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many runs of all sessions took how long, for the eye: statistics are over sessions.

    ``counts`` are over bins of equal ratio from ``low_ns`` to ``high_ns``, the 99th percentile; ``above`` took longer.
    """

    low_ns: int
    high_ns: int
    counts: tuple[int, ...]
    above: int

    def edges_ns(self) -> tuple[float, ...]:
        """Return the edges of the bins, one more than there are bins."""
        step = (self.high_ns / self.low_ns) ** (1 / len(self.counts))
        return tuple(self.low_ns * step**at for at in range(len(self.counts) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """One build on one device.

    The latency figures are those of :class:`mobile_harness.stats.Summary`: over sessions, ``interval`` None for a
    single one, percentiles None where runs are too few. Load and first-inference times are medians over sessions,
    memory figures the largest of any session; ``model_rss_kb`` is what loading the build added. ``output_max_abs`` and
    ``output_cosine`` are the worst differences from the golden outputs on this device, None where they were not
    checked. ``pss_kb`` is the largest proportional set size that Android tells of the app. ``stand_in`` says that
    another runtime than the one that ships executed the build: the figures are its. Native tools tell no series:
    ``mean_ns`` is their average then, and what they do not tell is None.
    """

    median_ns: float | None
    interval: Interval | None
    p90_ns: float | None
    p99_ns: float | None
    runs: int
    load_cold_ns: int | None
    load_warm_ns: int | None
    first_ns: int | None
    peak_rss_kb: int | None
    model_rss_kb: int | None
    output_max_abs: float | None
    output_cosine: float | None
    stand_in: bool
    sessions: tuple[SessionFigures, ...]
    mean_ns: float | None = None
    pss_kb: int | None = None
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the matrix: a build on a device, or a build that this run measured nowhere (``device`` is None).

    ``device_name`` is unique within the report. ``size_ratio`` is the float32 build's size over this one's; None where
    the target has no float32 build. ``verdict_reason`` is the build's. ``advised`` marks the build of a headline.
    ``energy`` says why there is no figure where one was asked for; ``placement`` is the least of what ran where it was
    asked to.
    """

    cell_id: str
    build_id: str
    target: str
    recipe: str
    device: DeviceInfo | None
    device_name: str
    outcome: RowOutcome
    size_bytes: int
    size_ratio: float | None
    accuracy: Accuracy | None
    verdict: Verdict | None
    verdict_reason: str
    performance: Performance | None
    runner: str
    runtime: str
    runtime_version: str
    doubts: tuple[Doubt, ...]
    failure: Failure | None
    advised: bool
    energy: Energy | Unavailable | None = None
    placement: Placement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """How far one output of a build is from the float model's; ``sqnr_db`` is infinite where both are equal."""

    output: str
    sqnr_db: float
    cosine: float
    max_abs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """Where one build comes from, what it needs, and where it loses accuracy.

    ``verdict_reason`` says why in a sentence where the score does not, such as that the build did not run.
    ``layer_errors`` are the worst first; ``layer_errors_note`` says why there are none where there should be.
    """

    id: str
    target: str
    recipe: str
    path: str
    sha256: str
    size_bytes: int
    size_ratio: float | None
    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    requirements: Requirements
    toolchain: tuple[ToolVersion, ...]
    outputs: tuple[OutputError, ...]
    layer_errors: tuple[LayerError, ...]
    layer_errors_note: str
    accuracy: Accuracy | None
    verdict: Verdict | None
    verdict_reason: str
    golden_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """For one target: which build to ship, and why, in one plain sentence.

    ``ship``: the build may go out as far as these figures reach. ``hold``: something is still open, ``reason`` says
    what. ``stop``: no quantized build of this target should go out. ``figures`` names where the figures were taken.
    """

    target: str
    decision: Decision
    build_id: str | None
    title: str
    reason: str
    figures: str

    @property
    def sentence(self) -> str:
        """The advice in one sentence."""
        return f"{self.title}: {self.reason}."


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadTime:
    """Seconds that a build takes over a kind of network, at the slowest and the fastest typical rate of some phones."""

    build_id: str
    network: str
    slowest_mbit_s: float
    fastest_mbit_s: float
    longest_s: float
    shortest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All that a report of one run shows (schema 1). Names are added, never renamed.

    ``notes`` are sentences that have to be read with the headline. ``downloads_note`` says whose networks those of
    ``downloads`` are. ``sensitivity`` and ``search`` are there where ``palmtop search`` made the builds.
    """

    schema: Literal[1] = 1
    palmtop: str
    run_id: str
    created_utc: str
    model: str
    where: str
    notes: tuple[str, ...]
    headline: tuple[Advice, ...]
    rows: tuple[Row, ...]
    builds: tuple[BuildFacts, ...]
    not_expressible: tuple[NotExpressible, ...]
    failed_builds: tuple[FailedBuild, ...]
    source: SourceEntry
    preprocess: Preprocess
    calibration: DataEntry | None
    verification: DataEntry | None
    plan: RunPlan
    devices: tuple[DeviceInfo, ...]
    toolchain: tuple[ToolVersion, ...]
    build_dir: str
    downloads: tuple[DownloadTime, ...] = ()
    downloads_note: str = ""
    sensitivity: SensitivityEntry | None = None
    search: SearchEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDocument:
    """A build over the runs of a store (schema 1): a trend for every model and device. Names are added, never renamed.

    ``damaged`` says by run why what it holds could not be read.
    """

    schema: Literal[1] = 1
    palmtop: str
    build_id: str
    trends: tuple[Trend, ...]
    damaged: dict[str, str]


class Report(Protocol):
    """A format: ``mobile_harness/reports/NAME.py``. Names are untrusted: what the format gives a meaning is escaped."""

    SUFFIX: str
    """Ending of its files, with the dot, such as ``.html``."""

    def render(self, document: Document) -> str:
        """Return the whole report of a run as text."""

    def render_comparison(self, comparison: Comparison) -> str:
        """Return what changed between two runs as text."""

    def render_history(self, history: HistoryDocument) -> str:
        """Return a build over the runs as text."""
