"""Which runner measures: the bench app of each device, or native tools that the user has.

Figures of different runners are never held against each other: the runner's kind is part of every cell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mobile_harness.transports.base import Device, runner_of
from mobile_harness.vitals.native import WHERE
from toolkit.core import discovery
from toolkit.core.errors import SettingsError, ToolMissing

Runner = Literal["app", "native"]
NATIVE: Final = "native"
_ROOM: Final = "mobile_harness.transports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The kind of runner, and the files or folders of the native tools."""

    runner: Runner = "app"
    native_tools: tuple[Path, ...] = ()


def runner_in(kinds: Collection[str]) -> Runner:
    """Return which choice made the runners of a run's cells.

    >>> runner_in(["native:benchmark_model"]), runner_in(["app", "python"])
    ('native', 'app')
    """
    return "native" if any(kind.partition(":")[0] == NATIVE for kind in kinds) else "app"


def chosen(devices: Sequence[Device], choice: Choice, targets: Collection[str]) -> tuple[Device, ...]:
    """Return the devices with the runner that was chosen.

    Raises:
        ToolMissing: native tools are wanted, and none was named for any build on any device.
        SettingsError: a named file is no native tool, or no device can run one.
    """
    if choice.runner == "app":
        return tuple(devices)
    if not choice.native_tools:
        raise ToolMissing(f"No native tool is named for {' and '.join(sorted(targets))} builds.", hint=_where(targets))
    faces = tuple(face for device in devices if (face := _native(device, choice.native_tools)) is not None)
    if not faces:
        raise SettingsError("No device here runs native tools.", hint="Android devices do, by adb: --device phone.")
    if not any(runner_of(face, target) != NATIVE for face in faces for target in targets):
        raise ToolMissing(
            f"The named native tools measure no {' or '.join(sorted(targets))} build on any of these devices.",
            hint=f"They execute {', '.join(sorted({abi for face in faces for abi in face.info.abis}))}. "
            f"{_where(targets)}",
        )
    return faces


def _native(device: Device, paths: tuple[Path, ...]) -> Device | None:
    make = getattr(discovery.load(_ROOM, device.info.transport), "native", None)
    if make is None:
        return None
    face: Device = make(device, paths)
    return face


def _where(targets: Collection[str]) -> str:
    known = [WHERE[target] for target in sorted(targets) if target in WHERE]
    return " ".join([*known, "Then name it: --runner native --native-tool PATH."])
