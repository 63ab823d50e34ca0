"""Cores, clusters and clocks, from ``/sys/devices/system/cpu`` read as :func:`.sysfs.read_files` does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from mobile_harness.records.state import Cluster, Cpus, Unavailable
from mobile_harness.vitals import reading

CORES_MAX: Final = 256
FILES: Final = (
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpu[0-9]*/cpu_capacity",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/*_max_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/related_cpus",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/stats/time_in_state",
    "/sys/devices/system/cpu/cpufreq/policy[0-9]*/stats/time_in_state",
)
"""What to read, as patterns of the device's shell. Repeats do no harm."""

_CORE = re.compile(r"/sys/devices/system/cpu/cpu([0-9]{1,3})/(?:cpufreq/)?([a-z_]+|stats/time_in_state)")
_POLICY = re.compile(r"/sys/devices/system/cpu/cpufreq/policy([0-9]{1,3})/([a-z_]+|stats/time_in_state)")
_ONLINE = "/sys/devices/system/cpu/online"


def mask(cores: Sequence[int]) -> str:
    """Return a hexadecimal affinity mask.

    >>> mask([4, 5, 6, 7])
    'f0'
    """
    return f"{sum(1 << core for core in set(cores)):x}"


def read_cores(words: str) -> tuple[int, ...]:
    """Return the cores of a kernel's list; what is no list has none.

    >>> read_cores("0-3,6"), read_cores("0 1 2 3"), read_cores("9-1,x,0-99999999")
    ((0, 1, 2, 3, 6), (0, 1, 2, 3), ())
    """
    found: set[int] = set()
    for part in words.replace(",", " ").split()[:CORES_MAX]:
        first, _, last = part.partition("-")
        low, high = reading.integer(first), reading.integer(last or first)
        if low is not None and high is not None and 0 <= low <= high < CORES_MAX:
            found.update(range(low, high + 1))
    return tuple(sorted(found))


def read_cpus(files: Mapping[str, tuple[str, ...]]) -> Cpus | Unavailable:
    """Return the device's clusters; cores without a stated cluster are grouped by clock and capacity."""
    facts: dict[int, dict[str, tuple[str, ...]]] = {}
    policies: dict[int, dict[str, tuple[str, ...]]] = {}
    for path, lines in files.items():
        for pattern, into in ((_CORE, facts), (_POLICY, policies)):
            if (match := pattern.fullmatch(path)) and int(match[1]) < CORES_MAX:
                into.setdefault(int(match[1]), {})[match[2]] = lines
    for first, known in policies.items():
        facts.setdefault(first, {}).update({name: lines for name, lines in known.items() if name not in facts[first]})
    online = read_cores(" ".join(files.get(_ONLINE, ())))
    if not facts:
        return Unavailable(reason="the device lets nobody read its processors' clocks")
    clusters = sorted(_clusters(facts), key=lambda cluster: (cluster.max_khz or 0, cluster.cores))
    return Cpus(clusters=tuple(clusters), online=online)


def _clusters(facts: Mapping[int, Mapping[str, tuple[str, ...]]]) -> list[Cluster]:
    grouped: dict[object, list[int]] = {}
    for core in sorted(facts):
        known = facts[core]
        related = read_cores(_line(known, "related_cpus"))
        same = (_line(known, "cpuinfo_max_freq"), _line(known, "cpu_capacity"), _line(known, "scaling_governor"))
        grouped.setdefault(related if core in related else same, []).append(core)
    return [_cluster(key, cores, facts) for key, cores in grouped.items()]


def _cluster(key: object, cores: Sequence[int], facts: Mapping[int, Mapping[str, tuple[str, ...]]]) -> Cluster:
    told: dict[str, tuple[str, ...]] = {}
    for core in cores:
        for name, lines in facts[core].items():
            told.setdefault(name, lines)
    related = read_cores(_line(told, "related_cpus"))
    return Cluster(
        cores=related if key == related else tuple(cores),
        max_khz=_positive(told, "cpuinfo_max_freq"),
        limit_khz=_positive(told, "scaling_max_freq"),
        capacity=_positive(told, "cpu_capacity"),
        governor=reading.shown(_line(told, "scaling_governor")),
        time_in_state=_times(told.get("stats/time_in_state", ())),
    )


def _line(told: Mapping[str, tuple[str, ...]], name: str) -> str:
    return next(iter(told.get(name, ())), "")


def _positive(told: Mapping[str, tuple[str, ...]], name: str) -> int | None:
    value = reading.integer(_line(told, name))
    return value if value is not None and value > 0 else None


def _times(lines: Sequence[str]) -> tuple[tuple[int, int], ...]:
    found: dict[int, int] = {}
    for line in lines:
        khz, _, ticks = line.partition(" ")
        clock, spent = reading.integer(khz), reading.integer(ticks)
        if clock is not None and spent is not None and clock > 0 and spent >= 0:
            found[clock] = spent
    return tuple(sorted(found.items()))


def effective_mhz(before: Cluster, after: Cluster) -> float | Unavailable:
    """Return a cluster's mean clock between two readings, weighted by the time spent at each clock."""
    started = dict(before.time_in_state)
    spent = {khz: ticks - started.get(khz, 0) for khz, ticks in after.time_in_state}
    if before.cores != after.cores or not spent or set(started) - set(spent):
        return Unavailable(reason="the device does not tell how long its cores ran at which clock")
    if min(spent.values()) < 0:
        return Unavailable(reason="the time at a clock went backward: the device restarted or reset it")
    total = sum(spent.values())
    if not total:
        return Unavailable(reason="no time passed at any clock: the readings lie too close together")
    return sum(khz * ticks for khz, ticks in spent.items()) / total / 1000
