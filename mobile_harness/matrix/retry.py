"""Which failures may pass, how often they are tried again and after what; and when a device is set aside. Pure.

A failure is of the build, of the runner or of the device. One of the build would only come again. One of the runner may
pass. One of the device (:data:`OF_DEVICE`) says nothing of the build: when several come in a row, the device is set
aside, so that its remaining cells are explained at once instead of waiting for a phone that does not answer.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mobile_harness.records import Failure

OF_DEVICE = frozenset({"lost", "storage", "internal"})
"""Kinds of failure that a device is to blame for, whatever was measured on it."""
QUARANTINED_AFTER = 3
"""Failures of the device in a row, repetitions counted, after which it is set aside."""
PROBATIONS = 1
"""How often a device that was set aside is given another chance, when it can be reached again."""
BACK_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses between looks for a device that was lost, after what the transport itself waited: a loose cable and a restart
of the device's daemon are over by then. A reboot takes longer: the second chance is for that."""
SECOND_PAUSES_S = (2.0, 4.0, 8.0, 15.0, 15.0)
"""Pauses between the looks before a device's cells are given up, once: a phone has rebooted by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a kind of failure is repeated: once for each pause, after so many seconds; ``find_first``: the device."""

    pauses_s: tuple[float, ...] = ()
    find_first: bool = False


_NEVER = Rule()
RULES = {
    "lost": Rule(pauses_s=(0.5, 2.0), find_first=True),
    "cannot_launch": Rule(pauses_s=(2.0,)),
    "app_crash": Rule(pauses_s=(0.2,)),
    "hung": Rule(pauses_s=(0.2,)),
    "timed_out": Rule(pauses_s=(0.2,)),
    "result_corrupt": Rule(pauses_s=(0.2,)),
    "protocol": Rule(pauses_s=(0.2,)),
}
"""What may pass. Kinds that are not here (``load_failed``, ``parity``, ``storage``, …) would only fail again."""


def rule_of(kind: str) -> Rule:
    """Return how a kind of failure is repeated.

    >>> len(rule_of("lost").pauses_s), len(rule_of("parity").pauses_s)
    (2, 0)
    """
    return RULES.get(kind, _NEVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a device's past says of it. ``failures``: those in a row that it is to blame for, the newest last.

    ``is_gone``: it was looked for and not found. ``chances``: how often it may yet be set aside and tried again.
    """

    failures: tuple[Failure, ...] = ()
    is_gone: bool = False
    on_probation: bool = False
    chances: int = PROBATIONS

    @property
    def state(self) -> Literal["well", "suspect", "quarantined"]:
        """``suspect``: nothing is measured until it was looked for once more; ``quarantined``: it is given up."""
        limit = 1 if self.on_probation else QUARANTINED_AFTER
        if not self.is_gone and len(self.failures) < limit:
            return "well"
        return "suspect" if self.chances else "quarantined"


def after(health: Health, failure: Failure | None) -> Health:
    """Return the health after a session that was measured (None) or failed; only failures of the device count.

    >>> lost = Failure(kind="lost", message="gone")
    >>> len(after(after(Health(), lost), lost).failures), after(after(Health(), lost), None).failures
    (2, ())
    """
    if failure is None:
        return Health(chances=health.chances)
    if failure.kind not in OF_DEVICE:
        return health
    return dataclasses.replace(health, failures=(*health.failures, failure))


def gone(health: Health) -> Health:
    """Return the health of a device that was looked for and not found."""
    return dataclasses.replace(health, is_gone=True)


def on_probation(health: Health) -> Health:
    """Return the health of a suspect that is there and gets another chance: one failure more sets it aside."""
    return Health(on_probation=True, chances=health.chances - 1)


def condemned(health: Health) -> Health:
    """Return the health of a suspect that was not found again: its cells are given up."""
    return dataclasses.replace(health, is_gone=True, chances=0)


def explained(health: Health, device: str, again: str) -> Failure:
    """Return why the cells of a device that was set aside were not measured, and what brings it back.

    Args:
        health: the device's; quarantined.
        device: its selector.
        again: what to do once it is well.
    """
    count = len(health.failures)
    times = f"failed {count} times in a row" if count > 1 else "failed"
    why = f"{times} and could not be reached again" if health.is_gone else times
    last = f" Last: {health.failures[-1].message}" if health.failures else ""
    hint = health.failures[-1].hint if health.failures else ""
    return Failure(
        kind="quarantined", message=f"{device} was set aside: it {why}.{last}", hint=f"{hint} {again}".strip()
    )
