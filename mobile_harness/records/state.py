"""What a device says of itself, as values: heat, battery, clocks, memory, meters.

Every part is a value or :class:`Unavailable` with the reason; nothing is guessed.
:mod:`mobile_harness.vitals` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Part = Literal["cpu", "gpu", "npu", "battery", "skin", "other"]
HeatSource = Literal["current", "cached", "sysfs", "none"]
EnergyMethod = Literal["power_monitors", "charge_counter", "current_voltage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """The device answered, but the figure cannot be had from it, or must not be believed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """A sensor's reading. ``status`` is the sensor's own throttling status."""

    name: str
    part: Part
    celsius: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """What a device says of its heat. ``status`` None: it does not say; ``overridden``: someone set it by hand.

    ``source`` tells where the temperatures come from; cached ones may be minutes old. ``skipped`` counts the rows that
    are no temperatures. ``headroom_thresholds`` has an entry per status, None where the device has none. ``headroom``
    is the app's own forecast (1 is the status severe), None where it gave none.
    """

    status: int | None
    overridden: bool
    source: HeatSource
    temperatures: tuple[Temperature, ...]
    skipped: int
    headroom_thresholds: tuple[float | None, ...] = ()
    headroom: float | None = None

    def celsius(self, part: Part) -> float | None:
        """Return the warmest reading of a part, or None."""
        return max((item.celsius for item in self.temperatures if item.part == part), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """What the battery service says. ``frozen``: someone overrode the figures and they no longer move.

    ``status`` is Android's: 2 charging, 3 discharging. ``counter_raw`` is the charge counter as it stands there: its
    unit is not known yet. The voltage is brought to millivolts, the temperature to degrees Celsius; both are None where
    no unit makes them plausible.
    """

    frozen: bool
    powered: tuple[str, ...]
    status: int | None
    health: int | None
    present: bool
    level_percent: float | None
    voltage_mv: float | None
    temperature_c: float | None
    counter_raw: int | None
    technology: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cores that share a clock. ``limit_khz`` below ``max_khz``: something has capped them.

    ``time_in_state`` pairs each clock in kHz with the ticks spent at it since boot, 10 ms each as a rule.
    """

    cores: tuple[int, ...]
    max_khz: int | None
    limit_khz: int | None
    capacity: int | None
    governor: str
    time_in_state: tuple[tuple[int, int], ...]

    @property
    def mask(self) -> str:
        """The cores as ``taskset`` takes them: a hexadecimal affinity mask."""
        return f"{sum(1 << core for core in set(self.cores)):x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpus:
    """The clusters, slowest first, and which cores are switched on (empty: the device does not say)."""

    clusters: tuple[Cluster, ...]
    online: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """From ``/proc/meminfo``; ``available_kb`` is None on kernels that do not estimate it."""

    total_kb: int
    available_kb: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """A process's part of ``dumpsys meminfo``; None where the system does not say.

    ``graphics_kb`` is None also where it stands as 0, since that is how systems without graphics accounting print it.
    """

    pid: int
    name: str
    pss_kb: int | None
    rss_kb: int | None
    swap_pss_kb: int | None
    native_heap_kb: int | None
    graphics_kb: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Whether the device is awake and whether it saves power; None where it does not say."""

    awake: bool | None
    power_save: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The system as built: its fingerprint changes with every update. ``app_debuggable`` None: no app is there."""

    fingerprint: str
    build_type: str
    debuggable: bool
    app_debuggable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """The battery's gauge at one moment, raw: ``at_ns`` on any one clock, ``status`` as in :class:`Battery`."""

    at_ns: int
    status: int | None
    level_percent: float | None
    voltage_mv: float | None
    counter_raw: int | None = None
    current_raw: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSample:
    """One moment: the gauge, and the consumed energy since boot of each measured rail in µWs (negative: not known)."""

    gauge: Gauge
    rails_uws: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPair:
    """An idle stretch and one of ``inferences``, each as its samples in order, first and last at its edges.

    ``probes`` came in quick succession before the idle stretch: they show the meters' steps and are part of no
    figure. ``capacity_mah`` is the battery's by design, None where it is not known.
    """

    idle: tuple[PowerSample, ...]
    load: tuple[PowerSample, ...]
    inferences: int
    probes: tuple[PowerSample, ...] = ()
    capacity_mah: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Microjoules an inference takes above idle, by one method: the median over pairs.

    ``idle_uw`` is the median idle power in µW, ``spread`` how far pairs lie apart as a share of the figure,
    ``resolution_uj`` what one step of the meter is worth per inference, and ``declined`` why better methods were not
    used. ``scale`` says how the gauge's raw figures were read; empty for power monitors.
    """

    method: EnergyMethod
    per_inference_uj: float
    idle_uw: float
    pairs: int
    spread: float
    resolution_uj: float
    declined: tuple[str, ...]
    scale: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a model ran when ``requested`` was asked for.

    ``fallback``: nothing ran there, and the tool said so only in its log. ``delegated_nodes`` None: the runtime is
    silent, so nothing is known. ``evidence`` is in its own words.
    """

    requested: str
    delegated_nodes: int | None
    total_nodes: int | None
    partitions: int | None
    fallback: bool
    evidence: str


NOT_ASKED: Final = Unavailable(reason="it was not asked for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a device says of itself at one moment: each part a value, or why there is none.

    ``at_ns`` is the host's monotonic clock. ``app`` is the running runner's memory. ``power`` is what energy is
    counted from, ``capacity_mah`` the battery's capacity by design.
    """

    at_ns: int
    thermal: Thermal | Unavailable = NOT_ASKED
    battery: Battery | Unavailable = NOT_ASKED
    cpus: Cpus | Unavailable = NOT_ASKED
    memory: DeviceMemory | Unavailable = NOT_ASKED
    screen: Screen | Unavailable = NOT_ASKED
    software: Software | Unavailable = NOT_ASKED
    app: ProcessMemory | Unavailable = NOT_ASKED
    power: PowerSample | Unavailable = NOT_ASKED
    capacity_mah: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooled:
    """How the wait before a session ended: ``reached`` or, after ``waited_s``, given up for ``reason``.

    ``vitals`` is how the device stood right before the session, ``idle`` what its meters said while it rested,
    ``probes`` what they said in quick succession before that.
    """

    waited_s: float
    reached: bool
    reason: str
    vitals: Vitals
    idle: tuple[PowerSample, ...] = ()
    probes: tuple[PowerSample, ...] = ()
