"""The charts of a run's report: which there are, and of which devices and builds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mobile_harness.reports import _chart_latency as latency
from mobile_harness.reports import _chart_resources as resources
from mobile_harness.reports import _chart_tradeoff as tradeoff
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import Chart, Measured
from mobile_harness.reports.base import Document

MOST_DEVICES = 2
MANY_DEVICES = 8
"""From so many devices on, one alone gets charts: the heat map is what shows them all."""
MOST_BUILDS, FEW_BUILDS = 12, 6
"""Builds in a chart, and how many where there are many devices: a page of a thousand cells is made in two seconds."""
_DRAWN = (
    tradeoff.cost,
    latency.distribution,
    latency.over_time,
    latency.sessions,
    latency.first_result,
    resources.memory,
    resources.energy,
    resources.heat,
)
_SPARED = (latency.sessions,)
"""Left out where there are many devices, like the chart of size: others show nearly the same."""


def charts(document: Document) -> tuple[Chart, ...]:
    """Return the charts that the figures of a document allow, for the devices of :func:`chart_devices`."""
    many = len(document.devices) >= MANY_DEVICES
    made = [] if many else [tradeoff.accuracy_size(document)]
    devices = chart_devices(document)
    for name in devices:
        measured = [(row, row.performance) for row in document.rows if row.device_name == name and row.performance]
        done = chosen(measured, _most_builds(document))
        suffix = f" on {name}" if len(devices) > 1 or len(document.devices) > 1 else ""
        made += [draw(document, done, suffix) for draw in _DRAWN if draw not in _SPARED or not many]
    return tuple(chart for chart in (*made, _outputs(document)) if chart is not None)


def chart_devices(document: Document) -> tuple[str, ...]:
    """Return the names of the devices that get charts: phones first, then those with the most measured builds."""
    measured: dict[str, int] = {}
    phones = set()
    for row in document.rows:
        if row.performance and row.device:
            measured[row.device_name] = measured.get(row.device_name, 0) + 1
            phones |= {row.device_name} if row.device.kind == "phone" else set()
    order = sorted(measured, key=lambda name: (name not in phones, -measured[name], name))
    return tuple(order[: MOST_DEVICES if len(measured) < MANY_DEVICES else 1])


def _most_builds(document: Document) -> int:
    return MOST_BUILDS if len(document.devices) < MANY_DEVICES else FEW_BUILDS


def chosen(done: Sequence[Measured], most: int = MOST_BUILDS) -> list[Measured]:
    """Return at most so many builds in their order: those advised, then the fastest."""
    order = sorted(range(len(done)), key=lambda at: (not done[at][0].advised, done[at][1].median_ns or math.inf))
    kept = set(order[:most])
    return [item for at, item in enumerate(done) if at in kept]


def note(document: Document) -> str:
    """Say what the charts leave out, empty where that is nothing."""
    devices = chart_devices(document)
    left = len({row.device_name for row in document.rows if row.performance}) - len(devices)
    most = max((sum(row.device_name == name and row.performance is not None for row in document.rows)
                for name in devices), default=0)  # fmt: skip
    said = []
    if left:
        said.append(f"Charts show {' and '.join(devices)}; the matrix has {numbers.count(left, 'more device')}.")
    shown = _most_builds(document)
    if most > shown:
        said.append(f"They show {shown} of {most} builds: the advised and the fastest.")
    return " ".join(said)


def _outputs(document: Document) -> Chart | None:
    """Draw the SQNR of each output; an infinite one has no length and stands in the table alone."""
    found = [(build, output) for build in document.builds for output in build.outputs]
    finite = [(build, output) for build, output in found if math.isfinite(output.sqnr_db)][: 2 * _most_builds(document)]
    if not finite:
        return None
    many = len({output.output for _, output in found}) > 1
    values = [
        {
            "target": numbers.visible(build.target),
            "build": numbers.visible(build.id),
            "output": numbers.visible(output.output),
            "sqnr": output.sqnr_db,
            "text": f"{output.sqnr_db:.0f}  {numbers.visible(output.output)}" if many else f"{output.sqnr_db:.0f}",
        }
        for build, output in finite
    ]
    x = vega.axis("sqnr", "SQNR, dB", zero=True)
    step = {"step": 16, "for": "offset"} if many else {"step": 30}
    return Chart(
        title="Outputs against the float model",
        summary="Signal over error energy of each output: longer is closer. Outputs that are exact are left out.",
        spec=vega.frame(vega.labelled_bars(document, x, part="output" if many else ""), values, height=step),
        columns=("Build", "Output", "SQNR", "Cosine", "Max abs"),
        rows=tuple(
            (build.id, item.output, numbers.decibel(item.sqnr_db), f"{item.cosine:.5f}", numbers.digits(item.max_abs))
            for build, item in found
        ),
    )
