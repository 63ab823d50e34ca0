"""The state of a device, in one place: commands read and change it, services start commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from mobile_harness.virtual_device.android.logs import Logs
from mobile_harness.virtual_device.android.packages import App
from mobile_harness.virtual_device.android.processes import Processes
from mobile_harness.virtual_device.faults import Reboot
from mobile_harness.virtual_device.filesystem import DeviceFiles, Identity, app_identity
from mobile_harness.virtual_device.injection import Faults
from mobile_harness.virtual_device.network import Network
from mobile_harness.virtual_device.profile import Profile
from toolkit.core.clock import Clock

WITHOUT_SANDBOX: Final = "not supported by the virtual device without a sandbox"


class Native(Protocol):
    """A sandbox for native programs."""

    async def run(self, call: Any, argv: list[str]) -> int:
        """Run a program by the device's path and return its exit code."""


Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@dataclass(slots=True)
class Busy:
    """Time that apps ran, by the device's clock; those that run now count from ``since_ns``."""

    total_ns: int = 0
    since_ns: dict[int, int] = field(default_factory=dict)

    def begin(self, pid: int, now_ns: int) -> None:
        """Note that an app started."""
        self.since_ns[pid] = now_ns

    def end(self, pid: int, now_ns: int) -> None:
        """Note that it ended."""
        self.total_ns += now_ns - self.since_ns.pop(pid, now_ns)

    def seconds(self, now_ns: int) -> float:
        """Return the time of all of them together."""
        return (self.total_ns + sum(now_ns - since for since in self.since_ns.values())) / 1e9


@dataclass(slots=True, kw_only=True)
class System:
    """Everything commands can see. ``reboot`` restarts the device; ``spawn`` starts a task that ends with it."""

    serial: str
    profile: Profile
    files: DeviceFiles
    faults: Faults
    clock: Clock
    spawn: Spawn
    reboot: Callable[[Reboot], None]
    problems: list[str]
    """What went wrong in the device's own code: empty, or a bug of ours."""
    native: Native | None = None
    """Runs native programs, where this host has a sandbox."""
    no_native: str = "it was not asked for"
    """Why there is none."""
    logs: Logs
    properties: dict[str, str]
    booted_ns: int
    processes: Processes = field(default_factory=Processes)
    network: Network = field(default_factory=Network)
    packages: dict[str, App] = field(default_factory=dict)
    settings: dict[tuple[str, str], str] = field(default_factory=dict)
    battery_said: dict[str, int] = field(default_factory=dict)
    """What ``dumpsys battery set`` made the framework say."""
    thermal_said: int | None = None
    """What ``cmd thermalservice override-status`` made the framework say."""
    busy: Busy = field(default_factory=Busy)
    """How long the bench app has run."""
    hot_since_ns: dict[int, int] = field(default_factory=dict)
    """When each hot condition was first felt."""
    exits: list[tuple[str, str, int]] = field(default_factory=list)
    """Apps that died: package, Android's reason (``5 (CRASH NATIVE)``), pid; the oldest first."""
    sessions: dict[int, Any] = field(default_factory=dict)
    """Open sessions of the package manager."""

    def uptime_s(self) -> float:
        """Return the seconds since the last boot."""
        return (self.clock.monotonic_ns() - self.booted_ns) / 1e9

    def has_booted(self) -> bool:
        """Say whether Android is up, not only its adbd."""
        return self.properties.get("sys.boot_completed") == "1"

    def app_view_identity(self, package: str) -> Identity:
        """Return who ``run-as`` becomes."""
        return app_identity(package, self.packages[package].uid)


def properties_of(serial: str, profile: Profile) -> dict[str, str]:
    """Return the properties of a fresh device. They say what it is in three places."""
    name = "palmtop_virtual"
    return {
        "ro.palmtop.virtual": "1",
        "ro.hardware": name,
        "ro.board.platform": name,
        "ro.product.brand": "palmtop",
        "ro.product.manufacturer": "palmtop",
        "ro.product.model": profile.model,
        "ro.product.name": name,
        "ro.product.device": name,
        "ro.soc.manufacturer": "palmtop",
        "ro.soc.model": "virtual (host processor)",
        "ro.serialno": serial,
        "ro.boot.serialno": serial,
        "ro.product.cpu.abi": profile.abis[0],
        "ro.product.cpu.abilist": ",".join(profile.abis),
        "ro.build.version.sdk": str(profile.sdk),
        "ro.build.version.release": profile.release,
        "ro.build.version.security_patch": "1970-01-01",
        "ro.build.fingerprint": f"palmtop/{name}/{name}:{profile.release}/VIRTUAL/1:user/test-keys",
        "ro.build.type": "user",
        "ro.build.tags": "test-keys",
        "ro.build.characteristics": "virtual",
        "ro.debuggable": "0",
        "ro.secure": "1",
        "init.svc.adbd": "running",
        "sys.boot_completed": "1",
        "dev.bootcomplete": "1",
    }


def root_folder(base: Path, serial: str) -> Path:
    """Return where a device keeps its files under a farm's folder."""
    return base / serial / "root"
