"""The contract of a way to reach devices: a module with ``discover``, and devices with eight verbs.

A transport is a module of this room; its name is the first word of a device's selector (``host:1f3a90c2``). Everything
above knows this file alone. A device does one thing at a time; verbs block and have deadlines of their own. Whatever a
device says is untrusted: sizes are bounded here, meaning is judged above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from mobile_harness.records import DeviceInfo, RunPlan
from mobile_harness.records.state import Vitals
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.errors import PalmtopError
from toolkit.core.tools import Tools

Moment = Literal["idle", "resting", "loaded", "ended"]
Trouble = Literal["lost", "storage", "build_changed", "cannot_launch"]


class DeviceFailed(PalmtopError):
    """A verb failed on this device; it fails a cell, never the run.

    ``kind`` is ``lost`` (the way to the device is gone; the runner may still finish there), ``storage`` (no room),
    ``build_changed`` (the file is not what ``build.json`` says) or ``cannot_launch``.
    """

    exit_code = 5

    def __init__(self, message: str, *, kind: Trouble, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind: Trouble = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One session for a runner. ``model`` and ``golden`` are what :meth:`Device.push` returned."""

    run: str
    target: str
    model: str
    model_sha256: str
    golden: str | None
    plan: RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a runner said since the last poll. Once ``running`` is false no more will come; ``ended`` says how."""

    lines: tuple[str, ...]
    running: bool
    ended: str = ""


class Device(Protocol):
    """One device. Verbs raise :class:`DeviceFailed` and nothing else on purpose."""

    @property
    def info(self) -> DeviceInfo:
        """What and where it is."""

    @property
    def runner(self) -> str:
        """The kind of runner it uses, such as ``python``; figures of different kinds are never compared."""

    @property
    def tools(self) -> tuple[ToolVersion, ...]:
        """The programs it is reached through, with their versions; they stand in every record of a run."""

    def push(self, blob: Blob) -> str:
        """Put a file or folder on the device and return its place there.

        Named by content: what is there already is not sent again. The content is hashed on the device.

        Raises:
            DeviceFailed: ``storage``, ``lost``, or ``build_changed`` when the content is not the hash's.
        """

    def launch(self, job: Job) -> None:
        """Start a fresh process of the runner for one session and return at once.

        Raises:
            DeviceFailed: ``cannot_launch`` or ``lost``; a runner that starts and dies is told by :meth:`poll`.
        """

    def poll(self, timeout_s: float) -> News:
        """Wait for lines, at most so long, and return what came; lines are cut at a bounded length.

        Raises:
            DeviceFailed: ``lost``.
        """

    def vitals(self, moment: Moment) -> Vitals:
        """Return what the device says of itself; a part that it does not tell says why.

        Args:
            moment: ``idle``: nothing of ours runs, all is asked but the app. ``resting``: so it is, and only battery
                and meters are asked. ``loaded``: the runner has its model and times nothing, the app's memory and
                the meters are asked. ``ended``: the timed runs are over, all is.

        Raises:
            DeviceFailed: ``lost``.
        """

    def pull(self, run: str) -> bytes | None:
        """Return the result file of a run, at most 64 MiB and a byte of it; None when there is none.

        Works after the runner ended or was stopped, and after the way to the device came back.

        Raises:
            DeviceFailed: ``lost``.
        """

    def evidence(self) -> str:
        """Return what the device knows of the runner's end: its last errors, a crash log, the stacks of a hung one.

        May disturb a running runner, so that only :meth:`stop` may follow. Empty when there is nothing.
        """

    def stop(self) -> None:
        """End the runner and all it started, now. Safe at any time, also twice, also without a runner."""

    def cleanup(self) -> None:
        """Remove everything that was put on the device, also what a crashed run of ours left. Safe at any time."""


def runner_of(device: Device, target: str) -> str:
    """Return the kind of runner that measures a target's builds on a device.

    It is :attr:`Device.runner`, unless the device has ``runners``, kinds of runner by target.
    """
    runners: Mapping[str, str] = getattr(device, "runners", {})
    return runners.get(target, device.runner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A device, or a whole transport (empty ``serial``), that cannot be used now, why, and what would help.

    ``needs_install``: a program is missing, which is another end of a command than a device that is not ready.
    """

    transport: str
    serial: str
    reason: str
    hint: str = ""
    needs_install: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a transport sees."""

    devices: tuple[Device, ...]
    unusable: tuple[Unusable, ...] = ()


class Transport(Protocol):
    """A way to reach devices: a module of this room.

    A module may also have ``wake(tools) -> tuple[Unusable, ...]``: start the program it works through, where the user
    asked to see the devices, and say why that failed. :meth:`discover` never does. One whose devices can run the native
    tools that a user has may have ``native(device, paths) -> Device``.
    """

    def discover(self, tools: Tools) -> Found:
        """Return the devices within reach. Changes nothing on them and ends within seconds.

        Raises:
            ToolMissing: the program that this transport works through is not installed.
        """
