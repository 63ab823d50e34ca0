"""The faults of one device at work: which strikes when is drawn from a seed, and every one that struck is logged."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from mobile_harness.virtual_device.faults import Condition, Fault, Moment, name_of
from toolkit.core.clock import Clock

M = TypeVar("M", bound=Moment)
C = TypeVar("C", bound=Condition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fault that struck: which, on what device, on what, and seconds since the log was opened."""

    device: str
    fault: str
    subject: str
    at_s: float


class EventLog:
    """What struck, in order, on all devices of a farm; safe to read from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_ns = clock.monotonic_ns()
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def add(self, device: str, fault: Fault, subject: str) -> None:
        """Write down that a fault struck."""
        at_s = (self._clock.monotonic_ns() - self._start_ns) / 1e9
        with self._lock:
            self._events.append(Event(device=device, fault=name_of(type(fault)), subject=subject[:200], at_s=at_s))

    def events(self, fault: str | None = None, device: str | None = None) -> list[Event]:
        """Return what struck so far, of one kind or one device if so asked."""
        with self._lock:
            found = list(self._events)
        return [item for item in found if fault in (None, item.fault) and device in (None, item.device)]


@dataclass(slots=True)
class _Planned:
    fault: Fault
    holds: bool
    seen: int = 0
    struck: int = 0
    logged: bool = False


class Faults:
    """The schedule of one device. Faults can be added and removed at any time, from any thread."""

    def __init__(self, device: str, seed: int, log: EventLog, planned: Iterable[Fault] = ()) -> None:
        self._device = device
        self._random = random.Random(f"{seed}/{device}")
        self._log = log
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        for fault in planned:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Plan a fault; whether a condition holds at all is drawn now."""
        with self._lock:
            self._planned.append(_Planned(fault, holds=self._draw(fault.chance)))

    def clear(self, kind: type[Fault] | None = None) -> None:
        """Remove all faults, or those of one kind."""
        with self._lock:
            self._planned = [item for item in self._planned if kind is not None and not isinstance(item.fault, kind)]

    def holding(self, kind: type[C]) -> C | None:
        """Return the last added condition of a kind that holds."""
        with self._lock:
            for item in reversed(self._planned):
                if isinstance(item.fault, kind) and item.holds:
                    if not item.logged:
                        item.logged = True
                        self._log.add(self._device, item.fault, "")
                    return item.fault
        return None

    def strike(self, kind: type[M], subject: str) -> M | None:
        """Return the fault of a kind that strikes at this moment, if any, and log it.

        Args:
            kind: what could strike.
            subject: what is about to happen; held against the fault's ``on``.
        """
        with self._lock:
            for item in self._planned:
                fault = item.fault
                if isinstance(fault, kind) and re.search(fault.on, subject) and self._is_due(item, fault):
                    self._log.add(self._device, fault, subject)
                    return fault
        return None

    def peek(self, kind: type[M]) -> M | None:
        """Return the first planned fault of a kind, struck or not, without counting a moment."""
        with self._lock:
            return next((item.fault for item in self._planned if isinstance(item.fault, kind)), None)

    def _is_due(self, item: _Planned, fault: Moment) -> bool:
        item.seen += 1
        if item.seen <= fault.skip or (fault.times is not None and item.struck >= fault.times):
            return False
        if not self._draw(fault.chance):
            return False
        item.struck += 1
        return True

    def _draw(self, chance: float) -> bool:
        return chance >= 1 or self._random.random() < chance


def to_plain(event: Event) -> dict[str, object]:
    """Return an event as a value for JSON."""
    return dataclasses.asdict(event)
