"""Sentences that several formats share: when, how and where a run was measured, and what its figures mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mobile_harness.records import DeviceInfo, Doubt, RunPlan
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports.base import Accuracy, BuildFacts, Decision, Document, DownloadTime, Row, RowOutcome
from toolkit.core.artifacts import Preprocess, Signature, TensorSpec, ToolVersion
from toolkit.core.manifest import DataEntry

DECISIONS: dict[Decision, str] = {"ship": "Ship", "hold": "Hold", "stop": "Do not ship"}
OUTCOMES: dict[RowOutcome, str] = {
    "measured": "measured",
    "failed": "failed",
    "skipped": "skipped",
    "unmeasured": "not measured",
}
_ACCURACY = (
    "Accuracy is held against the float model on the same samples. The interval covers the drop; where it spans the "
    "budget the verdict is undecided."
)
_SESSIONS = (
    "The session, a fresh process, is the unit: median, p90 and p99 are geometric means of each session's own "
    "nearest-rank percentile, left out where a session has too few runs. The interval is over session medians."
)
_LOAD = (
    "Load is the time from a file to a model that can run: cold in a fresh process, warm a second time in it. Peak "
    "memory is the largest resident size of the runner's process, runtime included."
)
_SQNR = "SQNR is signal over error energy in decibels against the float model's output: 6 dB more is half the error."
_ENERGY = (
    "Energy is what an inference takes above the idle device, by the best meter that it has; PSS counts memory that "
    "processes share once."
)
NOTES = (_ACCURACY, _SESSIONS, _LOAD, _ENERGY, _SQNR, "1 kB is 1,000 bytes.")


@dataclass(frozen=True, slots=True)
class Units:
    """The unit of each column of the matrix, chosen for all rows together."""

    size: numbers.Unit
    latency: numbers.Unit
    load: numbers.Unit
    first: numbers.Unit
    memory: numbers.Unit


def units_of(document: Document) -> Units:
    """Choose the units for the figures of a document."""
    done = [row.performance for row in document.rows if row.performance]
    return Units(
        size=numbers.size_unit(row.size_bytes for row in document.rows),
        latency=numbers.time_unit(item.median_ns or item.mean_ns for item in done),
        load=numbers.time_unit(item.load_cold_ns for item in done),
        first=numbers.time_unit(item.first_ns for item in done),
        memory=numbers.memory_unit(item.peak_rss_kb for item in done),
    )


def moment(utc: str) -> str:
    """Return a time such as ``22 Nov 2026, 10:10 UTC``; text that is no ISO time is returned as it is."""
    try:
        at = datetime.fromisoformat(utc)
    except ValueError:
        return utc
    shown = at.astimezone(UTC) if at.tzinfo else at
    return f"{shown.day} {MONTHS[shown.month - 1]} {shown:%Y, %H:%M} UTC"


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def plan_words(plan: RunPlan) -> str:
    """Return the plan in one line."""
    threads = numbers.count(plan.threads, "thread") if plan.threads else "the runtime's own number of threads"
    return (
        f"{plan.name}: {numbers.count(plan.sessions, 'session')}, each at least {numbers.count(plan.min_runs, 'run')} "
        f"and {plan.min_seconds:g} s after warm-up, {threads}, {plan.accelerator}"
    )


def warmup_words(plan: RunPlan) -> str:
    """Return how the plan warms up."""
    return (
        f"at least {plan.warmup_min_s:g} s and {numbers.count(plan.warmup_min_runs, 'run')}, then until block medians "
        f"stand still, at most {plan.warmup_max_s:g} s"
    )


def preprocess_words(preprocess: Preprocess) -> str:
    """Return the preprocessing in its order of work."""
    steps = []
    if preprocess.resize or preprocess.crop or preprocess.colour != "rgb":
        steps.append(f"colour {preprocess.colour}")
    for name, size in (("resize to", preprocess.resize), ("crop to", preprocess.crop)):
        if size:
            steps.append(f"{name} {size[0]} × {size[1]}")
    if preprocess.scale != 1.0:
        steps.append(f"times {preprocess.scale:.6g}")
    for name, values in (("less mean", preprocess.mean), ("over std", preprocess.std)):
        if values:
            steps.append(f"{name} {', '.join(f'{value:g}' for value in values)}")
    if preprocess.layout != "nhwc":
        steps.append(f"layout {preprocess.layout}")
    return ", ".join(steps) or "none: values go in as they are stored"


def data_words(data: DataEntry | None) -> str:
    """Return a data set in one line."""
    if data is None:
        return "none"
    method = f", {data.method}" if data.method else ""
    return f"{data.data} ({data.format}), {numbers.count(data.samples, 'sample')}{method}"


def tools_words(tools: Iterable[ToolVersion]) -> str:
    """Return tools and versions in one line."""
    return ", ".join(f"{tool.name} {tool.version}" for tool in tools) or "not recorded"


def tensor_words(tensor: TensorSpec) -> str:
    """Return a tensor such as ``image float32 [1, 28, 28, 1]``."""
    shape = ", ".join("?" if axis < 0 else str(axis) for axis in tensor.shape)
    return f"{tensor.name} {tensor.dtype} [{shape}]"


def signature_words(signature: Signature) -> str:
    """Return inputs and outputs in one line."""
    inputs = "; ".join(tensor_words(tensor) for tensor in signature.inputs)
    return f"{inputs} → {'; '.join(tensor_words(tensor) for tensor in signature.outputs)}"


def needs_words(build: BuildFacts) -> str:
    """Return what a phone must offer to run a build."""
    needs = build.requirements
    parts = [f"{needs.runtime} {needs.runtime_min} or newer".replace("  ", " ")]
    if needs.android_api_min is not None:
        parts.append(f"Android API {needs.android_api_min}")
    if needs.ios_min:
        parts.append(f"iOS {needs.ios_min}")
    return ", ".join(parts)


def device_words(device: DeviceInfo) -> str:
    """Return a device's facts in one line."""
    ram_kb = device.ram_mb * 1024
    unit = numbers.memory_unit([ram_kb])
    memory = f"{numbers.digits(ram_kb / unit.scale, 2)}{numbers.THIN}{unit.name} of memory" if ram_kb else ""
    facts = dict.fromkeys((device.soc, f"{device.platform} {device.os_version}", "/".join(device.abis), memory))
    return ", ".join(fact for fact in facts if fact)


def metric_names(document: Document) -> str:
    """Return the metrics of the builds, for the head of a column; ``accuracy`` where there is none."""
    names = dict.fromkeys(numbers.metric_name(build.accuracy) for build in document.builds if build.accuracy)
    return " / ".join(names) or "accuracy"


def confidences(accuracies: Sequence[Accuracy]) -> str:
    """Return the confidence of the intervals, such as ``95 %``."""
    shown = dict.fromkeys(numbers.share(item.drop_interval.confidence) for item in accuracies)
    return " / ".join(shown) or numbers.share(0.95)


def doubts(document: Document) -> list[tuple[str, list[str]]]:
    """Return each kind of doubt once, with the range of its figures, and the builds and devices it is about."""
    measured = Counter(row.device_name for row in document.rows if row.performance)
    messages: dict[str, dict[str, None]] = {}
    places: dict[str, dict[str, list[str]]] = {}
    for row in document.rows:
        for doubt in row.doubts:
            key = doubt_key(doubt)
            messages.setdefault(key, {})[doubt.message] = None
            places.setdefault(key, {}).setdefault(row.device_name, []).append(row.build_id)
    return [
        (_together(tuple(messages[key])), [_about(name, builds, measured[name]) for name, builds in of.items()])
        for key, of in places.items()
    ]


def doubt_key(doubt: Doubt) -> str:
    """Return what doubts that are shown in one line have in common."""
    return doubt.kind or doubt.message


_FIGURE = re.compile(r"[+-]?[0-9]{1,15}")


def _together(messages: Sequence[str]) -> str:
    """Return sentences of one kind as one, with ranges for the figures that differ.

    >>> _together(["Medians lie 8 % apart in 1 of 3 sessions.", "Medians lie 89 % apart in 2 of 3 sessions."])
    'Medians lie 8 to 89 % apart in 1 to 2 of 3 sessions.'
    """
    figures = [_FIGURE.findall(message) for message in messages]
    if len({len(found) for found in figures}) > 1:
        return " ".join(messages)
    ranges = iter([sorted(set(column), key=int) for column in zip(*figures, strict=True)])

    def shown(_: re.Match[str]) -> str:
        found = next(ranges)
        return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"

    return _FIGURE.sub(shown, max(messages, key=len))


def _about(device_name: str, builds: list[str], measured: int) -> str:
    names = list(dict.fromkeys(builds))
    whole = len(names) == measured > 1
    return f"all {measured} builds on {device_name}" if whole else f"{', '.join(names)} on {device_name}"


def download_words(item: DownloadTime) -> str:
    """Return how long a download takes, such as ``0.42 s`` or ``0.12 to 0.36 s``."""
    shortest, longest = (f"{time:.2f}" if time < 10 else f"{time:,.0f}" for time in (item.shortest_s, item.longest_s))
    if item.longest_s < 0.1:
        return f"below 0.1{numbers.THIN}s"
    return f"{shortest if shortest == longest else f'{shortest} to {longest}'}{numbers.THIN}s"


def download_table(document: Document) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the heads and the rows of the download times: a row a build, a column a kind of network."""
    networks = {item.network: item for item in document.downloads}
    heads = ("Build", *(f"{name}, {rate_words(item)}" for name, item in networks.items()))
    starts = range(0, len(document.downloads), max(len(networks), 1))
    of_builds = (document.downloads[start : start + len(networks)] for start in starts)
    return heads, tuple((items[0].build_id, *map(download_words, items)) for items in of_builds)


def rate_words(item: DownloadTime) -> str:
    """Return the rates of a kind of network, such as ``23 to 62 Mbit/s``."""
    slow, fast = (f"{rate:.0f}" if rate >= 10 else f"{rate:g}" for rate in (item.slowest_mbit_s, item.fastest_mbit_s))
    return f"{slow if slow == fast else f'{slow} to {fast}'} Mbit/s"


def verdict_reasons(document: Document) -> list[tuple[str, str, str]]:
    """Return the id, the verdict in words and the reason of each build that did not pass for a reason that is known."""
    shown = {"fail": "failed its check", "undecided": "is undecided"}
    return [
        (build.id, shown[build.verdict], build.verdict_reason)
        for build in document.builds
        if build.verdict_reason and build.verdict in shown
    ]


def row_name(row: Row) -> str:
    """Return the words for a row: the build and where it ran."""
    return f"{row.build_id} on {row.device_name}" if row.device else row.build_id


def failure_words(row: Row) -> str:
    """Return why a row has no figures, empty for a measured row."""
    if row.failure is None:
        return {"measured": "", "failed": "no reason was recorded", "skipped": "skipped", "unmeasured": ""}[row.outcome]
    hint = f" {row.failure.hint}" if row.failure.hint else ""
    return f"{row.failure.kind}: {row.failure.message}{hint}"
