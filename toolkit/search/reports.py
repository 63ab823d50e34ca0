"""How the search of a target ended, and what would help where nothing was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.core.artifacts import QuantizedModel
from toolkit.search import evidence
from toolkit.search.candidates import SEARCHED, Candidate
from toolkit.search.costs import Weigh
from toolkit.search.evidence import Claim
from toolkit.search.spaces import BASE
from toolkit.search.trail import Certified, Found, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is to be shipped for one target; ``model`` is the file that ``certified`` speaks of, once it is made."""

    candidate: Candidate
    trial: Trial
    certified: Certified
    found: Found
    model: QuantizedModel | None = None

    @property
    def model_id(self) -> str:
        """The id of its build."""
        return f"{self.candidate.target}-{SEARCHED}"


def found_of(target: str, trials: Sequence[Trial], shown: Sequence[Certified], claim: Claim, weigh: Weigh) -> Found:
    """Say how the search of a target ended; ``shown`` are the certified candidates, in the order of certification."""
    held = [one for one in shown if one.holds]
    spent = Found(
        target=target,
        full_bytes=_full_bytes(trials),
        evaluations=sum(one.verdict != "failed" for one in trials) + len(shown),
        samples=sum(one.n for one in trials) + sum(one.n for one in shown),
    )
    if held:
        trial = next(one for one in trials if one.key == held[-1].key)
        return replace(spent, key=trial.key, words=trial.words, size_bytes=trial.size_bytes, cost=trial.cost)
    ran = [one for one in trials if one.verdict != "failed"]
    failed = {one.key for one in shown}  # the safest of all, where any was worth a certificate
    nearest = min((one for one in ran if one.key in failed or not failed), key=_nearness, default=None)
    if nearest is None:
        reasons = tuple(dict.fromkeys(one.reason for one in trials))
        said = f"No candidate could be built or run: {'; '.join(reasons[:3])}" if reasons else "There was none to try."
        return replace(spent, advice=(said,))
    high = next((one.high for one in shown if one.key == nearest.key), nearest.expected_high)
    return replace(
        spent,
        words=nearest.words,
        nearest=nearest.key,
        nearest_high=high,
        size_bytes=nearest.size_bytes,
        cost=nearest.cost,
        advice=tuple(_advice(nearest, high, trials, claim)),
    )


def round_up(bound: float) -> str:
    """Return a bound in three decimals that do not lie below it.

    >>> round_up(0.0312), round_up(0.031)
    ('0.032', '0.031')
    """
    return f"{math.ceil(round(bound * 1000, 6)) / 1000:.3f}"


def _nearness(trial: Trial) -> tuple[float, float]:
    return (trial.expected_high, trial.cost)


def _full_bytes(trials: Sequence[Trial]) -> int:
    plain = [one for one in trials if one.recipe.startswith(BASE) and not one.layers and one.verdict != "failed"]
    first = [one.size_bytes for one in plain if one.recipe == BASE]
    return first[0] if first else min((one.size_bytes for one in plain), default=0)


def _advice(nearest: Trial, high: float, trials: Sequence[Trial], claim: Claim) -> list[str]:
    """Say what would help: more samples, a larger budget, or another float model."""
    half = next((one for one in trials if one.recipe == "float16" and not one.layers), None)
    lost, won = (nearest.lost + 1) / (nearest.n + 2), (nearest.won + 1) / (nearest.n + 2)
    needed = evidence.usual_samples(claim, lost, won)
    said = []
    if half is not None and half.verdict == "beyond":
        said.append(f"Even float16 is beyond the budget (drop {half.drop:+.4f}): only float32 is not.")
    if needed is not None and nearest.verdict != "beyond":
        said.append(f"About {needed} samples to certify by would decide if they are like these.")
    if math.isfinite(high):
        said.append(f"--max-drop {round_up(high)} may do if other samples are like these.")
    said.append("`palmtop tune` fits the weights to 8 bits, after which less has to stay float.")
    return said
