"""The look of the charts, and drawing them: Vega-Lite specifications become inline SVG on this side of the report.

Nothing runs in the reader's browser: the SVG is text, opens at once and prints. Light colours are drawn in; the style
sheet of the HTML report turns each of :data:`COLOURS` into its dark counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports.base import Document, Performance, Row

Spec = dict[str, Any]
Measured = tuple[Row, Performance]

INK, QUIET, GRID = "#333c45", "#66707a", "#dfe3e7"
GOOD, BAD = "#0f6b3c", "#a3261b"
WIDE = 860
SERIES = ("#0072b2", "#d55e00", "#00875f", "#a7518a", "#8a6d00")
"""Okabe and Ito's colours, which the colour-blind tell apart, the lighter ones darkened to 3:1 on white."""
COLOURS = (INK, QUIET, GRID, GOOD, BAD, *SERIES)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
WIDTH = 400
LABEL_LONGEST, WIDE_LABEL_LONGEST, LEGEND_LONGEST = 32, 54, 18
"""Characters of names. They are counted, for to measure text takes most of a drawing's time: no label has a limit in
pixels, and no chart is made to fit a width."""
_CHARACTER_WIDTH = 5.8
"""Of a label, on average."""
_FIGURES_WIDTH = 46.0
"""Of the labels of an axis of figures, with its title."""
CONFIG: Spec = {
    "aria": False,
    "background": None,
    "font": "Roboto",
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET,
        "titleColor": INK,
        "labelFontSize": 11,
        "titleFontSize": 11.5,
        "titleFontWeight": 500,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelLimit": 0,
        "titlePadding": 8,
        "tickSize": 4,
    },
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
    "legend": {
        "orient": "bottom",
        "direction": "horizontal",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 11.5,
        "symbolSize": 80,
        "symbolStrokeWidth": 0,
        "symbolFillColor": QUIET,
        "symbolStrokeColor": QUIET,
        "symbolOpacity": 1,
        "columns": 3,
        "rowPadding": 3,
        "columnPadding": 14,
        "offset": 8,
        "labelLimit": 0,
        "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 4}},
    },
    "text": {"color": INK, "fontSize": 11},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart: what it shows, how to draw it, and the same figures as a table."""

    title: str
    summary: str
    spec: Spec
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def draw(spec: Spec, *, label: str) -> str:
    """Return a specification as an SVG element, one image to a screen reader, without a font of its own.

    Raises:
        ValueError: Vega-Lite does not accept the specification.
    """
    import vl_convert

    svg = str(vl_convert.vegalite_to_svg({**spec, "config": CONFIG}, vl_version="6.1", allowed_base_urls=[]))
    svg = _TAG.sub(lambda tag: _UNWANTED.sub("", tag.group()), svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(label)}" ', 1)


_TAG = re.compile(r"<[a-z][^<>]*>")
_UNWANTED = re.compile(r' (?:font-family|style|role|aria-[a-z]+)="[^"]*"')
"""The page has a font of its own, its policy refuses styles, and the parts of one image are no images."""


def _attribute(text: str) -> str:
    return numbers.visible(text).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def shortened(label: str = "datum.label", longest: int = LABEL_LONGEST) -> str:
    """Return the expression that shows at most so many characters of a label: its two ends."""
    return f"truncate({label}, {longest}, 'center')"


def frame(layers: Sequence[Spec], values: Sequence[Spec], *, height: float | Spec, width: float = WIDTH) -> Spec:
    """Return a chart of these layers over these rows, as wide with its labels as said, or nearly so."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": round(width - _labels_width(layers, values, WIDE_LABEL_LONGEST if width >= WIDE else LABEL_LONGEST)),
        "height": height,
        "data": {"values": list(values)},
        "layer": list(layers),
    }


def _labels_width(layers: Sequence[Spec], values: Sequence[Spec], longest: int) -> float:
    """Return about how wide the labels at the left of a chart are."""
    places = [layer["encoding"].get("y", {}) for layer in layers]
    names = next((place["field"] for place in places if place.get("type") == "nominal"), None)
    if names is None:
        return _FIGURES_WIDTH
    lengths = [len(line) for value in values for line in str(value[names]).split("\n")]
    return 12 + _CHARACTER_WIDTH * min(max(lengths, default=0), longest)


def stacked(layers: Sequence[Spec], values: Sequence[Spec], *, by: str, height: float) -> Spec:
    """Return one small chart below the other, one for each value of a field, on the same axes."""
    header = {"title": None, "labelAnchor": "start", "labelFontSize": 11, "labelColor": INK, "labelPadding": 2}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": list(values)},
        "facet": {"field": by, "type": "nominal", "title": None, "sort": None, "header": header},
        "columns": 1,
        "spacing": 8,
        "spec": {"width": WIDTH - 60, "height": height, "layer": list(layers)},
    }


def names(row: Row) -> Spec:
    """Return the names of a row's build as a chart shows them."""
    stand_in = " (stand-in)" if row.performance and row.performance.stand_in else ""
    shown = {"target": row.target, "recipe": row.recipe, "build": row.build_id + stand_in}
    return {key: numbers.visible(text) for key, text in shown.items()}


def axis(field: str, title: str, **scale: Any) -> Spec:
    """Return a quantitative axis."""
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"nice": True, **scale},
        "axis": {"tickCount": 5},
    }


def colour(document: Document, *, legend: bool = True) -> Spec:
    """Return a colour a target, the same in every chart of a report."""
    targets = _domain(row.target for row in document.rows)
    scale = {"domain": targets, "range": [SERIES[at % len(SERIES)] for at in range(len(targets))]}
    return {
        "field": "target",
        "type": "nominal",
        "scale": scale,
        "legend": {"symbolType": "circle", "labelExpr": shortened(longest=LEGEND_LONGEST)} if legend else None,
    }


def shape(document: Document) -> Spec:
    """Return a shape a recipe, the same in every chart of a report."""
    recipes = _domain(row.recipe for row in document.rows)
    scale = {"domain": recipes, "range": [SHAPES[at % len(SHAPES)] for at in range(len(recipes))]}
    return {
        "field": "recipe",
        "type": "nominal",
        "scale": scale,
        "legend": {"labelExpr": shortened(longest=LEGEND_LONGEST)},
    }


def _domain(found: Iterable[str]) -> list[str]:
    return sorted({numbers.visible(name) for name in found})


def bars(document: Document) -> Spec:
    """Return the encoding of one bar a build, in the order of the rows."""
    y = {"field": "build", "type": "nominal", "title": None, "sort": None, "axis": {"labelExpr": shortened()}}
    return {"y": y, "color": colour(document, legend=False)}


def labelled_bars(document: Document, x: Spec, *, part: str = "") -> list[Spec]:
    """Return layers of bars with their ``text`` at the end; ``part`` is what tells several of a build apart."""
    encoding, text = bars(document), {"type": "text", "align": "left", "dx": 4}
    if part:
        encoding["yOffset"] = {"field": part, "type": "nominal", "sort": None}
    words = {key: channel for key, channel in encoding.items() if key != "color"}
    return [
        {"mark": {"type": "bar", "height": {"band": 0.72}, "opacity": 0.9}, "encoding": {**encoding, "x": x}},
        {"mark": text, "encoding": {**words, "x": x, "text": {"field": "text", "type": "nominal"}}},
    ]
