"""What a search for precision found: each layer's cost, what its bytes and its time buy back, and what was tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._layers import MOST, short_name
from mobile_harness.reports._vega import BAD, GOOD, INK, QUIET, Chart, Spec
from mobile_harness.reports.base import Document
from toolkit.core.precision import LayerSensitivity, SearchEntry, SensitivityEntry, TrialEntry

TITLE = "What precision costs"
MOST_TARGETS = 3
"""Targets whose trail is drawn."""
_VERDICTS = {
    "within": "within the budget",
    "likely": "likely within",
    "unlikely": "likely beyond",
    "beyond": "beyond the budget",
    "failed": "not built",
}
_COLOURS = (GOOD, GOOD, BAD, BAD, QUIET)
_HOLLOW = ("likely", "unlikely")
_FLOAT32_BITS = 32


def summary(document: Document) -> str:
    """Say how the figures were taken; empty where there are none."""
    said = []
    found, trail = document.sensitivity, document.search
    if found is not None:
        confirmed = sum(layer.confirmed_sqnr_db is not None for layer in found.layers)
        layers, samples = numbers.count(len(found.layers), "layer"), numbers.count(found.samples, "sample")
        said.append(
            f"Each of {layers} was rounded as in {numbers.visible(found.recipe)}, alone, over {samples}; "
            f"{confirmed} of the worst were confirmed by real builds."
        )
    if trail is not None:
        tried, metric = numbers.count(len(trail.trials), "candidate"), numbers.visible(trail.metric)
        said.append(
            f"The search tried {tried} on at most {trail.selection_samples:,} samples for a drop of {metric} of "
            f"at most {numbers.digits(trail.max_drop)} at {trail.confidence:.0%} confidence; "
            f"{trail.certification_samples:,} other samples certify."
        )
    return " ".join(said)


def charts(document: Document) -> tuple[Chart, ...]:
    """Return the charts of a document's sensitivity and search, none where it has neither."""
    made: list[Chart | None] = []
    if document.sensitivity is not None:
        made += [_losses(document.sensitivity), _per_byte(document.sensitivity), _per_time(document.sensitivity)]
    if document.search is not None:
        targets = list(dict.fromkeys(trial.target for trial in document.search.trials))
        made += [_trail(document.search, target) for target in targets[:MOST_TARGETS]]
    return tuple(chart for chart in made if chart is not None)


def _losses(found: SensitivityEntry) -> Chart | None:
    layers = [layer for layer in found.layers if layer.output_sqnr_db < math.inf][:MOST]
    if not layers:
        return None
    values = [
        _named(place, layer)
        | {
            "sqnr": max(layer.output_sqnr_db, 0.0),
            "real": None if layer.confirmed_sqnr_db is None else max(layer.confirmed_sqnr_db, 0.0),
            "text": f"{layer.output_sqnr_db:.1f}" if math.isfinite(layer.output_sqnr_db) else "not finite",
        }
        for place, layer in enumerate(layers)
    ]
    longest = max(1.0, *(value["sqnr"] for value in values))
    x = vega.axis("sqnr", "SQNR of the output, dB", zero=True, domainMax=1.2 * longest)
    tick = {
        "mark": {"type": "tick", "thickness": 2, "color": INK},
        "encoding": {"y": _y(), "x": {**x, "field": "real"}},
    }
    return Chart(
        title="Each layer quantized alone",
        summary="What it does to the model's output: a shorter bar loses more. A line is a real build.",
        spec=vega.frame([*_bars(x), tick], values, height={"step": 19}),
        columns=("Layer", "Operator", "Output SQNR", "Real build", "Own SQNR"),
        rows=tuple(
            (
                layer.layer,
                layer.operator,
                numbers.decibel(layer.output_sqnr_db),
                numbers.NONE if layer.confirmed_sqnr_db is None else numbers.decibel(layer.confirmed_sqnr_db),
                numbers.decibel(layer.own_sqnr_db),
            )
            for layer in layers
        ),
    )


def _per_byte(found: SensitivityEntry) -> Chart | None:
    saved = max(0.0, 1 - found.weight_bits / _FLOAT32_BITS)  # of a layer's float32 bytes, which float ones cost again
    return _worth(
        found,
        lambda layer: saved * layer.weight_bytes / 1e3,
        ("kB", "Gain per byte", "dB the output gains per kB that the layer takes more in float32: keep the longest."),
    )


def _per_time(found: SensitivityEntry) -> Chart | None:
    return _worth(
        found,
        lambda layer: (layer.latency_ns or 0.0) / 1e3,
        (
            "µs",
            "Gain per microsecond",
            "dB the output gains per microsecond that the float layer takes, on the measuring host, not on a phone.",
        ),
    )


def _worth(
    found: SensitivityEntry, price: Callable[[LayerSensitivity], float], words: tuple[str, str, str]
) -> Chart | None:
    """Draw the layers that buy back most for a price in a unit."""
    unit, title, said = words
    worth = [(layer.gain_db / price(layer), layer) for layer in found.layers if price(layer) > 0 and layer.gain_db > 0]
    best = sorted(worth, key=lambda pair: -pair[0])[:MOST]
    if not best:
        return None
    values = [
        _named(place, layer) | {"sqnr": value, "text": numbers.digits(value)}
        for place, (value, layer) in enumerate(best)
    ]
    x = vega.axis("sqnr", f"dB per {unit}", zero=True, domainMax=1.25 * best[0][0])
    return Chart(
        title=title,
        summary=said,
        spec=vega.frame(_bars(x), values, height={"step": 19}),
        columns=("Layer", "Operator", f"dB per {unit}", "Gain", unit),
        rows=tuple(
            (
                layer.layer,
                layer.operator,
                numbers.digits(value),
                numbers.decibel(layer.gain_db),
                numbers.digits(price(layer)),
            )
            for value, layer in best
        ),
    )


def _named(place: int, layer: LayerSensitivity) -> Spec:
    # its place keeps apart what is shortened to the same words
    return {"layer": f"{place:02d} {short_name(layer.layer)}"}


def _y() -> Spec:
    axis = {"labelExpr": "slice(datum.label, 3)", "labelLimit": 300}
    return {"field": "layer", "type": "nominal", "title": None, "sort": None, "axis": axis}


def _bars(x: Spec) -> list[Spec]:
    bar = {"type": "bar", "height": {"band": 0.72}, "opacity": 0.9, "color": vega.SERIES[0]}
    text = {"type": "text", "align": "left", "dx": 4}
    words = {"field": "text", "type": "nominal"}
    return [
        {"mark": bar, "encoding": {"y": _y(), "x": x}},
        {"mark": text, "encoding": {"y": _y(), "x": x, "text": words}},
    ]


def _trail(search: SearchEntry, target: str) -> Chart | None:
    """Draw the candidates of one target in the order they were tried: drop against what the objective weighs."""
    trials = [trial for trial in search.trials if trial.target == target]
    drawn = [trial for trial in trials if trial.verdict != "failed" and math.isfinite(trial.drop)]
    if not drawn:
        return None
    unit = _unit(search, drawn)
    values = [
        {
            "step": step,
            "cost": trial.cost / unit.scale,
            "drop": trial.drop,
            "low": _finite(trial.drop_low),
            "high": _finite(trial.drop_high),
            "verdict": _VERDICTS[trial.verdict],
            "hollow": trial.verdict in _HOLLOW,
            "text": "chosen" if trial.build_id else "",
        }
        for step, trial in enumerate(drawn, 1)
    ]
    return Chart(
        title=f"The search on {numbers.visible(target)}",
        summary="Candidates in the order they were tried, joined by the thin line; a bar is what the samples bound the "
        "drop to, the dashed line the budget.",
        spec=vega.frame(_trail_layers(search, unit), values, height=230),
        columns=(
            "Candidate",
            _cost_words(search, unit),
            "Drop",
            "At most",
            "Samples",
            "Verdict",
            "Build",
        ),
        rows=tuple(_trail_row(trial, unit) for trial in trials),
    )


_COSTS = {"size": "Size", "latency": "Latency", "energy": "Energy"}


def _cost_words(search: SearchEntry, unit: numbers.Unit) -> str:
    """Say what candidates weigh: bytes are a fact, time and energy estimates from what a device measured."""
    plain = f"{_COSTS[search.objective]}, {unit.name}"
    if search.objective == "size":
        return plain
    return f"{plain} (estimated, {numbers.visible(search.place) if search.place else 'device unknown'})"


def _unit(search: SearchEntry, trials: Sequence[TrialEntry]) -> numbers.Unit:
    costs = [trial.cost for trial in trials]
    if search.objective == "size":
        return numbers.size_unit(costs)
    return numbers.time_unit(costs) if search.objective == "latency" else numbers.Unit("mJ", 1e3)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _trail_row(trial: TrialEntry, unit: numbers.Unit) -> tuple[str, ...]:
    failed = trial.verdict == "failed"
    return (
        trial.words,
        unit.bare(trial.cost),
        numbers.NONE if failed else numbers.digits(trial.drop),
        numbers.NONE if failed else numbers.digits(trial.drop_high),
        f"{trial.samples:,}",
        _VERDICTS[trial.verdict],
        trial.build_id,
    )


def _trail_layers(search: SearchEntry, unit: numbers.Unit) -> list[Spec]:
    x = vega.axis("cost", _cost_words(search, unit), zero=False, padding=14)
    y = vega.axis("drop", f"Drop of {numbers.visible(search.metric)}", zero=False, padding=14)
    scale = {"domain": list(_VERDICTS.values()), "range": list(_COLOURS)}
    colour = {"field": "verdict", "type": "nominal", "scale": scale, "legend": None}
    path = {"type": "line", "color": QUIET, "strokeWidth": 1, "opacity": 0.5}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    budget = {"values": [{"drop": search.max_drop}]}
    filled = {"condition": {"test": "datum.hollow", "value": 0.15}, "value": 1}
    return [
        {"mark": path, "encoding": {"x": x, "y": y, "order": {"field": "step", "type": "quantitative"}}},
        {
            "data": budget,
            "mark": {"type": "rule", "color": QUIET, "strokeDash": [5, 4]},
            "encoding": {"y": {"field": "drop", "type": "quantitative"}},
        },
        {"mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6}, "encoding": {"x": x, "color": colour, **ends}},
        {
            "mark": {"type": "point", "size": 80, "strokeWidth": 1.5, "opacity": 1},
            "encoding": {"x": x, "y": y, "stroke": colour, "fill": colour, "fillOpacity": filled},
        },
        {
            "mark": {"type": "text", "dy": -12, "fontWeight": 500},
            "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
        },
    ]
