"""Which devices the adb servers have: one phone once, however many ways lead to it, and why the others are unusable."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from mobile_harness.adb import server as servers
from mobile_harness.adb.address import LOCAL_S, Server, is_listening
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.server import ServerInfo
from mobile_harness.adb.session import Route, Session
from mobile_harness.records import DeviceInfo
from mobile_harness.transports.base import Unusable
from mobile_harness.vitals.devices import Row
from mobile_harness.vitals.identity import Identity, identify, read_properties
from mobile_harness.vitals.reading import Unreadable, shown
from toolkit.core.tools import Tools

A = TypeVar("A")
B = TypeVar("B")

NAME: Final = "adb"
REMOTE_CONNECT_S: Final = 1.5
SERVER_S: Final = 3.0
DEVICE_S: Final = 5.0
THREADS_MAX: Final = 64
_JUNK_SERIALS: Final = {"", "unknown", "0123456789ABCDEF", "0", "1234567890ABCDEF"}
_SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_ASK: Final = 'getprop; cat /proc/meminfo; echo "BootId: $(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"'
_BOOT_ID: Final = re.compile(r"^BootId: ([0-9a-f-]{36})$", re.MULTILINE)
_MEMORY: Final = re.compile(r"^MemTotal:\s+(\d{1,9}) kB", re.MULTILINE | re.ASCII)
"""Nine digits are a terabyte: what says more is not believed."""
_WHY: Final[dict[str, tuple[str, str]]] = {
    "unauthorized": (
        "it does not allow debugging by this computer",
        "Unlock it and accept 'Allow USB debugging'.",
    ),
    "authorizing": ("it is asking whether this computer may debug it", "Unlock it and accept."),
    "offline": (
        "it is attached but does not answer",
        "Wait until it has booted; else reconnect it, or run `adb reconnect offline`.",
    ),
    "connecting": ("the connection to it is being made", "Try again in a few seconds."),
    "no permissions": (
        "this user may not open its USB device",
        "Install the udev rules for Android (package android-sdk-platform-tools-common), then reconnect it.",
    ),
    "bootloader": ("it is in its bootloader", "Start Android: `fastboot reboot`."),
    "recovery": ("it is in recovery mode", "Choose `Reboot system now` on it, or run `adb reboot`."),
    "rescue": ("it is in rescue mode", "Run `adb reboot`."),
    "sideload": ("it waits for a package to be sideloaded", "Finish or cancel that on the device."),
    "host": ("it is in host mode", "Reconnect it to this computer."),
    "detached": ("another program took its USB device", "End that program, or run `adb attach`."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A device that can be used: its session over every way to it, and what it is."""

    session: Session
    info: DeviceInfo
    server: ServerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A transport that is online and said who it is."""

    route: Route
    row: Row
    server: ServerInfo
    identity: Identity
    ram_mb: int
    boot_id: str


def look_around(asked: Sequence[Server], tools: Tools) -> tuple[list[Seen], list[Unusable]]:
    """Ask all servers for their devices, and all devices who they are, at the same time; ends within seconds.

    A server that nobody has started is no trouble: it has no devices.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(len(asked), THREADS_MAX)), thread_name_prefix="palmtop-adb") as pool:
        found = list(pool.map(_ask_server, asked))
    unusable = [item for item in found if isinstance(item, Unusable)]
    listed = [item for item in found if isinstance(item, tuple)]
    online = []
    for info, rows in listed:
        for row in rows:
            if row.state == "device":
                online.append((info, row, _route(info.server, row, rows)))
            else:
                unusable.append(_unusable_row(row))
    answers = _each(lambda item: _ask_device(*item, tools), online)
    unusable += [item for item in answers if isinstance(item, Unusable)]
    seen = [_seen(group, tools) for group in _phones([item for item in answers if isinstance(item, _Answer)])]
    return sorted(_named_apart(seen), key=_order), unusable


def _order(item: Seen) -> tuple[bool, str, list[tuple[int, str]]]:
    """Order devices for people: phones first, numbers in serials by their size."""
    parts = re.findall(r"(\d{1,18})|(\D+)", item.info.serial)
    return (item.info.kind != "phone", item.info.kind, [(int(digits or -1), text) for digits, text in parts])


def _each(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=min(len(items), THREADS_MAX), thread_name_prefix="palmtop-adb") as pool:
        return list(pool.map(work, items))


def _ask_server(server: Server) -> tuple[ServerInfo, tuple[Row, ...]] | Unusable | None:
    connect_s = LOCAL_S if server.is_local else REMOTE_CONNECT_S
    if server.is_local and not is_listening(server, connect_s):
        return None
    try:
        info = servers.describe(server, SERVER_S, connect_s)
        return info, servers.rows(server, SERVER_S, connect_s)
    except AdbFailed as error:
        return Unusable(transport=NAME, serial="", reason=error.message, hint=error.hint)


def _route(server: Server, row: Row, rows: Iterable[Row]) -> Route:
    """Name a transport by its serial, which outlives a reconnection, unless two have the same."""
    alone = sum(other.serial == row.serial for other in rows) == 1
    return Route(server=server, serial=row.serial, transport_id=None if alone else row.transport_id)


def _unusable_row(row: Row) -> Unusable:
    reason, hint = _WHY.get(row.state, (f"its state is {row.state!r}", "Reconnect it."))
    note = f" {row.note}" if row.note else ""
    return Unusable(transport=NAME, serial=row.serial, reason=f"{row.state}: {reason}{note}", hint=hint)


def _ask_device(info: ServerInfo, row: Row, route: Route, tools: Tools) -> _Answer | Unusable:
    session = Session([route], row.serial, tools.clock, tools.run)
    try:
        said = session.script(_ASK, [], DEVICE_S)
    except AdbFailed as error:
        words = "it is online, but its shell does not answer" if error.kind == "timeout" else error.message
        return Unusable(transport=NAME, serial=row.serial, reason=words, hint=error.hint)
    properties = read_properties(said.text)
    if isinstance(properties, Unreadable):
        return Unusable(
            transport=NAME,
            serial=row.serial,
            reason=f"what it says of itself cannot be read: {properties.reason}",
            hint="Reboot it.",
        )
    if properties.get("sys.boot_completed") != "1" and properties.get("dev.bootcomplete") != "1":
        return Unusable(
            transport=NAME, serial=row.serial, reason="it is still booting", hint="Try again when it has booted."
        )
    memory = _MEMORY.search(said.text)
    boot = _BOOT_ID.search(said.text)
    return _Answer(
        route=route,
        row=row,
        server=info,
        identity=identify(properties),
        ram_mb=int(memory.group(1)) >> 10 if memory else 0,
        boot_id=boot.group(1) if boot else "",
    )


def _phones(answers: Sequence[_Answer]) -> list[list[_Answer]]:
    """Put the ways to one phone together. Two USB devices are two phones, whatever they say of themselves."""
    groups: list[list[_Answer]] = []
    for answer in sorted(answers, key=_preference):
        home = next((group for group in groups if _same_phone(group, answer)), None)
        if home is None:
            groups.append([answer])
        else:
            home.append(answer)
    return groups


def _same_phone(group: Sequence[_Answer], answer: _Answer) -> bool:
    """Say whether an answer is of a phone that is known by another way.

    Boxes of one make, emulators and virtual devices may all bear the same serial; what the kernel draws at each start
    tells them apart. Where it cannot be read, the serial counts, if it is one.
    """
    first = group[0]
    names = [(one.identity.serial, one.identity.model, one.identity.fingerprint) for one in (first, answer)]
    if names[0] != names[1] or (_is_usb(answer) and any(_is_usb(other) for other in group)):
        return False
    if first.boot_id and answer.boot_id:
        return first.boot_id == answer.boot_id
    return answer.identity.serial not in _JUNK_SERIALS and answer.identity.kind not in ("emulator", "virtual")


def _is_usb(answer: _Answer) -> bool:
    return bool(answer.row.bus)


def _preference(answer: _Answer) -> tuple[bool, bool, str]:
    """Order ways: a cable before the network, an address before a name that is looked up each time."""
    return (not _is_usb(answer), "._adb" in answer.route.serial, answer.route.serial)


def _seen(ways: Sequence[_Answer], tools: Tools) -> Seen:
    best = ways[0]
    info = _describe(best)
    session = Session([way.route for way in ways], f"{NAME}:{info.serial}", tools.clock, tools.run)
    return Seen(session=session, info=info, server=best.server)


def _describe(answer: _Answer) -> DeviceInfo:
    who = answer.identity
    own = who.serial if who.kind != "emulator" and who.serial not in _JUNK_SERIALS else answer.route.serial
    maker = "" if who.model.lower().startswith(who.maker.lower()) else who.maker
    soc = who.soc if who.soc.lower().startswith(who.soc_maker.lower()) else f"{who.soc_maker} {who.soc}"
    api = f" (API {who.api_level})" if who.api_level is not None else ""
    return DeviceInfo(
        transport=NAME,
        serial=_as_serial(own),
        platform="android",
        model=f"{maker} {who.model}".strip() or shown(answer.row.model) or "unknown model",
        soc=soc.strip() or "unknown SoC",
        os_version=f"{who.release or 'unknown'}{api}",
        abis=who.abis,
        ram_mb=answer.ram_mb,
        kind=who.kind,
    )


def _as_serial(text: str) -> str:
    """Return a serial as it may stand in a selector and in a file's name."""
    return text if _SERIAL.fullmatch(text) else re.sub(r"[^A-Za-z0-9._:-]+", "_", text).strip("_.:-")[:64] or "unnamed"


def _named_apart(seen: list[Seen]) -> list[Seen]:
    """Give devices that claim the same serial the names of their transports."""
    names = [item.info.serial for item in seen]
    taken: set[str] = set()
    apart = []
    for item in seen:
        name = item.info.serial
        if names.count(name) > 1:
            name = _as_serial(f"{name}-{item.session.route.serial}")
        while name in taken:
            name += "-"
        taken.add(name)
        item.session.name = f"{NAME}:{name}"
        apart.append(dataclasses.replace(item, info=dataclasses.replace(item.info, serial=name)))
    return apart
