"""Charts of what a build takes of a device: memory, energy, heat."""

from __future__ import annotations

from collections.abc import Sequence

from mobile_harness.records.state import Energy, EnergyMethod
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega as vega
from mobile_harness.reports._vega import Chart, Measured
from mobile_harness.reports.base import Document, Heat


def memory(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    peaks = [(row, item.peak_rss_kb) for row, item in done if item.peak_rss_kb is not None]
    if not peaks:
        return None
    unit = numbers.memory_unit(peak for _, peak in peaks)
    values = [vega.names(row) | {"peak": peak / unit.scale, "text": unit.bare(peak)} for row, peak in peaks]
    x = vega.axis("peak", f"Peak resident memory, {unit.name}", zero=True)
    return Chart(
        title=f"Peak memory{suffix}",
        summary=f"Largest resident size of the runner's process{suffix}, runtime included.",
        spec=vega.frame(vega.labelled_bars(document, x), values, height={"step": 30}),
        columns=("Build", f"Peak {unit.name}", f"Added by loading {unit.name}", f"Proportional (PSS) {unit.name}"),
        rows=tuple(
            (row.build_id, *(unit.bare(value) for value in (item.peak_rss_kb, item.model_rss_kb, item.pss_kb)))
            for row, item in done
        ),
    )


METHODS: dict[EnergyMethod, str] = {
    "power_monitors": "power monitors",
    "charge_counter": "charge counter",
    "current_voltage": "current × voltage",
}


def energy(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw the energy of an inference above idle; how it was measured stands beside each figure."""
    found = [(row, row.energy) for row, _ in done if isinstance(row.energy, Energy)]
    if not found:
        return None
    unit = numbers.energy_unit(item.per_inference_uj for _, item in found)
    values = [
        vega.names(row)
        | {
            "energy": item.per_inference_uj / unit.scale,
            "text": f"{unit.bare(item.per_inference_uj)}  {METHODS[item.method]}",
        }
        for row, item in found
    ]
    longest = max(item.per_inference_uj for _, item in found) / unit.scale
    x = vega.axis("energy", f"Energy an inference, {unit.name}", zero=True, domainMax=2.0 * max(longest, 1e-9))
    return Chart(
        title=f"Energy{suffix}",
        summary=f"What an inference takes above idle{suffix}; figures of different meters are not comparable.",
        spec=vega.frame(vega.labelled_bars(document, x), values, height={"step": 30}),
        columns=("Build", "Method", f"An inference {unit.name}", "Pairs", "Spread", f"One step {unit.name}", "Idle mW"),
        rows=tuple(
            (
                row.build_id,
                METHODS[item.method],
                unit.bare(item.per_inference_uj),
                str(item.pairs),
                numbers.share_of(item.spread),
                unit.bare(item.resolution_uj),
                numbers.digits(item.idle_uw / 1000),
            )
            for row, item in found
        ),
    )


def heat(document: Document, done: Sequence[Measured], suffix: str) -> Chart | None:
    """Draw how warm the device was before and after each session."""
    found = [
        (row, session.index, session.heat)
        for row, item in done
        for session in item.sessions
        if session.heat is not None and session.heat.start_c is not None and session.heat.end_c is not None
    ]
    if not found:
        return None
    parts = " / ".join(dict.fromkeys(str(heat.part) for _, _, heat in found))
    values = [
        vega.names(row) | {"session": index + 1, "start": heat.start_c, "end": heat.end_c} for row, index, heat in found
    ]
    y = vega.bars(document) | {"yOffset": {"field": "session", "type": "ordinal"}}
    x = vega.axis("start", f"Temperature of the {parts}, °C", zero=False, padding=10)
    layers = [
        {"mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6}, "encoding": {**y, "x": x, "x2": {"field": "end"}}},
        {
            "mark": {"type": "point", "filled": True, "size": 26, "opacity": 1},
            "encoding": {**y, "x": {**x, "field": "end"}},
        },
    ]
    most = max(len(item.sessions) for _, item in done)
    return Chart(
        title=f"Heat{suffix}",
        summary=f"One line a session{suffix}, from how warm it began to the dot where it ended.",
        spec=vega.frame(layers, values, height={"step": max(7.0, 26 / most), "for": "offset"}),
        columns=("Build", "Session", "Start °C", "End °C", "Throttling status", "Cooled down s", "Mean clock MHz"),
        rows=tuple((row.build_id, str(index + 1), *_heat_words(heat)) for row, index, heat in found),
    )


def _heat_words(heat: Heat) -> tuple[str, ...]:
    status = [numbers.NONE if value is None else str(value) for value in (heat.status_start, heat.status_end)]
    waited = numbers.digits(heat.waited_s) + ("" if heat.cooled else ", given up")
    clocks = " / ".join(f"{value:.0f}" for value in heat.mean_mhz) or numbers.NONE
    ends = [numbers.NONE if value is None else f"{value:.1f}" for value in (heat.start_c, heat.end_c)]
    return *ends, " to ".join(status), waited, clocks
