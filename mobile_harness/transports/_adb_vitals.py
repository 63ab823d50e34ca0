"""What an Android device says of itself, asked in one round trip; the battery's capacity once, in a second one."""

from __future__ import annotations

import dataclasses
from typing import Final

from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Session
from mobile_harness.records.state import PowerSample, Software, Vitals
from mobile_harness.transports.base import Moment
from mobile_harness.vitals import snapshot
from toolkit.core.clock import Clock

LOOK_S: Final = 20.0
BRIEF_S: Final = 8.0
"""While the runner warms up a look must not last."""
CAPACITY_S: Final = 15.0
OUTPUT_MAX: Final = 4 << 20


class Looks:
    """Looks at one device over its session."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._capacity_mah: float | None = None
        self._asked_capacity = False

    def look(self, moment: Moment, package: str, app_debuggable: bool | None) -> Vitals:
        """Return the vitals; ``package`` is the running app's, empty where there is none.

        Raises:
            AdbFailed: the device cannot be reached, or does not answer in time.
        """
        brief = moment in ("resting", "loaded")
        script = snapshot.LOADED if brief else snapshot.WHOLE
        app = package if moment in ("loaded", "ended") else ""
        asked = (snapshot.IN_LOADED if brief else snapshot.IN_WHOLE) | ({"app"} if app else set())
        said = self._session.run(["sh", "-c", script, "sh", app], BRIEF_S if brief else LOOK_S, output_max=OUTPUT_MAX)
        vitals = snapshot.read(said.text, self._clock.monotonic_ns(), asked)
        software = vitals.software
        if isinstance(software, Software):
            vitals = dataclasses.replace(vitals, software=dataclasses.replace(software, app_debuggable=app_debuggable))
        return dataclasses.replace(vitals, capacity_mah=self._capacity(vitals, moment))

    def _capacity(self, vitals: Vitals, moment: Moment) -> float | None:
        """Return the battery's capacity, asked once, while nothing runs, of a device that has a charge counter."""
        power = vitals.power
        has_counter = isinstance(power, PowerSample) and power.gauge.counter_raw is not None
        if moment == "idle" and has_counter and not self._asked_capacity:
            self._asked_capacity = True
            try:
                said = self._session.run(["sh", "-c", snapshot.CAPACITY], CAPACITY_S)
            except AdbFailed as error:
                if error.kind != "timeout":
                    raise
                return None  # a device with long statistics: its counter stays without a unit, and says so
            self._capacity_mah = snapshot.read_capacity(said.text)
        return self._capacity_mah
