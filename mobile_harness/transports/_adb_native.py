"""An Android device whose runner is a native benchmark tool in the device's temporary folder, started from the shell.

The tool is sent by the hash of its content like a build, made executable and removed with all else. It measures from
the shell, where Android schedules it otherwise than an app: its figures are another runner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.server import ServerInfo
from mobile_harness.adb.session import Session
from mobile_harness.records import DeviceInfo
from mobile_harness.transports import _adb_blobs, _native_tools
from mobile_harness.transports._adb_device import COMMAND_S, AdbDevice
from mobile_harness.transports._adb_trouble import as_device_failure, steadily
from mobile_harness.transports._native_run import NativeRun, Start
from mobile_harness.transports._native_tools import NativeTool
from mobile_harness.transports.base import DeviceFailed, Job, News
from mobile_harness.vitals.native import RUNTIMES, WHERE
from toolkit.core.tools import Tools

_AFTER_DEADLINE_S: Final = 60.0
_RUN: Final = 'cd "$1" || exit 127; shift; LD_LIBRARY_PATH=. exec "$@"'
"""The tool's folder, the tool, its words: its libraries are looked for beside it."""


def native(device: AdbDevice, paths: Sequence[Path]) -> AdbNativeDevice:
    """Return the device with native tools as its runner.

    Raises:
        SettingsError: a path is no native tool.
    """
    found = _native_tools.read_tools(paths)

    def face(session: Session, info: DeviceInfo, server: ServerInfo, tools: Tools) -> AdbNativeDevice:
        return AdbNativeDevice((session, info, server), tools, found)

    return device.seen_as(face)


class AdbNativeDevice(AdbDevice):
    """An Android device with native tools; see :class:`mobile_harness.transports.base.Device`."""

    def __init__(
        self, place: tuple[Session, DeviceInfo, ServerInfo], tools: Tools, natives: Sequence[NativeTool]
    ) -> None:
        super().__init__(*place, tools)
        fitting = sorted(
            (tool for tool in natives if tool.abi in self.info.abis), key=lambda tool: self.info.abis.index(tool.abi)
        )
        self._natives = {tool.target: tool for tool in reversed(fitting)}
        self._offered = tuple(natives)
        self._tool_run: NativeRun | None = None
        self.runner = "native"
        self.runners = {target: tool.runner for target, tool in self._natives.items()}
        self.tools = (*self.tools, *(tool.version for tool in self._natives.values()))

    def launch(self, job: Job) -> None:
        self.stop()
        tool = self._tool_for(job.target)
        with as_device_failure("cannot_launch"):
            folder, name = steadily(self._session, lambda: self._ready_tool(tool))
            words = _native_tools.arguments(tool, job.model, job.plan)
            start = Start(
                tool=tool,
                job=job,
                info=self.info,
                argv=["sh", "-c", _RUN, "sh", folder, f"./{name}", *words],
                deadline_s=job.plan.session_deadline_s + _AFTER_DEADLINE_S,
            )
            self._tool_run = NativeRun(self._session, start, self._clock)

    def poll(self, timeout_s: float) -> News:
        if self._tool_run is None:
            return News(lines=(), running=False, ended="never started")
        with as_device_failure("lost"):
            return self._tool_run.poll(timeout_s)

    def pull(self, run: str) -> bytes | None:
        return None if self._tool_run is None else self._tool_run.file_of(run)

    def evidence(self) -> str:
        return "" if self._tool_run is None else self._tool_run.evidence()

    def stop(self) -> None:
        if self._tool_run is not None:
            self._tool_run.stop()

    def cleanup(self) -> None:
        super().cleanup()
        self._tool_run = None

    def _ready_tool(self, tool: NativeTool) -> tuple[str, str]:
        """Have the tool on the device, executable; return its folder and its name there. May be done again."""
        self._prepare()
        place = _adb_blobs.put(self._session, f"{self._place.path}/tools", tool.blob)
        folder, name = (place, tool.file) if tool.blob.path.is_dir() else _parted(place)
        made = self._session.run(["chmod", "755", f"{folder}/{name}"], COMMAND_S)
        if made.code:
            raise AdbFailed(
                f"{tool.kind} cannot be made executable on {self._session.name}: {made.said()}", kind="refused"
            )
        return folder, name

    def _tool_for(self, target: str) -> NativeTool:
        if target in self._natives:
            return self._natives[target]
        if target not in RUNTIMES:
            raise DeviceFailed(
                f"No native tool measures {target} builds.",
                kind="cannot_launch",
                hint=f"They exist for {' and '.join(RUNTIMES)}; the bench app measures the others (--runner app).",
            )
        others = [tool.abi for tool in self._offered if tool.target == target]
        what = f"is for {', '.join(others)}" if others else "was not named"
        raise DeviceFailed(
            f"The native tool for {target} builds {what}; {self._session.name} executes {', '.join(self.info.abis)}.",
            kind="cannot_launch",
            hint=f"Name one for it with --native-tool. {WHERE[target]}",
        )


def _parted(place: str) -> tuple[str, str]:
    folder, _, name = place.rpartition("/")
    return folder, name
