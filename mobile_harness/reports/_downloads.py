"""How long each build takes to download: over the typical networks of the phones of a run, else of all phones known."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from mobile_harness import profiles
from mobile_harness.profiles import DeviceProfile, fit
from mobile_harness.records import DeviceInfo
from mobile_harness.reports.base import DownloadTime
from toolkit.core.manifest import BuildEntry

_shipped = functools.cache(profiles.shipped)


def times_of(builds: Sequence[BuildEntry], devices: Sequence[DeviceInfo]) -> tuple[tuple[DownloadTime, ...], str]:
    """Return the times of each build over each kind of network, the fastest first, and whose networks those are.

    The rates are those of the device profiles: for the phones of the run where their classes are known, else for all.
    """
    phones = [device for device in devices if device.kind == "phone"]
    found = [match.profile for phone in phones if (match := profiles.best_match(_shipped(), phone))]
    known = list(dict.fromkeys(profile.name for profile in found))
    chosen = [profile for profile in _shipped() if profile.name in known] or _phones()
    whose = ", ".join(known[:3]) + (f" and {len(known) - 3} more" if known[3:] else "")
    note = f"typical rates for {whose or f'the {len(chosen)} classes of phones that palmtop knows'}"
    times = [_time(build, name, rates) for build in builds for name, rates in _rates(chosen).items()]
    return tuple(times), f"{note}; the build alone, the app around it comes on top." if times else ""


def _phones() -> list[DeviceProfile]:
    return [profile for profile in _shipped() if profile.kind == "phone" and profile.networks]


def _rates(chosen: Sequence[DeviceProfile]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {}
    for profile in chosen:
        for network in profile.networks:
            rates.setdefault(network.name, []).append(network.downlink_mbit_s)
    return dict(sorted(rates.items(), key=lambda item: -max(item[1])))


def _time(build: BuildEntry, name: str, rates: Sequence[float]) -> DownloadTime:
    slow, fast = (profiles.Network(name=name, downlink_mbit_s=rate) for rate in (min(rates), max(rates)))
    return DownloadTime(
        build_id=build.id,
        network=name,
        slowest_mbit_s=slow.downlink_mbit_s,
        fastest_mbit_s=fast.downlink_mbit_s,
        longest_s=fit.download_s(build.size_bytes, slow),
        shortest_s=fit.download_s(build.size_bytes, fast),
    )
