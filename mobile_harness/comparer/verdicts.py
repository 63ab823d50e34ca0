"""From tested changes to verdicts: Holm's correction over all tests that share a false alarm rate, then three ways.

A change is *equivalent* when its whole interval lies within the margin either way, else *regressed* or *improved* when
its adjusted p value says that it is real, else *inconclusive*. A real change smaller than the margin is equivalent on
purpose; one whose size is not pinned down below the margin is not. That is why a true slow-down of exactly the margin
is found: asking for the whole interval beyond the margin would miss it 39 times in 40.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mobile_harness import stats
from mobile_harness.comparer.values import Change, Criteria, Metric, Verdict

Key = tuple[str, str]
"""A cell's or build's name, and a metric."""
WORST: tuple[Verdict, ...] = ("regressed", "inconclusive", "improved", "equivalent")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A change before its verdict, with the deviation between sessions that its power is reckoned from."""

    change: Change
    gates: bool
    deviation: float | None = None


def judge(tested: Mapping[Key, Tested], criteria: Criteria) -> dict[Key, Change]:
    """Give every change its verdict.

    All changes that gate share one false alarm rate. The others share one with those of their metric: they are for
    reading, and looking at one metric should not pay for the other.
    """
    judged: dict[Key, Change] = {}
    for members in _families(tested).values():
        adjusted = stats.holm({key: p for key, p in ((key, tested[key].change.p) for key in members) if p is not None})
        for key in members:
            judged[key] = _judged(tested[key], adjusted.get(key), max(len(adjusted), 1), criteria)
    return {key: judged[key] for key in tested}


def _families(tested: Mapping[Key, Tested]) -> dict[str, list[Key]]:
    families: dict[str, list[Key]] = {}
    for key, item in tested.items():
        families.setdefault("" if item.gates else key[1], []).append(key)
    return families


def _judged(item: Tested, p_adjusted: float | None, family: int, criteria: Criteria) -> Change:
    change = item.change
    margin = change.margin or criteria.margin
    alpha = (1 - criteria.confidence) / family
    sides = (change.sessions_before, change.sessions_after)
    power = change.method == "sessions" and item.deviation is not None
    spread = item.deviation or 0.0
    ready = dataclasses.replace(
        change,
        p_adjusted=p_adjusted,
        family=family,
        margin=margin,
        gates=item.gates and change.p is not None,
        detectable=stats.detectable(spread, *sides, alpha) if power else None,
        sessions_needed=stats.sessions_needed(spread, margin, alpha) if item.deviation is not None else None,
    )
    verdict, beyond = _verdict(ready, 1 - criteria.confidence)
    ready = dataclasses.replace(ready, verdict=verdict, beyond_margin=beyond)
    return dataclasses.replace(ready, reason=_reason(ready))


def _verdict(change: Change, alpha: float) -> tuple[Verdict, bool]:
    """Return the verdict, and whether even the near end of the interval is beyond the margin."""
    if change.effect is None or change.low is None or change.high is None:
        return "inconclusive", False
    difference = change.metric == "accuracy"
    floor, ceiling = (-change.margin, change.margin) if difference else (1 / (1 + change.margin), 1 + change.margin)
    if floor <= change.low and change.high <= ceiling:
        return "equivalent", False
    beyond = change.low > ceiling or change.high < floor
    rest = 0.0 if difference else 1.0
    real = change.low > rest or change.high < rest if change.p_adjusted is None else change.p_adjusted < alpha
    if not real:
        return "inconclusive", False
    worse = change.effect < rest if difference else change.effect > rest
    return "regressed" if worse else "improved", beyond


def _reason(change: Change) -> str:
    """Return why the verdict is what it is, where the figures alone do not say; after what is said already."""
    said = [change.reason] if change.reason else []
    if change.method == "none" and change.effect is not None:
        fewest = min(change.sessions_before, change.sessions_after)
        said.append(f"{fewest} session{'' if fewest == 1 else 's'} on one side: how far sessions differ is not known.")
    if (
        change.method == "sessions"
        and change.detectable is not None
        and change.verdict in ("inconclusive", "equivalent")
    ):
        said.append(f"A change of {100 * change.detectable:.1f} % would have been found four times in five.")
    if change.verdict == "inconclusive" and change.sessions_needed is not None:
        said.append(f"{change.sessions_needed} sessions a side would find one of {100 * change.margin:.3g} %.")
    if change.verdict in ("regressed", "improved") and change.rank_p is not None and _ranks_disagree(change):
        said.append(f"The rank test does not agree (p {change.rank_p:.2g}): a session may be an outlier.")
    return " ".join(said)


def _ranks_disagree(change: Change) -> bool:
    """Say whether the Mann-Whitney test, where it could have agreed, did not."""
    return min(change.sessions_before, change.sessions_after) >= 4 and (change.rank_p or 0) > 0.1


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on many: regressed if any is; equivalent only if all are.

    >>> overall(["improved", "equivalent"]), overall(["improved", "inconclusive"]), overall([])
    ('improved', 'inconclusive', 'inconclusive')
    """
    return next((verdict for verdict in WORST if verdict in verdicts), "inconclusive")


def gates(metric: Metric, kind: str, criteria: Criteria) -> bool:
    """Say whether a metric taken on a kind of device may fail a gate."""
    return kind in criteria.gate_kinds and metric in criteria.gate_metrics
