"""Doubts that a device's own words raise, in the manner of :mod:`mobile_harness.doubts`: one kind, one sentence.

Sentences of one kind differ in nothing but whole numbers, so that reports can put them together. Where a figure was
taken (emulator, virtual device) is said there, not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mobile_harness.records import Aggregate, Doubt
from mobile_harness.records.state import (
    Battery,
    Cpus,
    Energy,
    Placement,
    Screen,
    Software,
    Thermal,
    Unavailable,
    Vitals,
)
from mobile_harness.vitals.battery import CHARGING
from mobile_harness.vitals.native import Figures
from mobile_harness.vitals.thermal import slowed, status_rose

LOW_BATTERY_PERCENT: Final = 25
_ENERGY_SPREAD_MAX = 0.25
_PINNED = {"performance", "userspace"}
"""Clock governors that hold a clock still."""


def of_software(software: Software | Unavailable) -> tuple[Doubt, ...]:
    """Doubt a system that is not what users have, and an app that the system executes in debugging mode."""
    return () if isinstance(software, Unavailable) else tuple(_software(software))


def _software(software: Software) -> Iterator[Doubt]:
    if software.build_type == "eng" or ":eng/" in software.fingerprint:
        words = "The device runs an engineering build of Android, slower than what users have."
        yield Doubt(kind="engineering_build", message=words)
    elif software.debuggable:
        words = "The device runs a debuggable build of Android, which is not what users have."
        yield Doubt(kind="debuggable_system", message=words)
    if software.app_debuggable:
        words = "The bench app is debuggable: its own code (not the runtime's) runs slower than a release's."
        yield Doubt(kind="debuggable_app", message=words)


def of_screen(screen: Screen | Unavailable) -> tuple[Doubt, ...]:
    """Doubt a device that sleeps or saves power: both hold its clocks down."""
    return () if isinstance(screen, Unavailable) else tuple(_screen(screen))


def _screen(screen: Screen) -> Iterator[Doubt]:
    if screen.power_save:
        yield Doubt(kind="power_save", message="The device was saving power, which holds its clocks down.")
    if screen.awake is False:
        yield Doubt(
            kind="asleep", message="The device's screen was off: what runs then is slowed down or put to sleep."
        )


def of_battery(battery: Battery) -> tuple[Doubt, ...]:
    """Doubt figures of a low, charging or overridden battery."""
    return tuple(_battery(battery))


def _battery(battery: Battery) -> Iterator[Doubt]:
    level = battery.level_percent
    if level is not None and level < LOW_BATTERY_PERCENT:
        words = f"The battery stood at {level:.0f} %, below {LOW_BATTERY_PERCENT} %: phones slow down to save it."
        yield Doubt(kind="low_battery", message=words)
    if battery.status == CHARGING:
        yield Doubt(kind="charging", message="The battery was charging, which warms the phone.")
    if battery.frozen:
        words = "The battery's figures were overridden on the device: `adb shell dumpsys battery reset` frees them."
        yield Doubt(kind="battery_overridden", message=words)


def of_heat(before: Thermal, after: Thermal, probe_ratio: float | None = None) -> tuple[Doubt, ...]:
    """Doubt a session that began warm or was throttled; ``probe_ratio`` as in :func:`.thermal.throttling`."""
    return tuple(_heat(before, after, probe_ratio))


def _heat(before: Thermal, after: Thermal, probe_ratio: float | None) -> Iterator[Doubt]:
    if before.overridden or after.overridden:
        words = "The thermal status was overridden on the device: `adb shell cmd thermalservice reset` frees it."
        yield Doubt(kind="thermal_overridden", message=words)
    if before.status:
        yield Doubt(kind="started_warm", message=f"The thermal status was {before.status} (of 6) before it began.")
    if status_rose(before, after):
        words = f"Throttled: the thermal status rose from {before.status or 0} to {after.status or 0} (of 6)."
        yield Doubt(kind="throttled", message=words)
    if probe_ratio is not None and slowed(probe_ratio):
        words = f"Throttled: a fixed probe took {100 * (probe_ratio - 1):.0f} % longer afterwards."
        yield Doubt(kind="slower_probe", message=words)
    if before.source == "none" and before.status is None:
        yield Doubt(kind="heat_unknown", message="The device does not tell how warm it is: throttling would go unseen.")


def of_throttling(before: Vitals, after: Vitals, step: float | None) -> tuple[Doubt, ...]:
    """Doubt a session during which the system lowered its clocks, or that slowed down as the device warmed.

    Args:
        before: the device right before the session.
        after: the device right after its timed runs.
        step: how much slower its series became in one step (1.2: by 20 %); None where it did not.
    """
    return tuple(_throttling(before, after, step))


def _throttling(before: Vitals, after: Vitals, step: float | None) -> Iterator[Doubt]:
    early, late = (None if isinstance(item.cpus, Unavailable) else _cap_percent(item.cpus) for item in (before, after))
    fell = early is not None and late is not None and late < early
    if fell:
        words = f"Throttled: the cap of its processors fell from {early} to {late} % of their top clock."
        yield Doubt(kind="cap_fell", message=words)
    heat = [item.thermal for item in (before, after) if not isinstance(item.thermal, Unavailable)]
    rose = len(heat) == 2 and status_rose(heat[0], heat[1])
    if step is not None and (fell or rose):
        words = f"Throttled: inferences became {100 * (step - 1):.0f} % slower while the system held the device back."
        yield Doubt(kind="throttled_series", message=words)


def _cap_percent(cpus: Cpus) -> int:
    """Return the lowest cap of a cluster as a share of its top clock; 100 where nothing is capped."""
    shares = [
        100 * cluster.limit_khz // cluster.max_khz
        for cluster in cpus.clusters
        if cluster.limit_khz and cluster.max_khz and cluster.limit_khz < cluster.max_khz
    ]
    return min(shares, default=100)


def of_clocks(cpus: Cpus | Unavailable) -> tuple[Doubt, ...]:
    """Doubt clocks that something caps, that may move, that cores were switched off from, or that nobody may see."""
    if isinstance(cpus, Unavailable):
        return (Doubt(kind="clocks_unknown", message="The device does not tell its processors' clocks."),)
    return tuple(_clocks(cpus))


def _clocks(cpus: Cpus) -> Iterator[Doubt]:
    cap = _cap_percent(cpus)
    if cap < 100:
        words = f"The system caps processors at {cap} % of their top clock."
        yield Doubt(kind="capped_clocks", message=words)
    cores = {core for cluster in cpus.clusters for core in cluster.cores}
    off = len(cores - set(cpus.online)) if cpus.online else 0
    if off:
        words = f"Processor cores were switched off: {off} of {len(cores)}."
        yield Doubt(kind="cores_off", message=words)
    if any(cluster.governor == "powersave" for cluster in cpus.clusters):
        yield Doubt(kind="powersave", message="The clock governor is 'powersave', which holds clocks down.")
    if any(cluster.governor not in _PINNED for cluster in cpus.clusters):
        words = "The clocks were not locked, as on any phone without root: they move with load and heat."
        yield Doubt(kind="unlocked_clocks", message=words)


def of_placement(placement: Placement) -> tuple[Doubt, ...]:
    """Doubt a model that did not run where it was asked to, wholly or in part."""
    if placement.fallback:
        words = f"Nothing ran on the {placement.requested} that was asked for: the runtime fell back to the CPU."
        return (Doubt(kind=f"fell_back_{placement.requested}", message=words),)
    nodes, total = placement.delegated_nodes, placement.total_nodes
    if nodes is None:
        words = f"The runtime does not tell whether the {placement.requested} that was asked for was used."
        return () if placement.requested == "cpu" else (Doubt(kind=f"unplaced_{placement.requested}", message=words),)
    if total is not None and nodes < total and placement.requested != "cpu":
        words = f"The {placement.requested} ran {nodes} of {total} nodes; the CPU ran the rest."
        return (Doubt(kind=f"partial_{placement.requested}", message=words),)
    return ()


def of_energy(energy: Energy | Unavailable) -> tuple[Doubt, ...]:
    """Doubt an energy figure whose pairs disagree or that its meter hardly resolves."""
    if isinstance(energy, Unavailable):
        return ()
    found = []
    if energy.spread > _ENERGY_SPREAD_MAX:
        words = f"Energy differs by {100 * energy.spread:.0f} % between pairs of idle and load."
        found.append(Doubt(kind="energy_spread", message=words))
    if energy.resolution_uj > energy.per_inference_uj / 10:
        share = 100 * energy.resolution_uj / energy.per_inference_uj
        words = f"One step of the energy meter is {share:.0f} % of the energy of an inference."
        found.append(Doubt(kind="energy_resolution", message=words))
    return tuple(found)


def of_native(figures: Figures | Aggregate) -> tuple[Doubt, ...]:
    """Doubt what a native tool cannot give: a series, and an app's scheduling."""
    words = (
        "Taken by a native tool from the shell: apps are scheduled differently, it gives no series and checks no "
        "outputs."
    )
    found = [Doubt(kind=f"native_{figures.runner}", message=words)]
    if figures.dropped:
        found.append(Doubt(kind="dropped_percentiles", message="Percentiles of too few runs were left out."))
    return tuple(found)
