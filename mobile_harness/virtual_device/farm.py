"""Many virtual devices on one loop in one thread, and their way into an adb server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from mobile_harness.virtual_device import sandbox
from mobile_harness.virtual_device.device import VirtualDevice
from mobile_harness.virtual_device.faults import Fault
from mobile_harness.virtual_device.injection import EventLog, Faults
from mobile_harness.virtual_device.profile import DEFAULT, Profile
from toolkit.core import process
from toolkit.core.clock import Clock, SystemClock
from toolkit.core.errors import PalmtopError, UsageError

COUNT_MAX: Final = 256
_CALL_S: Final = 60.0
_ADB_S: Final = 30.0
_POLL_S: Final = 0.05
T = TypeVar("T")


class FarmFailed(PalmtopError):
    """The farm, or an adb server that should take its devices, does not do what it was asked to."""

    exit_code = 5


class Farm:
    """Devices that are running. Use it as a context manager, or :meth:`stop` it."""

    def __init__(self, devices: list[VirtualDevice], folder: Path, log: EventLog, clock: Clock) -> None:
        self.devices = devices
        self.log = log
        """Every fault that struck."""
        self._folder = folder
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="virtual-devices", daemon=True)
        self._connected: list[tuple[str, int, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __getitem__(self, number: int) -> VirtualDevice:
        return self.devices[number]

    def start(self) -> None:
        """Have every device listen on a free port of this machine."""
        self._thread.start()
        for device in self.devices:
            self.call(device.start())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the devices' loop and return its result."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(_CALL_S)

    def unplug(self, number: int) -> None:
        """Pull a device's cable; the adb server may connect again."""

        async def do() -> None:
            self.devices[number].unplug()

        self.call(do())

    def allow(self, number: int) -> None:
        """Have a device's owner accept the keys of the hosts that wait."""

        async def do() -> None:
            self.devices[number].allow()

        self.call(do())

    def problems(self) -> list[str]:
        """Return what went wrong in the devices' own code: bugs of ours."""
        return [f"{device.serial}: {text}" for device in self.devices for text in device.system.problems]

    def connect(self, adb: str, port: int) -> None:
        """Have an adb server take all devices, and wait until it lists them as online.

        Args:
            adb: the adb program.
            port: the server's port; a server is started there if none runs.

        Raises:
            FarmFailed: a device did not come online.
        """
        for device in self.devices:
            self._adb(adb, port, "disconnect", device.address)
            self._adb(adb, port, "connect", device.address)
            self._connected.append((adb, port, device.address))
        for device in self.devices:
            self._wait_online(adb, port, device)

    def _wait_online(self, adb: str, port: int, device: VirtualDevice) -> None:
        deadline_ns = self._clock.monotonic_ns() + int(_ADB_S * 1e9)
        while (said := self._adb(adb, port, "-s", device.address, "get-state").stdout.strip()) != "device":
            if self._clock.monotonic_ns() > deadline_ns:
                raise FarmFailed(
                    f"adb did not take {device.serial} at {device.address}: {said or 'no answer'}.",
                    hint=f"See what `{adb} -P {port} devices -l` says.",
                )
            self._clock.sleep(_POLL_S)

    def _adb(self, adb: str, port: int, *words: str) -> process.Finished:
        return process.run([adb, "-P", str(port), *words], deadline_s=_ADB_S)

    def disconnect(self) -> None:
        """Take all devices out of the adb servers that took them."""
        while self._connected:
            adb, port, address = self._connected.pop()
            self._adb(adb, port, "disconnect", address)

    def stop(self) -> None:
        """End the devices and remove their files. Safe to call twice."""
        if self._loop.is_closed():
            return
        try:
            self.disconnect()
            if self._thread.is_alive():
                for device in self.devices:
                    self.call(device.stop())
        finally:
            self._end_thread()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end_thread(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CALL_S)
        self._loop.close()


def start_farm(
    count: int,
    profile: Profile = DEFAULT,
    faults: Mapping[int | None, Iterable[Fault]] | None = None,
    *,
    seed: int = 0,
    native: bool = True,
) -> Farm:
    """Start devices ``virtual-0`` to ``virtual-N``.

    Args:
        count: how many, at most :data:`COUNT_MAX`.
        profile: what they claim to be.
        faults: what is planned, by the device's number; under None what is planned for each of them.
        seed: decides which faults strike where chance has a say.
        native: whether pushed native programs are run, where this host has a sandbox for them.

    Raises:
        UsageError: the count is out of range.
    """
    if not 1 <= count <= COUNT_MAX:
        raise UsageError(f"{count} virtual devices cannot be started.", hint=f"Ask for 1 to {COUNT_MAX}.")
    planned = {number: tuple(items) for number, items in (faults or {}).items()}
    clock = SystemClock()
    folder = Path(tempfile.mkdtemp(prefix="palmtop-virtual-"))
    log = EventLog(clock)
    found = sandbox.find() if native else "it was not asked for"
    devices = []
    for number in range(count):
        serial = f"virtual-{number}"
        own = Faults(serial, seed, log, (*planned.get(None, ()), *planned.get(number, ())))
        device = VirtualDevice(serial, folder, profile, own, clock)
        _give(device, found)
        devices.append(device)
    farm = Farm(devices, folder, log, clock)
    try:
        farm.start()
    except BaseException:
        farm.stop()
        raise
    return farm


def _give(device: VirtualDevice, found: sandbox.Sandbox | str) -> None:
    if isinstance(found, str):
        device.system.no_native = found
        return
    found.prepare(device.system.files)
    device.system.native = found
