"""A build over the runs, in the words that all formats share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from mobile_harness.comparer import Trend, TrendPoint
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words

HEADS: Final = ("Run", "Started", "Median", "Interval", "Sessions", "Level", "Changed since the run before")


def unit_of(trend: Trend) -> numbers.Unit:
    """Return the unit that suits all medians of a trend."""
    return numbers.time_unit(point.high_ns or point.median_ns for point in trend.points)


def device_names(trends: Iterable[Trend]) -> dict[str, str]:
    """Return a name for each device by its serial: its model, with the serial where two share it."""
    devices = {trend.device.serial: trend.device for trend in trends}
    models = Counter(device.model for device in devices.values())
    return {
        serial: device.model if device.model and models[device.model] == 1 else f"{device.model} {serial}".strip()
        for serial, device in devices.items()
    }


def place(trend: Trend, names: Mapping[str, str]) -> str:
    """Return the model and the device of a trend, with the kind of device where it is no phone."""
    kind = "" if trend.device.kind == "phone" else f" ({trend.device.kind}: no phone's figures)"
    return f"{trend.model} on {names[trend.device.serial]}{kind}"


def row(point: TrendPoint, unit: numbers.Unit) -> tuple[str, ...]:
    """Return a run of a trend as people read it."""
    known = point.low_ns is not None and point.high_ns is not None
    return (
        point.run_id,
        words.moment(point.created_utc),
        unit.show(point.median_ns),
        f"{unit.bare(point.low_ns)} to {unit.bare(point.high_ns)}" if known else "one session",
        str(point.sessions),
        step_words(point),
        "; ".join(point.changed),
    )


def step_words(point: TrendPoint) -> str:
    """Return the change of level that begins with a run, empty where none does."""
    if point.step is None:
        return ""
    chance = "" if point.step_p is None else f" (p {numbers.chance(point.step_p)})"
    return f"{numbers.signed_share(point.step)}{numbers.THIN}% from here on{chance}"


def sentence(trend: Trend) -> str:
    """Say in a sentence where a build stands and where its level changed last."""
    if not trend.points:
        return "No run measured it."
    last = trend.points[-1]
    unit = numbers.time_unit([last.median_ns])
    now = f"{numbers.count(len(trend.points), 'run')}; the latest has a median of {unit.show(last.median_ns)}"
    steps = [point for point in trend.points if point.step is not None]
    if not steps:
        return f"{now}. Its level never changed by more than chance explains."
    step = steps[-1]
    why = f"; {', '.join(step.changed)} changed there, too" if step.changed else ""
    times = f"{numbers.count(len(steps), 'change')} of level, the last with run {step.run_id}"
    return f"{now}. {times} ({words.moment(step.created_utc)}): {numbers.signed_share(step.step)} %{why}."


def day(utc: str) -> str:
    """Return a day such as ``23 Nov``, empty for text that is no ISO time."""
    try:
        at = datetime.fromisoformat(utc)
    except ValueError:
        return ""
    shown = at.astimezone(UTC) if at.tzinfo else at
    return f"{shown.day} {words.MONTHS[shown.month - 1]}"
