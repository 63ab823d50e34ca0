"""A search's choice and certification done over and over, on samples whose true drops are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from toolkit.search import evidence
from toolkit.search.evidence import Claim
from toolkit.search.explorer import chain
from toolkit.search.running import BLOCK
from toolkit.search.trail import Trial


def everything_of(drops: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(drops.values()))


def replayed(
    drops: dict[str, np.ndarray],
    trials: dict[str, Trial],
    claim: Claim,
    sizes: tuple[int, int],
    rng: np.random.Generator,
) -> str | None:
    """Choose and certify once on samples drawn with replacement; return the key of what was certified."""
    count = len(everything_of(drops))
    choosing, certifying = rng.integers(0, count, sizes[0]), rng.integers(0, count, sizes[1])
    judged = []
    for key, trial in trials.items():
        seen = drops[key][choosing]
        decision, used = "open", len(seen)
        for stop in range(BLOCK, len(seen) + BLOCK, BLOCK):
            decision, used = evidence.decide(seen[:stop], claim), min(stop, len(seen))
            if decision != "open":
                break
        expected = evidence.likely_bound(seen[:used], claim, sizes[1])
        leaning = "likely" if expected <= claim.max_drop else "unlikely"
        verdict = leaning if decision == "open" else decision
        judged.append(dataclasses.replace(trial, verdict=verdict, expected_high=expected, n=used))
    certified = None
    for trial in chain(judged):
        if not evidence.holds(drops[trial.key][certifying], claim):
            break
        certified = trial.key
    return certified


def simulate(repeats: int, samples: int = 300) -> None:
    """Repeat choice and certification of candidates whose true drops lie around the budget, on fresh samples each time.

    The trap for whoever chooses and certifies on the same samples, which is done beside it.
    """
    rng, claim = np.random.default_rng(0), Claim(max_drop=0.05, confidence=0.95)
    drops = (0.0, 0.02, 0.051, 0.052, 0.053, 0.055, 0.06, 0.08)
    broken = dipped = empty = 0
    for _ in range(repeats):
        certified = replayed_anew(drops, samples, claim, rng)
        empty += certified is None
        broken += certified is not None and certified > claim.max_drop
        seen = [(rng.random(samples) < drop).astype(float) for drop in drops]
        lightest = [drop for drop, lost in zip(drops, seen, strict=True) if evidence.holds(lost, claim)][-1:]
        dipped += bool(lightest) and lightest[0] > claim.max_drop
    print(
        f"{repeats} simulated searches, drops of {drops}, budget {claim.max_drop:g} at {claim.confidence:.0%}; "
        f"{samples} samples choose, {samples} others certify:\n  {repeats - broken} keep their word "
        f"({(repeats - broken) / repeats:.1%}), {empty} of them by certifying nothing; "
        f"of choosing the lightest by a certificate on the choosing samples {repeats - dipped} do"
    )


def replayed_anew(drops: Sequence[float], samples: int, claim: Claim, rng: np.random.Generator) -> float | None:
    """Choose and certify once among candidates that lose samples at rates of `drops`; return that of the certified one.

    Lighter candidates lose more, and have the larger error in their outputs, as builds have.
    """
    judged, certifying = [], {}
    for place, drop in enumerate(drops):
        trial = _made_up(f"{place}", place, (rng.random(samples) < drop).astype(float), claim)
        judged.append(trial)
        certifying[trial.key] = (rng.random(samples) < drop).astype(float)
    certified = None
    for trial in chain(judged):
        if not evidence.holds(certifying[trial.key], claim):
            break
        certified = drops[int(trial.key)]
    return certified


def _made_up(key: str, place: int, lost: np.ndarray, claim: Claim) -> Trial:
    expected = evidence.likely_bound(lost, claim, len(lost))
    return Trial(
        target="",
        key=key,
        words=key,
        recipe="",
        layers={},
        size_bytes=100 - place,
        cost=100.0 - place,
        n=len(lost),
        lost=int(lost.sum()),
        won=0,
        drop=float(lost.mean()),
        low=0.0,
        high=1.0,
        expected_high=expected,
        sqnr_db=60.0 - place,
        verdict="likely" if expected <= claim.max_drop else "unlikely",
    )
