"""One virtual device: its state, its listening socket, its links, its life from boot to boot."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Final

from mobile_harness.virtual_device import auth, faults, protocol
from mobile_harness.virtual_device.android import live
from mobile_harness.virtual_device.android.logs import Logs
from mobile_harness.virtual_device.android.system import Busy, System, properties_of, root_folder
from mobile_harness.virtual_device.filesystem import DeviceFiles
from mobile_harness.virtual_device.injection import Faults
from mobile_harness.virtual_device.profile import Profile
from mobile_harness.virtual_device.services import directory
from mobile_harness.virtual_device.services.session import Opened
from mobile_harness.virtual_device.streams import Stream
from mobile_harness.virtual_device.transport import Transport
from toolkit.core.clock import Clock

LOOPBACK: Final = "127.0.0.1"
_BANNER_KEYS: Final = ("ro.product.name", "ro.product.model", "ro.product.device")


class VirtualDevice:
    """A device on a loop. All methods but those of ``faults`` belong to the loop's thread."""

    def __init__(self, serial: str, folder: Path, profile: Profile, planned: Faults, clock: Clock) -> None:
        self.serial = serial
        self.port = 0
        self.faults = planned
        self.keyring = auth.Keyring(ask=profile.asks)
        self.links: list[Transport] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: set[asyncio.Task[None]] = set()
        files = DeviceFiles(root_folder(folder, serial), profile.storage_bytes)
        files.limit = self._storage_limit
        self._full_at: int | None = None
        self.system = System(
            serial=serial,
            profile=profile,
            files=files,
            faults=planned,
            clock=clock,
            spawn=self.spawn,
            reboot=self.reboot,
            problems=[],
            logs=Logs(clock),
            properties=properties_of(serial, profile),
            booted_ns=clock.monotonic_ns(),
        )
        live.install(self.system)

    @property
    def address(self) -> str:
        """Where an adb server finds it."""
        return f"{LOOPBACK}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen on this machine only; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._on_link, LOOPBACK, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End everything the device does."""
        await self._cancel(self._life)
        self._close_server()
        self._cut()
        await self._cancel(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends with the device, or with its next reboot; its failure is a problem of ours."""
        return self._keep(work, self._tasks)

    def unplug(self) -> None:
        """Pull the cable; the host may connect again."""
        self._cut()

    def allow(self) -> None:
        """The owner accepts the keys of all hosts that wait."""
        self.faults.clear(faults.Unauthorized)
        for link in self.links:
            link.allow()

    def reboot(self, fault: faults.Reboot) -> None:
        """Restart: links, processes, ports and open installations are gone; files and settings stay."""
        self._keep(self._reboot(fault), self._life)

    # what transports need ---------------------------------------------------------------------------------------

    def banner(self, host_features: frozenset[str]) -> bytes:
        features = directory.FEATURES
        if self.system.profile.delayed_ack and "delayed_ack" in host_features:
            features = (*features, "delayed_ack")
        known = self.system.properties
        return protocol.banner({key: known[key] for key in _BANNER_KEYS}, features)

    def detach(self, transport: Transport) -> None:
        if transport in self.links:
            self.links.remove(transport)

    async def serve(self, transport: Transport, stream: Stream, service: str) -> None:
        """Serve a stream, or have it struck by what is planned."""
        kind, options, argument = directory.split(service)
        opened = Opened(
            system=self.system, transport=transport, stream=stream, kind=kind, options=options, argument=argument
        )
        try:
            if not await self._struck(opened, service) and kind in directory.SERVICES:
                await directory.SERVICES[kind](opened)
        except OSError:
            pass  # the host has gone, or there is nothing to connect to: the stream's end says it
        finally:
            if stream.was_accepted:
                stream.close()
            else:
                stream.refuse()

    async def _struck(self, opened: Opened, service: str) -> bool:
        """Let strike what is planned for a service; returns whether there is nothing left to serve."""
        drop = self.faults.strike(faults.Drop, service)
        if drop is not None:
            self._keep(self._drop(opened.transport, drop.after_s), self._tasks)
        reboot = self.faults.strike(faults.Reboot, service)
        if reboot is not None:
            self.reboot(reboot)
            await opened.stream.ended.wait()
            return True
        if self.faults.strike(faults.Refuse, service) is not None:
            return True
        hang = self.faults.strike(faults.Hang, service)
        if hang is not None:
            opened.transport.hang(hang.seconds)
            await opened.transport.woken()
        if self.faults.strike(faults.Silent, service) is not None:
            opened.stream.accept()
            await opened.stream.ended.wait()
            return True
        return False

    async def _drop(self, transport: Transport, after_s: float) -> None:
        await asyncio.sleep(after_s)
        transport.close(abruptly=True)

    # life -------------------------------------------------------------------------------------------------------

    def _on_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = Transport(self, reader, writer)
        self.links.append(transport)
        self._keep(transport.run(), self._tasks)

    def _keep(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        among.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(among.discard)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.system.problems.append("".join(traceback.format_exception(error)))

    async def _reboot(self, fault: faults.Reboot) -> None:
        system = self.system
        system.properties.update({"sys.boot_completed": "", "dev.bootcomplete": ""})
        self._close_server()
        self._cut()
        await self._cancel(self._tasks)
        system.battery_said.clear()
        system.busy = Busy()
        system.thermal_said = None
        for number in list(system.sessions):
            system.files.drop(system.sessions.pop(number).folder)
        await asyncio.sleep(fault.down_s)
        system.booted_ns = system.clock.monotonic_ns()
        await self.start(self.port)
        await asyncio.sleep(fault.boot_s)
        system.properties.update({"sys.boot_completed": "1", "dev.bootcomplete": "1"})
        system.logs.add("I", "palmtop", "boot completed")

    def _cut(self) -> None:
        for link in tuple(self.links):
            link.close(abruptly=True)

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cancel(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        waiting = [task for task in tasks if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _storage_limit(self) -> int | None:
        """Return the bytes that a full storage leaves, counted from when it was first felt."""
        full = self.faults.holding(faults.StorageFull)
        if full is None:
            self._full_at = None
            return None
        used = self.system.files.used
        self._full_at = used if self._full_at is None else self._full_at
        return max(0, self._full_at + full.free_bytes - used)
