"""What the system says of this process and of the machine around it. Memory in kilobytes (1024 bytes)."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_ROLLUP = Path("/proc/self/smaps_rollup")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def rss_kb() -> int:
    """Return the resident memory of this process now."""
    return int(psutil.Process().memory_info().rss) // 1024


def peak_rss_kb() -> int:
    """Return the largest resident memory since the start of the process or the last :func:`reset_peak`."""
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def pss_kb() -> int | None:
    """Return the proportional share of memory of this process, where the kernel sums it up (Linux: smaps_rollup)."""
    try:
        rows = _ROLLUP.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None  # another system, or a kernel that keeps it to itself
    return next((int(row.split()[1]) for row in rows if row.startswith("Pss:")), None)


def memory_kb() -> dict[str, int | None]:
    """Return what the record ``mem`` says of this process now. Takes milliseconds: between phases only."""
    return {"rss_kb": rss_kb(), "peak_kb": peak_rss_kb(), "pss_kb": pss_kb()}


def reset_peak() -> bool:
    """Let the peak count from now (Linux: 5 to ``clear_refs``, see proc(5)); say whether the system did."""
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def load_1m() -> float | None:
    """Return how many threads wanted a processor over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds that all processors spent since the machine started, and those of this process among them."""

    total: float
    idle: float
    steal: float
    own: float


def cpu_times() -> CpuTimes:
    """Read the clocks of the processors. ``guest`` is part of ``user`` and not counted twice."""
    times = psutil.cpu_times()._asdict()
    parts = [value for name, value in times.items() if not name.startswith("guest")]
    mine = os.times()
    return CpuTimes(
        total=sum(parts),
        idle=times["idle"] + times.get("iowait", 0.0),
        steal=times.get("steal", 0.0),
        own=mine.user + mine.system,
    )


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Shares of all processor time between two readings, 0 to 1."""

    other: float
    steal: float


def shares(before: CpuTimes, after: CpuTimes) -> CpuShares | None:
    """Return what others took between two readings, or None where the clocks (of 10 ms) did not move enough."""
    total = after.total - before.total
    if total < 0.1:
        return None
    steal = max(after.steal - before.steal, 0.0)
    other = total - (after.idle - before.idle) - steal - (after.own - before.own)
    return CpuShares(other=min(max(other / total, 0.0), 1.0), steal=min(steal / total, 1.0))
