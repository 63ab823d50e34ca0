"""The gate before a session: wait until the device has cooled down, then let it rest where energy is counted.

:class:`Gate` decides and knows neither clock nor device; :func:`cool` obeys it. What the matrix does with them::

    cooled = cool(device, plan, baseline, watch)  # before each session
    frame = Frame(index=..., ..., cooled=cooled, accelerator=plan.accelerator)  # `figures` puts it into the session
    cell = verdict.conclude(cell)  # when it ends: its energy and its doubts, those of heat and power among them

``baseline`` is ``cooled.vitals`` of the first session that was taken on the device in this run, None before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mobile_harness.measurer.loop import Cancelled, Watch
from mobile_harness.records import RunPlan
from mobile_harness.records.state import Cooled, PowerSample, Unavailable, Vitals
from mobile_harness.transports.base import Device, Moment
from mobile_harness.vitals import energy, thermal

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between looks; the last one repeats. A look itself keeps a phone awake and warms it."""
PROBES: Final = 12
"""Looks at the meters that show how finely they step, and what sign the current has: more than ten are needed."""
PROBE_APART_S: Final = 0.1
_STEP_S: Final = 0.25
"""Seconds after which a wait looks whether the user stopped the run."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after so many seconds, because of ``reason``."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Open:
    """The session may begin; ``reason`` is why the device should have waited longer, empty when it need not."""

    reason: str


class Gate:
    """Decides after every look at the device; the same looks give the same decisions."""

    def __init__(self, plan: RunPlan, baseline: Vitals | None) -> None:
        self._plan = plan
        self._baseline = baseline
        self._pauses = list(PAUSES_S)

    def seen(self, vitals: Vitals, waited_s: float) -> Wait | Open:
        """Say what follows from a look after so many seconds of waiting."""
        reason = warm(vitals, self._plan, self._baseline)
        left_s = self._plan.cooldown_max_s - waited_s
        if not reason or left_s <= 0:
            return Open(reason)
        pause_s = self._pauses.pop(0) if len(self._pauses) > 1 else self._pauses[0]
        return Wait(min(pause_s, left_s), reason)


def warm(now: Vitals, plan: RunPlan, baseline: Vitals | None) -> str:
    """Return why a session should wait, or nothing; a device that does not tell its heat need not."""
    if isinstance(now.thermal, Unavailable):
        return ""
    before = baseline.thermal if baseline is not None else None
    first = None if isinstance(before, Unavailable) else before
    return "; ".join(thermal.too_warm(now.thermal, first, plan.cool_to_c))


def cool(device: Device, plan: RunPlan, baseline: Vitals | None, watch: Watch) -> Cooled:
    """Wait until the device may begin a session, at most ``plan.cooldown_max_s``; then rest for ``plan.idle_s``.

    It rests only where a meter can count: on battery, or with power monitors. Progress goes to ``watch.progress`` as
    the phases ``cooling: …`` and ``resting``; every whole look goes to ``watch.seen``.

    Args:
        device: it must be reserved, and nothing of ours may run there.
        plan: ``cool_to_c``, ``cooldown_max_s`` and ``idle_s`` count.
        baseline: how it stood before the first session of the run; None before that.
        watch: the clock, a way to be stopped, and who is told.

    Raises:
        Cancelled: ``watch.cancelled`` was set.
        DeviceFailed: ``lost``.
    """
    gate, started_s = Gate(plan, baseline), watch.now_s()
    while True:
        vitals = _look(device, watch, "idle")
        waited_s = watch.now_s() - started_s
        match gate.seen(vitals, waited_s):
            case Wait(seconds, reason):
                watch.progress(f"cooling: {reason}", round(waited_s))
                _pause(seconds, watch)
            case Open(reason):
                break
    cooled = Cooled(waited_s=waited_s, reached=not reason, reason=reason, vitals=vitals)
    return _rested(device, plan, cooled, watch) if plan.idle_s > 0 and not energy.obstacle(vitals) else cooled


def _rested(device: Device, plan: RunPlan, cooled: Cooled, watch: Watch) -> Cooled:
    """Look at the meters in quick succession, which shows their steps, then leave it alone between two looks."""
    watch.progress("resting", 0)
    probes = []
    for _ in range(PROBES):
        probes.append(_look(device, watch, "resting"))
        _pause(PROBE_APART_S, watch)
    first = _look(device, watch, "resting")
    _pause(plan.idle_s, watch)
    last = _look(device, watch, "idle")
    return dataclasses.replace(cooled, vitals=last, idle=_samples([first, last]), probes=_samples(probes))


def _samples(looks: Sequence[Vitals]) -> tuple[PowerSample, ...]:
    return tuple(look.power for look in looks if isinstance(look.power, PowerSample))


def _look(device: Device, watch: Watch, moment: Moment) -> Vitals:
    if watch.cancelled.is_set():
        raise Cancelled
    vitals = device.vitals(moment)
    if moment == "idle":
        watch.seen(vitals)
    return vitals


def _pause(seconds: float, watch: Watch) -> None:
    until_ns = watch.clock.monotonic_ns() + round(seconds * 1e9)
    while (left_ns := until_ns - watch.clock.monotonic_ns()) > 0:
        if watch.cancelled.is_set():
            raise Cancelled
        watch.clock.sleep(min(left_ns / 1e9, _STEP_S))
