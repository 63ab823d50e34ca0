"""``simctl``: what simulators there are (``list -j``, old and new shapes), and what its complaints mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mobile_harness.apple import plain
from mobile_harness.apple.errors import Kind
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

_UDID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_IDENTIFIER: Final = re.compile(r"com\.apple\.CoreSimulator\.Sim(?:Runtime|DeviceType)\.[A-Za-z0-9.-]{1,100}")
_LAUNCHED: Final = re.compile(r"^\s*(?P<app>[A-Za-z0-9.-]{1,200}): (?P<pid>[0-9]{1,9})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A simulated system. ``supported`` are the identifiers of the device types it runs; empty: it does not say."""

    identifier: str
    name: str
    platform: str
    version: str
    build: str
    is_available: bool
    supported: frozenset[str]

    @property
    def order(self) -> tuple[int, ...]:
        """Its version as numbers, for comparing."""
        return tuple(int(part) for part in re.findall(r"\d{1,9}", self.version)[:4])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceType:
    """A kind of simulated device, such as ``iPhone 16 Pro`` (``iPhone17,1``)."""

    identifier: str
    name: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A simulator. ``runtime`` and ``device_type`` are identifiers, empty where the list does not say."""

    udid: str
    name: str
    state: str
    is_available: bool
    why_not: str
    runtime: str
    device_type: str
    data_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All that ``simctl list -j`` names."""

    runtimes: tuple[Runtime, ...]
    device_types: tuple[DeviceType, ...]
    simulators: tuple[Simulator, ...]

    def runtime_of(self, simulator: Simulator) -> Runtime | None:
        """Return a simulator's system, or None when it is no longer installed."""
        return next((item for item in self.runtimes if item.identifier == simulator.runtime), None)

    def type_of(self, simulator: Simulator) -> DeviceType | None:
        """Return what a simulator simulates, or None when this Xcode does not know it."""
        return next((item for item in self.device_types if item.identifier == simulator.device_type), None)


def read_list(text: str) -> Inventory | Unreadable:
    """Return what ``simctl list -j`` names; a row without what it needs is passed over."""
    found = plain.read(text, "simctl list -j")
    if isinstance(found, Unreadable):
        return found
    if not isinstance(found.get("devices"), dict):
        return Unreadable(what="simctl list -j", reason="it has no `devices`")
    runtimes = tuple(_runtimes(found))
    types = tuple(
        DeviceType(
            identifier=plain.word(row, "identifier"),
            name=plain.word(row, "name"),
            model=plain.word(row, "modelIdentifier"),
        )
        for row in plain.rows(found, "devicetypes")
        if _IDENTIFIER.fullmatch(plain.word(row, "identifier"))
    )
    return Inventory(runtimes=runtimes, device_types=types, simulators=tuple(_simulators(found, runtimes, types)))


def _runtimes(found: object) -> Iterator[Runtime]:
    for row in plain.rows(found, "runtimes"):
        identifier = plain.word(row, "identifier")
        if not _IDENTIFIER.fullmatch(identifier):
            continue
        name = plain.word(row, "name")
        supported = (plain.word(item, "identifier") for item in plain.rows(row, "supportedDeviceTypes"))
        yield Runtime(
            identifier=identifier,
            name=name,
            platform=plain.word(row, "platform") or name.partition(" ")[0],
            version=plain.word(row, "version"),
            build=plain.word(row, "buildversion"),
            is_available=_is_available(row),
            supported=frozenset(supported),
        )


def _simulators(found: object, runtimes: tuple[Runtime, ...], types: tuple[DeviceType, ...]) -> Iterator[Simulator]:
    by_name = {runtime.name: runtime.identifier for runtime in runtimes}
    seen: set[str] = set()
    for key in plain.table(found, "devices"):
        runtime = key if _IDENTIFIER.fullmatch(key) else by_name.get(key, "")
        for row in plain.rows(found, "devices", key):
            udid = plain.word(row, "udid").upper()
            if not _UDID.fullmatch(udid) or udid in seen:
                continue
            seen.add(udid)
            yield _simulator(row, udid, runtime, types)


def _simulator(row: object, udid: str, runtime: str, types: tuple[DeviceType, ...]) -> Simulator:
    name = plain.word(row, "name")
    identifier = plain.word(row, "deviceTypeIdentifier")
    if not _IDENTIFIER.fullmatch(identifier):  # Xcode 10 and older name a simulator after its type
        identifier = next((item.identifier for item in types if item.name == name), "")
    path = plain.at(row, "dataPath")
    return Simulator(
        udid=udid,
        name=name,
        state=plain.word(row, "state"),
        is_available=_is_available(row),
        why_not=plain.word(row, "availabilityError") or plain.word(row, "availability").strip("()"),
        runtime=runtime,
        device_type=identifier,
        data_path=path if isinstance(path, str) and path.startswith("/") and "\0" not in path else "",
    )


def _is_available(row: object) -> bool:
    said = plain.flag(row, "isAvailable")
    return said if said is not None else plain.word(row, "availability") == "(available)"


def read_udid(text: str) -> str:
    """Return the identifier that ``simctl create`` prints, or nothing."""
    found = _UDID.search(text)
    return found.group().upper() if found else ""


def read_pid(text: str, app: str) -> int | None:
    """Return the process that ``simctl launch`` started: ``app: pid``.

    >>> read_pid("org.palmtop.bench: 4711", "org.palmtop.bench")
    4711
    """
    return next((int(found["pid"]) for found in _LAUNCHED.finditer(text) if found["app"] == app), None)


_RULES: Final[tuple[tuple[Kind, tuple[str, ...]], ...]] = (
    ("not_found", ("Invalid device:", "Invalid device or device pair", "No devices are booted", "Invalid device type")),
    ("state", ("current state: ", "code=405)", "code=164)", "Unable to boot device", "Unable to shutdown device")),
    ("storage", ("No space left on device", "not enough disk space", "not enough free space")),
    ("app_missing", (
        "FBSOpenApplicationServiceErrorDomain, code=4)", "is not installed", "No such bundle", "unknown to FrontBoard",
        "found nothing to terminate",
    )),
    ("wrong_build", (
        "Failed to find matching arch", "IXErrorDomain", "IXUserPresentableErrorDomain", "MIInstallerErrorDomain",
        "Missing bundle ID", "not built for",
    )),
    ("unreachable", (
        "Connection invalid", "Connection interrupted", "Connection refused", "CoreSimulatorService", "code=60)",
        "code=61)",
    )),
)  # fmt: skip


_OTHER: Final[Kind] = "refused"


def read_failure(stderr: str) -> tuple[Kind, str]:
    """Return what a complaint of ``simctl`` means, and its most telling line.

    >>> read_failure("Unable to boot device in current state: Booted")[0]
    'state'
    """
    told = [line.strip() for line in reading.lines(stderr[: 1 << 16]) if line.strip()]
    text = "\n".join(told)
    kind = next((kind for kind, signs in _RULES if any(sign in text for sign in signs)), _OTHER)
    useful = [line for line in told if not line.startswith("An error was encountered processing the command")]
    return kind, reading.shown(" ".join(useful or told))
