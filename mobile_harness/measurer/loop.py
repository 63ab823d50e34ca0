"""The thin loop between the state machine and a device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mobile_harness.measurer.machine import (
    Event,
    Finish,
    Gone,
    Heard,
    Investigate,
    Investigated,
    Launched,
    Limits,
    Measurement,
    Observe,
    Observed,
    Poll,
    Pull,
    Pulled,
    Stop,
    Stopped,
)
from mobile_harness.records.state import Vitals
from mobile_harness.transports.base import Device, DeviceFailed, Job, Moment
from toolkit.core.clock import Clock


class Cancelled(Exception):
    """The user stopped the run; the runner has been ended."""


def _unseen(vitals: Vitals) -> None:
    """Look away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the loop has besides the device: time, a way to be stopped, and who is told.

    ``progress`` hears the runner's phase and count, ``seen`` what the device says of itself whenever all was asked.
    """

    clock: Clock
    cancelled: threading.Event
    progress: Callable[[str, int], None]
    seen: Callable[[Vitals], None] = _unseen

    def now_s(self) -> float:
        """Return the clock's seconds."""
        return self.clock.monotonic_ns() / 1e9


def take(device: Device, job: Job, limits: Limits, watch: Watch) -> Finish:
    """Run one session to its end; the runner is ended when this returns or raises.

    Raises:
        Cancelled: ``watch.cancelled`` was set.
        DeviceFailed: the runner cannot be launched.
    """
    machine = Measurement(job, limits)
    try:
        device.launch(job)
        todo = deque(machine.handle(Launched(watch.now_s())))
        while not watch.cancelled.is_set():
            instruction = todo.popleft()
            if isinstance(instruction, Finish):
                return instruction
            todo.extend(machine.handle(_obey(instruction, device, watch)))
            watch.progress(machine.phase, machine.done)
        raise Cancelled
    finally:
        device.stop()


def _obey(instruction: Poll | Observe | Investigate | Stop | Pull, device: Device, watch: Watch) -> Event:
    match instruction:
        case Poll(timeout_s):
            try:
                news = device.poll(timeout_s)
            except DeviceFailed as error:
                return Gone(error.message)
            return Heard(watch.now_s(), news.lines, "" if news.running else news.ended)
        case Observe(moment):
            return Observed(watch.now_s(), moment, _look(device, moment, watch))
        case Investigate():
            return Investigated(device.evidence())
        case Stop():
            device.stop()
            return Stopped()
        case Pull(run):
            try:
                return Pulled(device.pull(run))
            except DeviceFailed:
                return Pulled(None)  # the way to it is gone: how the session ended says so


def _look(device: Device, moment: Moment, watch: Watch) -> Vitals | None:
    try:
        vitals = device.vitals(moment)
    except DeviceFailed:
        return None  # the figures do not hang on it; the next poll says whether the device is gone
    if moment == "ended":  # the other looks do not ask for heat
        watch.seen(vitals)
    return vitals
