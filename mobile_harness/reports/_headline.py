"""The headline of a report: for each target which build to ship, in one sentence that says no more than was measured.

Among the quantized builds that passed their accuracy check and ran everywhere they were tried, the fastest on phones is
advised; where no phone was measured, the smallest, because a host's, emulator's or simulator's latency ranks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mobile_harness.records import Doubt, Kind
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports.base import Accuracy, Advice, BuildFacts, Performance, Row
from toolkit.core.artifacts import Verdict
from toolkit.core.manifest import FailedBuild, NotExpressible

FLOAT = "float32"
NOT_PHONES: tuple[tuple[Kind, str], ...] = (
    ("host", "host figures: not a phone's"),
    ("emulator", "emulator figures: not a phone's"),
    ("simulator", "simulator figures: not a phone's"),
    ("virtual", "virtual-device figures: not a phone's"),
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A build with its rows of the matrix."""

    build: BuildFacts
    rows: tuple[Row, ...]

    @property
    def measured(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.performance is not None)

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.outcome == "failed")

    @property
    def usable(self) -> bool:
        return self.build.verdict == "pass" and bool(self.measured) and not self.failed


def advise(
    builds: Sequence[BuildFacts],
    rows: Sequence[Row],
    not_expressible: Sequence[NotExpressible],
    failed: Sequence[FailedBuild],
) -> tuple[Advice, ...]:
    """Return one advice a target, in the order of the builds; targets without one come last."""
    targets = dict.fromkeys(item.target for group in (builds, not_expressible, failed) for item in group)
    return tuple(_advice(target, builds, rows, _unmade(target, not_expressible, failed)) for target in targets)


def _unmade(target: str, not_expressible: Sequence[NotExpressible], failed: Sequence[FailedBuild]) -> str:
    reasons = [f"{item.recipe} failed" for item in failed if item.target == target]
    reasons += [f"{item.recipe} is not expressible" for item in not_expressible if item.target == target]
    return ", ".join(reasons)


def _advice(target: str, builds: Sequence[BuildFacts], rows: Sequence[Row], unmade: str) -> Advice:
    mine = [build for build in builds if build.target == target]
    candidates = [_Candidate(build, tuple(row for row in rows if row.build_id == build.id)) for build in mine]
    base = next((item for item in candidates if item.build.recipe == FLOAT), None)
    quantized = [item for item in candidates if item is not base]
    if not quantized:
        reason = "; ".join(filter(None, (unmade, "only the float32 build exists" if base else "")))
        title = f"No quantized build of {target}"
        return Advice(target=target, decision="stop", build_id=None, title=title, reason=reason, figures="")
    usable = [item for item in quantized if item.usable]
    if usable:
        return _ship(target, usable, base, _common_doubts(rows))
    return _not_yet(target, min(quantized, key=_readiness), base)


def _common_doubts(rows: Sequence[Row]) -> frozenset[Doubt]:
    """Return the doubts that every measured row shares: they are about the place, which the label names already."""
    held = [set(row.doubts) for row in rows if row.performance]
    return frozenset(set.intersection(*held)) if len(held) > 1 else frozenset()


def _ship(target: str, usable: Sequence[_Candidate], base: _Candidate | None, common: frozenset[Doubt]) -> Advice:
    on_phones = all(_phone_medians(item) for item in usable)
    best = min(usable, key=_phone_latency if on_phones else lambda item: item.build.size_bytes)
    why = "fastest on phones" if on_phones else "smallest"
    parts = [f"{why} of the {len(usable)} that pass" if usable[1:] else "", _accuracy_words(best.build)]
    parts += [_size_words(best.build), _latency_words(best, base)]
    doubts = {doubt for row in best.rows for doubt in row.doubts} - common
    if doubts:
        parts.append(f"{numbers.count(len(doubts), 'doubt')} about its figures")
    return Advice(
        target=target,
        decision="ship",
        build_id=best.build.id,
        title=f"Ship {best.build.recipe}",
        reason="; ".join(filter(None, parts)),
        figures=where_words(best.measured),
    )


def _readiness(item: _Candidate) -> tuple[int, int]:
    """Order the builds that cannot ship yet by how near they are."""
    order = {"pass": 0, "undecided": 1, None: 2, "fail": 3}
    return order[item.build.verdict], item.build.size_bytes


def _not_yet(target: str, item: _Candidate, base: _Candidate | None) -> Advice:
    stop = item.build.verdict == "fail"
    parts = [_verdict_words(item.build)]
    if item.build.verdict == "undecided":
        parts.append(_missing_words(item.build.accuracy))
    if item.failed:
        places = ", ".join(dict.fromkeys(row.device_name for row in item.failed))
        parts.append(f"it failed on {places}")
    elif not item.measured:
        parts.append("no device measured it, `palmtop bench` does")
    if stop:
        keep = "ship float32 instead, or " if base and base.usable else ""
        parts.append(f"{keep}quantize again with another recipe")
    return Advice(
        target=target,
        decision="stop" if stop else "hold",
        build_id=item.build.id,
        title=f"{'Do not ship' if stop else 'Hold'} {item.build.recipe}",
        reason="; ".join(parts),
        figures=where_words(item.measured),
    )


def _verdict_words(build: BuildFacts) -> str:
    """Say why a build is not through: a reason comes before the score, which may look fine all the same."""
    if build.verdict_reason and build.verdict in ("fail", "undecided"):
        reason = build.verdict_reason.rstrip(".")
        return reason[:1].lower() + reason[1:] if reason[1:2].islower() else reason
    return _accuracy_words(build) or _CHECKED[build.verdict]


_CHECKED: dict[Verdict | None, str] = {
    None: "its accuracy was not checked, `palmtop verify` does",
    "pass": "its outputs are close to the float model's",
    "fail": "its check failed, and no reason was recorded",
    "undecided": "its check is undecided",
}


def _missing_words(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "labelled samples would decide"
    number = f"about {accuracy.more_samples:,} " if accuracy.more_samples else ""
    return f"{number}more labelled samples would decide"


def _size_words(build: BuildFacts) -> str:
    size = numbers.size_unit([build.size_bytes]).show(build.size_bytes)
    if build.size_ratio is None:
        return size
    word = "smaller" if build.size_ratio >= 1 else "larger"
    factor = max(build.size_ratio, 1 / build.size_ratio) if build.size_ratio else math.inf
    return f"{size}, {numbers.ratio(factor)} {word} than float32"


def _accuracy_words(build: BuildFacts) -> str:
    accuracy = build.accuracy
    if accuracy is None:
        return _fidelity_words(build)
    budget = numbers.metric_change(accuracy, accuracy.max_drop)
    held = {
        "pass": f"within the budget of {budget}",
        "fail": f"over the budget of {budget}",
        "undecided": f"too few samples to tell whether within the budget of {budget}",
    }[accuracy.verdict]
    confidence = numbers.share(accuracy.drop_interval.confidence)
    return (
        f"{numbers.metric_name(accuracy)} {numbers.metric_value(accuracy, accuracy.value)}, {_drop_words(accuracy)}, "
        f"{held} ({confidence} interval {numbers.metric_interval(accuracy)}, n = {accuracy.samples:,})"
    )


def _drop_words(accuracy: Accuracy) -> str:
    shown = numbers.metric_change(accuracy, abs(accuracy.drop))
    if accuracy.drop == 0:
        return "equal to the float model"
    return f"{shown} {'below' if accuracy.drop > 0 else 'above'} the float model"


def _fidelity_words(build: BuildFacts) -> str:
    if not build.outputs or build.verdict is None:
        return ""
    worst = min(build.outputs, key=lambda output: output.sqnr_db)
    return f"no task score, worst output {worst.output} at {numbers.decibel(worst.sqnr_db)} SQNR"


def _latency_words(item: _Candidate, base: _Candidate | None) -> str:
    rows = _phone_rows(item) or item.measured
    medians = _medians(rows)
    if not medians:
        return "latency not known, too few runs"
    unit = numbers.time_unit(medians)
    rows = tuple(row for row in rows if _medians((row,)))
    if len(rows) > 1:
        low, high = unit.bare(min(medians)), unit.show(max(medians))
        return f"median {low} to {high} on {len(rows)} devices"
    row = rows[0]
    if row.performance and row.performance.stand_in:
        return "latency not known, a stand-in for the runtime executed it"
    place = row.device_name if row.device and row.device.kind == "phone" else _place_words(row)
    return f"median {unit.show(medians[0])} on {place}{_speed_words(row, base)}"


def _place_words(row: Row) -> str:
    kind = row.device.kind if row.device else "host"
    return "the host" if kind == "host" else f"{'an' if kind == 'emulator' else 'a'} {kind} ({row.device_name})"


def _speed_words(row: Row, base: _Candidate | None) -> str:
    same = [other for other in base.measured if other.device == row.device] if base else []
    if not same or same[0].performance is None or row.performance is None or same[0].performance.stand_in:
        return ""
    return ", " + compare_words(row.performance, same[0].performance)


def compare_words(mine: Performance, base: Performance) -> str:
    """Say how a latency stands to float32's; a factor only where the two intervals do not overlap."""
    if mine.median_ns is None or base.median_ns is None:
        return "too few runs for a comparison with float32"
    if mine.interval is None or base.interval is None:
        return "one session only, so no comparison with float32"
    if mine.interval.high < base.interval.low:
        return f"{_times(base.median_ns / mine.median_ns)} faster than float32"
    if mine.interval.low > base.interval.high:
        return f"{_times(mine.median_ns / base.median_ns)} slower than float32"
    return "not clearly different from float32"


def _times(factor: float) -> str:
    return numbers.ratio(factor) if factor >= 1.1 else f"{100 * (factor - 1):.0f}{numbers.THIN}%"


def _phone_rows(item: _Candidate) -> tuple[Row, ...]:
    return tuple(row for row in item.measured if row.device is not None and row.device.kind == "phone")


def _phone_medians(item: _Candidate) -> list[float]:
    return _medians(_phone_rows(item))


def _medians(rows: Iterable[Row]) -> list[float]:
    found = (row.performance.median_ns for row in rows if row.performance)
    return [median for median in found if median is not None]


def _phone_latency(item: _Candidate) -> tuple[int, float]:
    """Order by phones covered, then by the geometric mean of the medians there."""
    medians = _phone_medians(item)
    return -len(medians), math.exp(sum(math.log(max(median, 1.0)) for median in medians) / len(medians))


def where_words(rows: Iterable[Row]) -> str:
    """Name where figures were taken; nothing but phones counts as a phone."""
    kinds = {row.device.kind for row in rows if row.device is not None}
    if not kinds:
        return "not measured"
    if kinds == {"phone"}:
        return "phone figures"
    if "phone" in kinds:
        return "phone figures; other rows are marked"
    return "; ".join(words for kind, words in NOT_PHONES if kind in kinds)
