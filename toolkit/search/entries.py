"""What ``build.json`` says of a search, made from the trail and the sensitivity."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.core.precision import LayerSensitivity, SearchEntry, SensitivityEntry, TrialEntry
from toolkit.search.trail import Trail
from toolkit.search.values import Sensitivity, gains_db


def search_entry(trail: Trail, builds: Mapping[tuple[str, str], str]) -> SearchEntry:
    """Return the trail as ``build.json`` holds it; ``builds`` names the builds by target and key of their trials."""
    return SearchEntry(
        metric=trail.metric,
        objective=trail.objective,
        max_drop=trail.max_drop,
        confidence=trail.confidence,
        selection_samples=trail.selection_samples,
        certification_samples=trail.certification_samples,
        test=trail.test,
        place=trail.place,
        trials=tuple(
            TrialEntry(
                target=one.target,
                words=one.words,
                size_bytes=one.size_bytes,
                cost=one.cost,
                samples=one.n,
                drop=one.drop,
                drop_low=one.low,
                drop_high=one.high,
                verdict=one.verdict,
                build_id=builds.get((one.target, one.key), ""),
            )
            for one in trail.trials
        ),
    )


def sensitivity_entry(found: Sensitivity) -> SensitivityEntry:
    """Return a sensitivity as ``build.json`` holds it."""
    gains = gains_db(found)
    confirmed = {one.layer: one.output_sqnr_db for one in found.confirmed}
    return SensitivityEntry(
        recipe=found.recipe,
        weight_bits=found.weight_bits,
        samples=found.samples,
        layers=tuple(
            LayerSensitivity(
                layer=one.layer,
                operator=one.operator,
                weight_bytes=one.weight_bytes,
                own_sqnr_db=one.own_sqnr_db,
                output_sqnr_db=one.output_sqnr_db,
                gain_db=gains[one.layer],
                confirmed_sqnr_db=confirmed.get(one.layer),
                latency_ns=one.latency_ns,
            )
            for one in found.layers
        ),
    )
