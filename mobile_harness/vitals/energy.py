"""Energy per inference by the best method that this device supports: pure arithmetic over samples.

The ladder: power monitors (rails, valid while plugged in), the charge counter, current times voltage, none. Every
method sees the whole device, so each stretch of inferences is paired with an idle one of the same surroundings and the
idle power is taken off: ``E = (E_load - P_idle · t) / n``. One method serves all pairs; methods are never mixed.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mobile_harness.records.state import Energy, EnergyMethod, PowerPair, PowerSample, Unavailable, Vitals
from mobile_harness.vitals.battery import DISCHARGING, STATUS_NAMES, Calibration, Scale

PAIRS_MIN: Final = 3
STEPS_MIN: Final = 20
"""Steps of the charge counter that must fall into a stretch of inferences."""
UPDATES_MIN: Final = 10
"""Changes of the current that must fall into a stretch: gauges may update once a second or slower."""
BANDS: Final[dict[EnergyMethod, str]] = {
    "power_monitors": "±5 %",
    "charge_counter": "±10 to 20 %",
    "current_voltage": "±20 to 30 %",
}
"""How far a change on one device by one method may be off: a judgement, not a vendor's specification."""

_UJ_PER_UAH_MV = 3.6
"""Microjoules of a microampere hour at a millivolt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a stretch consumed, and the smallest amount that the meter tells apart there."""

    uj: float
    seconds: float
    step_uj: float


_Meter = Callable[[Sequence[PowerSample], int], "_Work | Unavailable"]
"""Reads a stretch, in which a counter must have made so many steps."""


def obstacle(vitals: Vitals) -> str:
    """Return why no meter of this device can count now, or nothing: rails always can, a battery while it discharges."""
    if isinstance(vitals.power, Unavailable):
        return vitals.power.reason
    if vitals.power.rails_uws:
        return ""
    battery = vitals.battery
    if isinstance(battery, Unavailable):
        return battery.reason
    if battery.frozen:
        return "the battery's figures were overridden on the device"
    if battery.status != DISCHARGING:
        name = STATUS_NAMES.get(battery.status or 0, "in a state that it does not tell")
        powered = f" and powered over {' and '.join(battery.powered)}" if battery.powered else ""
        return f"the battery is {name}{powered}"
    if battery.powered:
        return f"the device is powered over {' and '.join(battery.powered)}: its battery does not carry the load alone"
    return ""


def energy_per_inference(pairs: Sequence[PowerPair], calibration: Calibration) -> Energy | Unavailable:
    """Return the energy by the best method that holds for all pairs, or why there is none."""
    if len(pairs) < PAIRS_MIN:
        return Unavailable(reason=f"energy needs {PAIRS_MIN} pairs of idle and load, there are {len(pairs)}")
    if any(pair.inferences < 1 for pair in pairs):
        return Unavailable(reason="a stretch of load has no inferences")
    meters: tuple[tuple[EnergyMethod, _Meter], ...] = (
        ("power_monitors", _rails),
        ("charge_counter", lambda stretch, steps: _charge(stretch, calibration.counter, steps)),
        ("current_voltage", lambda stretch, _: _flow(stretch, calibration.current)),
    )
    scales = {"charge_counter": calibration.counter, "current_voltage": calibration.current}
    declined: list[str] = []
    for method, meter in meters:
        result = _by(method, meter, pairs, tuple(declined))
        if isinstance(result, Energy):
            scale = scales.get(method)
            return dataclasses.replace(result, scale=scale.reason) if isinstance(scale, Scale) else result
        declined.append(f"{method}: {result.reason}")
    return Unavailable(reason="; ".join(declined))


def _by(
    method: EnergyMethod, meter: _Meter, pairs: Sequence[PowerPair], declined: tuple[str, ...]
) -> Energy | Unavailable:
    figures, idles, steps = [], [], []
    for pair in pairs:
        idle, load = meter(pair.idle, 0), meter(pair.load, STEPS_MIN)
        if isinstance(idle, Unavailable):
            return idle
        if isinstance(load, Unavailable):
            return load
        power_uw = idle.uj / idle.seconds
        figures.append((load.uj - power_uw * load.seconds) / pair.inferences)
        idles.append(power_uw)
        steps.append((load.step_uj + idle.step_uj * load.seconds / idle.seconds) / pair.inferences)
    figure, resolution = statistics.median(figures), max(steps)
    if figure <= resolution:
        return Unavailable(reason="inferences took no more above idle than one step of the meter")
    return Energy(
        method=method,
        per_inference_uj=figure,
        idle_uw=statistics.median(idles),
        pairs=len(pairs),
        spread=(max(figures) - min(figures)) / figure,
        resolution_uj=resolution,
        declined=declined,
    )


def _seconds(stretch: Sequence[PowerSample]) -> float | Unavailable:
    times = [sample.gauge.at_ns for sample in stretch]
    if len(times) < 2 or any(later <= before for before, later in itertools.pairwise(times)):
        return Unavailable(reason="a stretch has fewer than two samples, or its clock does not go forward")
    return (times[-1] - times[0]) / 1e9


def _rails(stretch: Sequence[PowerSample], _: int) -> _Work | Unavailable:
    seconds = _seconds(stretch)
    if isinstance(seconds, Unavailable):
        return seconds
    names = set(stretch[0].rails_uws)
    if not names:
        return Unavailable(reason="the device offers no power monitors")
    if any(set(sample.rails_uws) != names for sample in stretch):
        return Unavailable(reason="the power monitors changed during a stretch")
    if any(uws < 0 for sample in stretch for uws in sample.rails_uws.values()):
        return Unavailable(reason="a power monitor has no reading")
    spent = [stretch[-1].rails_uws[name] - stretch[0].rails_uws[name] for name in names]
    if min(spent) < 0:
        return Unavailable(reason="a power monitor went backward: the device restarted")
    return _Work(uj=float(sum(spent)), seconds=seconds, step_uj=1.0)


def _voltages(stretch: Sequence[PowerSample]) -> list[float] | Unavailable:
    if any(sample.gauge.status != DISCHARGING for sample in stretch):
        return Unavailable(reason="the device was not on battery all the time")
    voltages = [sample.gauge.voltage_mv for sample in stretch if sample.gauge.voltage_mv is not None]
    return voltages if len(voltages) == len(stretch) else Unavailable(reason="the voltage is not known")


def _charge(stretch: Sequence[PowerSample], scale: Scale | Unavailable, needed: int) -> _Work | Unavailable:
    if isinstance(scale, Unavailable):
        return scale
    seconds, voltages = _seconds(stretch), _voltages(stretch)
    if isinstance(seconds, Unavailable):
        return seconds
    if isinstance(voltages, Unavailable):
        return voltages
    raws = [sample.gauge.counter_raw for sample in stretch]
    counts = [abs(raw) * scale.factor for raw in raws if raw is not None]
    if len(counts) < len(raws) or scale.step is None:
        return Unavailable(reason="the charge counter did not move, or has no reading")
    lost = counts[0] - counts[-1]
    if lost < needed * scale.step:
        steps = max(round(lost / scale.step), 0)
        return Unavailable(reason=f"the charge counter made {steps} steps under load, {needed} are needed")
    mean_mv = statistics.fmean(voltages)
    return _Work(uj=lost * mean_mv * _UJ_PER_UAH_MV, seconds=seconds, step_uj=scale.step * mean_mv * _UJ_PER_UAH_MV)


def _flow(stretch: Sequence[PowerSample], scale: Scale | Unavailable) -> _Work | Unavailable:
    if isinstance(scale, Unavailable):
        return scale
    seconds, voltages = _seconds(stretch), _voltages(stretch)
    if isinstance(seconds, Unavailable):
        return seconds
    if isinstance(voltages, Unavailable):
        return voltages
    raws = [sample.gauge.current_raw for sample in stretch]
    drawn_ua = [-raw * scale.factor for raw in raws if raw is not None]
    if len(drawn_ua) < len(raws):
        return Unavailable(reason="the current has no reading at times")
    updates = sum(later != before for before, later in itertools.pairwise(drawn_ua))
    if updates < UPDATES_MIN:
        return Unavailable(reason=f"the current was updated {updates} times in a stretch, {UPDATES_MIN} are needed")
    times = [sample.gauge.at_ns / 1e9 for sample in stretch]
    power_uw = [ua * mv / 1e3 for ua, mv in zip(drawn_ua, voltages, strict=True)]
    uj = sum((times[i + 1] - times[i]) * (power_uw[i] + power_uw[i + 1]) / 2 for i in range(len(times) - 1))
    step_ua = scale.step or 0.0
    return _Work(uj=uj, seconds=seconds, step_uj=step_ua * statistics.fmean(voltages) / 1e3 * seconds / len(times))
