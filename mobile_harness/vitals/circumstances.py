"""Doubts that a device's own words raise, in the manner of :mod:`mobile_harness.doubts`: one kind, one sentence.

Sentences of one kind differ in nothing but whole numbers, so that reports can put them together. Where a figure was
taken (emulator, virtual device) is said there, not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mobile_harness.records import Doubt
from mobile_harness.vitals.battery import CHARGING, Battery
from mobile_harness.vitals.cpu import Cpus
from mobile_harness.vitals.energy import Energy
from mobile_harness.vitals.identity import Identity
from mobile_harness.vitals.native import Figures
from mobile_harness.vitals.placement import Placement
from mobile_harness.vitals.reading import Unavailable
from mobile_harness.vitals.thermal import Thermal, slowed, status_rose

LOW_BATTERY_PERCENT: Final = 25
_ENERGY_SPREAD_MAX = 0.25
_PINNED = {"performance", "userspace"}
"""Clock governors that hold a clock still."""


def of_identity(identity: Identity) -> tuple[Doubt, ...]:
    """Doubt systems that are not what users have."""
    if identity.build_type == "eng" or ":eng/" in identity.fingerprint:
        words = "The device runs an engineering build of Android, slower than what users have."
        return (Doubt(kind="engineering_build", message=words),)
    if identity.debuggable and identity.kind == "phone":
        words = "The device runs a debuggable build of Android, which is not what users have."
        return (Doubt(kind="debuggable_system", message=words),)
    return ()


def of_app(*, debuggable: bool) -> tuple[Doubt, ...]:
    """Doubt an app that the runtime executes in debugging mode."""
    words = "The bench app is debuggable: its own code (not the runtime's) runs slower than a release's."
    return (Doubt(kind="debuggable_app", message=words),) if debuggable else ()


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


def of_clocks(cpus: Cpus | Unavailable) -> tuple[Doubt, ...]:
    """Doubt clocks that something caps, that may move, that cores were switched off from, or that nobody may see."""
    if isinstance(cpus, Unavailable):
        return (Doubt(kind="clocks_unknown", message="The device does not tell its processors' clocks."),)
    return tuple(_clocks(cpus))


def _clocks(cpus: Cpus) -> Iterator[Doubt]:
    capped = [
        100 * cluster.limit_khz // cluster.max_khz
        for cluster in cpus.clusters
        if cluster.limit_khz and cluster.max_khz and cluster.limit_khz < cluster.max_khz
    ]
    if capped:
        words = f"The system caps processors at {min(capped)} % of their top clock."
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


def of_native(figures: Figures) -> tuple[Doubt, ...]:
    """Doubt what a native tool cannot give: a series, and an app's scheduling."""
    words = "Taken by a native tool from the shell: apps are scheduled differently, and it gives no series."
    found = [Doubt(kind=f"native_{figures.runner}", message=words)]
    if figures.dropped:
        found.append(Doubt(kind="dropped_percentiles", message="Percentiles of too few runs were left out."))
    return tuple(found)
