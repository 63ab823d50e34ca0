"""The layers that lose most, for the formats that show some of them: which, under what name, and as a chart."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import Chart
from mobile_harness.reports.base import BuildFacts, Document
from toolkit.core.artifacts import LayerError

TITLE = "Layers that lose most"
SUMMARY = (
    "SQNR of what each layer makes against the float artefact of the same target, over a few of the samples. A layer's "
    "error holds those of the layers before it, so look where it falls."
)
MOST = 10
MOST_BUILDS, FEW_BUILDS = 6, 1
"""Builds that get a chart, and how many do where there are more: the others are listed."""
_NAME_WIDTH = 30
_WRAPPERS = re.compile(r"^(?:(?:Stateful)?PartitionedCall[/_])+")
_TAIL = 0.7
"""The part of a shortened name that comes from its end, which tells layers apart better than its beginning."""


def worst(build: BuildFacts, most: int = MOST) -> tuple[LayerError, ...]:
    """Return the layers of a build that lose most, the worst first; layers that are exact lose nothing."""
    return tuple(error for error in build.layer_errors if error.sqnr_db < math.inf)[:most]


def notes(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the builds whose layers could not be measured, and why."""
    yield from ((build.id, build.layer_errors_note) for build in document.builds if build.layer_errors_note)


def short_name(name: str, width: int = _NAME_WIDTH) -> str:
    """Return a layer's name at a readable width, shortened in the middle.

    Converters join the names of operators they fuse with semicolons, where the first stands for all, and leave the
    names of the calls that they inline in front, which say nothing.

    >>> short_name("net/relu/Relu6;net/bn/add;net/conv/convolution")
    'net/relu/Relu6 +2'
    >>> short_name("PartitionedCall/PartitionedCall/net/batch_normalization/batchnorm/mul", 24)
    'net/ba…ion/batchnorm/mul'
    """
    first, *fused = numbers.visible(name).split(";")
    first = _WRAPPERS.sub("", first) or first
    more = f" +{len(fused)}" if fused else ""
    room = width - len(more)
    if len(first) <= room:
        return first + more
    tail = round(_TAIL * room)
    return f"{first[: room - tail - 1]}…{first[len(first) - tail :]}{more}"


def charts(document: Document) -> tuple[Chart, ...]:
    """Return a chart a build: of the advised first, then in their order, for at most :data:`MOST_BUILDS`."""
    advised = {advice.build_id for advice in document.headline}
    builds = [build for build in document.builds if worst(build)]
    most = MOST_BUILDS if len(builds) <= MOST_BUILDS else FEW_BUILDS
    order = sorted(builds, key=lambda build: build.id not in advised)[:most]
    return tuple(_chart(document, build) for build in order)


def left_out(document: Document) -> tuple[BuildFacts, ...]:
    """Return the builds with layers that get no chart."""
    drawn = {chart.title for chart in charts(document)}
    return tuple(build for build in document.builds if worst(build) and build.id not in drawn)


def _chart(document: Document, build: BuildFacts) -> Chart:
    found = worst(build)
    values = [
        {
            "target": numbers.visible(build.target),
            # its place keeps apart what is shortened to the same words
            "layer": f"{place:02d} {short_name(error.layer)}",
            "sqnr": max(error.sqnr_db, 0.0) if math.isinf(error.sqnr_db) else error.sqnr_db,
            "text": f"{error.sqnr_db:.1f}" if math.isfinite(error.sqnr_db) else "not finite",
        }
        for place, error in enumerate(found)
    ]
    y = {
        "field": "layer",
        "type": "nominal",
        "title": None,
        "sort": None,
        "axis": {"labelExpr": "slice(datum.label, 3)"},
    }
    # room for the figures behind the bars
    longest = max(1.0, *(error.sqnr_db for error in found))
    x = vega.axis("sqnr", "SQNR, dB", zero=True, domainMax=1.2 * longest)
    text = {"type": "text", "align": "left", "dx": 4}
    layers = [
        {
            "mark": {"type": "bar", "height": {"band": 0.72}, "opacity": 0.9},
            "encoding": {"y": y, "x": x, "color": vega.colour(document, legend=False)},
        },
        {"mark": text, "encoding": {"y": y, "x": x, "text": {"field": "text", "type": "nominal"}}},
    ]
    count = numbers.count(len(build.layer_errors), "layer")
    return Chart(
        title=build.id,
        summary=f"The {len(found)} worst of {count}, the worst first: a shorter bar loses more.",
        spec=vega.frame(layers, values, height={"step": 19}),
        columns=("Layer", "Operator", "SQNR"),
        rows=tuple((error.layer, error.operator, numbers.decibel(error.sqnr_db)) for error in found),
    )
