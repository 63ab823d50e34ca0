"""From the statistics of a calibration pass to what a user should know of it: values for build.json, lines to read."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import numpy as np

from toolkit.core.artifacts import CalibrationReport, Range, StillChannels, TargetCalibration, TensorShare
from toolkit.ranges import _findings
from toolkit.ranges.base import Seen

MOST = 20
"""The most tensors, and channels of a tensor, that a list names."""
LONGEST_NAME = 48
"""Characters of a tensor's name on screen."""
TOLD_SHARE = 0.0001
"""The least share of a tensor's values cut off that is worth a word on screen."""
ENOUGH_SAMPLES = 8
"""With fewer samples a channel that stood still is no news."""


def of_target(seen: Sequence[Seen], inputs: Container[str] = ()) -> TargetCalibration:
    """Say what the pass over one target's float model showed; of its ``inputs`` channels are not looked at."""
    constant = _findings.constant(seen)
    moving = [one for one in seen if one.low < one.high and one.tensor not in inputs]
    still = [one for one in moving if one.still_channels.size and one.samples >= ENOUGH_SAMPLES]
    return TargetCalibration(
        tensors=len(seen),
        settled_samples=_findings.settled_after(seen),
        constant_tensors=constant[:MOST],
        dead_channels=_channels((one, one.still_channels[one.still_values == 0]) for one in still),
        stuck_channels=_channels((one, one.still_channels[one.still_values != 0]) for one in still),
        at_bound=tuple(TensorShare(tensor=name, share=share) for name, share in _findings.at_bound(seen)[:MOST]),
    )


def _channels(found: Iterable[tuple[Seen, np.ndarray[tuple[int], np.dtype[np.int64]]]]) -> tuple[StillChannels, ...]:
    named = (
        StillChannels(tensor=one.tensor, count=len(channels), channels=tuple(channels[:MOST].tolist()))
        for one, channels in found
        if len(channels)
    )
    return tuple(sorted(named, key=lambda item: -item.count)[:MOST])


def clipped(seen: Iterable[Seen], ranges: Mapping[str, Range]) -> tuple[TensorShare, ...]:
    """Return the tensors of which ranges leave out most, the worst first."""
    shares = (TensorShare(tensor=one.tensor, share=one.clipped_share(ranges[one.tensor])) for one in seen)
    return tuple(sorted((one for one in shares if one.share > 0), key=lambda item: -item.share)[:MOST])


def joined(reports: Iterable[CalibrationReport]) -> CalibrationReport | None:
    """Make one report of several on the same data; a target's range methods come together."""
    suspicions: dict[str, None] = {}
    notes: dict[str, None] = {}
    targets: dict[str, TargetCalibration] = {}
    found = False
    for report in reports:
        found = True
        suspicions |= dict.fromkeys(report.suspicions)
        notes |= dict.fromkeys(report.notes)
        for name, target in report.targets.items():
            before = targets[name].clipped if name in targets else {}
            targets[name] = dataclasses.replace(target, clipped={**before, **target.clipped})
    if not found:
        return None
    return CalibrationReport(suspicions=tuple(suspicions), targets=targets, notes=tuple(notes))


def warnings(report: CalibrationReport, samples: int) -> Iterator[str]:
    """Yield what a user should do something about."""
    yield from report.suspicions
    growing = [name for name, target in report.targets.items() if target.settled_samples is None]
    if growing and samples > 2:
        yield (
            f"Ranges on {', '.join(growing)} still grew in the last third of the {samples} samples: "
            "more, or more typical, samples would help."
        )


def lines(report: CalibrationReport, samples: int) -> tuple[str, ...]:
    """Return the report as a few plain lines: one a target, and what was noted of the data."""
    facts = (f"Calibration of {name}: {'; '.join(_facts(target, samples))}." for name, target in report.targets.items())
    return (*facts, *report.notes)


def _facts(target: TargetCalibration, samples: int) -> Iterator[str]:
    settled = target.settled_samples
    yield f"{target.tensors} tensors over {samples} samples"
    yield "ranges still growing at the end" if settled is None else f"ranges settled after {settled}"
    for kind, channels in (("dead", target.dead_channels), ("stuck", target.stuck_channels)):
        if channels:
            most = channels[0]
            yield f"{kind} channels in {_counted(channels, 'tensor')}, most in {_short(most.tensor)} ({most.count})"
    if target.constant_tensors:
        yield f"{_counted(target.constant_tensors, 'constant tensor')}, such as {_short(target.constant_tensors[0])}"
    if target.at_bound:
        worst, its = target.at_bound[0], "its" if len(target.at_bound) == 1 else "their"
        where = f"{_short(worst.tensor)} ({worst.share:.0%})"
        yield f"{_counted(target.at_bound, 'tensor')} mostly at {its} bound, such as {where}"
    for method, shares in target.clipped.items():
        if shares and shares[0].share >= TOLD_SHARE:
            yield f"{method} cuts off at most {shares[0].share:.2%} ({_short(shares[0].tensor)})"


def _counted(found: Sequence[object], what: str) -> str:
    number = f"{len(found)}" if len(found) < MOST else f"{MOST} or more"
    return f"{number} {what}" + ("" if len(found) == 1 else "s")


def _short(tensor: str) -> str:
    """Return the end of a converter's long name, where the layer is."""
    last = tensor.split(";")[0]
    return last if len(last) <= LONGEST_NAME else "…" + last[1 - LONGEST_NAME :]
