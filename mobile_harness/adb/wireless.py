"""Phones over Wi-Fi: pairing by a code, and what announces itself on the network.

Source: ``client/adb_wifi.cpp`` of the Android Open Source Project. The words of a failure are those that its server
sends; adb 29 and older know neither service. A code is never part of a message, a log or a command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.adb import server as servers
from mobile_harness.adb.address import Server
from mobile_harness.adb.errors import AdbFailed, Kind, hint_of
from mobile_harness.adb.link import SAID_MAX, Deadline, Link
from mobile_harness.vitals import reading
from toolkit.core.clock import Clock

DEFAULT_PORT: Final = 5555
CONNECT_S: Final = 15.0
ONLINE_S: Final = 8.0
_LOOK_S: Final = 0.2
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[\w.-]{0,252}))(?::(\d{1,5}))?", re.ASCII)
_CODE: Final = re.compile(r"[0-9]{6}", re.ASCII)
_PAIRED: Final = re.compile(r"Successfully paired to .{0,300}?\[guid=([^\]\s]{1,100})\]")
_HINTS: Final = (
    ("Wrong password", "The code is another, or the dialog was closed: open `Pair device with pairing code` again."),
    ("Unable to start", "The port is that of the pairing dialog, and both change each time it is opened."),
    ("parse", "Write HOST:PORT as the phone's pairing dialog shows it."),
)
_TOO_OLD: Final = "Stop that server, and palmtop starts the adb that came with it: `adb kill-server`."
_SERVICES_MAX: Final = 256

ServiceKind = Literal["pairing", "connect", "other"]
_KINDS: Final[dict[str, ServiceKind]] = {
    "_adb-tls-pairing": "pairing", "_adb-tls-connect": "connect", "_adb": "connect",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a phone announces: that it can be paired with, or connected to, at an address."""

    name: str
    kind: ServiceKind
    address: str


def address_of(word: str, default_port: int | None = None) -> str | None:
    """Return ``host:port`` of what a user typed, or None where it is no address.

    >>> address_of("192.168.1.7", 5555), address_of("[fe80::1]:37001"), address_of("phone; reboot"), address_of("a:0")
    ('192.168.1.7:5555', '[fe80::1]:37001', None, None)
    """
    found = _ADDRESS.fullmatch(word.strip())
    if found is None or (found.group(2) is None and default_port is None):
        return None
    port = int(found.group(2) or default_port or 0)
    return f"{found.group(1)}:{port}" if 0 < port < 1 << 16 else None


def is_code(word: str) -> bool:
    """Say whether it has the form of a pairing code: six digits."""
    return _CODE.fullmatch(word) is not None


def pair(server: Server, address: str, code: str, deadline_s: float) -> str:
    """Pair with the phone whose pairing dialog shows this address and code; returns the phone's name on the network.

    Args:
        server: the adb server, whose key the phone will know.
        address: ``host:port`` of the dialog.
        code: six digits.
        deadline_s: seconds for all of it.

    Raises:
        AdbFailed: ``refused`` with the reason: the code or the port is another, or the server is too old.
    """
    with Link.open(server, Deadline(deadline_s, f"pairing with {address}")) as link:
        try:
            link.request(f"host:pair:{code}:{address}")
        except AdbFailed as error:
            raise _without(error, code) from error.__cause__
        said = _last_word(link)
    found = _PAIRED.search(said)
    if found is None:
        hint = next((text for word, text in _HINTS if word in said), "Open the pairing dialog on the phone again.")
        told = reading.shown(said.replace(code, "******")) or "no reason is given"
        raise AdbFailed(f"{address} cannot be paired with: {told}", kind="refused", hint=hint)
    return found.group(1)


def _last_word(link: Link) -> str:
    """Read what follows the OKAY of a service that works for a while: a block, alone or behind its own status."""
    raw = link.read(4)
    if raw in (b"OKAY", b"FAIL"):
        return link.block().decode("utf-8", "replace")
    if not re.fullmatch(rb"[0-9A-Fa-f]{4}", raw):
        raise AdbFailed(f"The adb server answered {link.deadline.what} with {raw!r}.", kind="garbage")
    return link.read(int(raw, 16)).decode("utf-8", "replace")


def _without(error: AdbFailed, code: str) -> AdbFailed:
    """Return the error with the code struck out; a server that does not know the service repeats all of it."""
    if "unknown host service" in error.message:
        return AdbFailed("This adb server is too old for pairing.", kind="refused", hint=_TOO_OLD)
    return AdbFailed(error.message.replace(code, "******"), kind=error.kind, hint=error.hint)


def connect(server: Server, address: str, clock: Clock, online_s: float = ONLINE_S) -> None:
    """Have a server connect to a device and wait until it is online: what the server says first is not what counts.

    Raises:
        AdbFailed: ``refused`` with the server's words; ``unauthorized`` or ``offline`` when it did not come online.
    """
    try:
        servers.connect(server, address, CONNECT_S)
    except AdbFailed as error:
        if error.kind != "unauthorized":
            raise
    end_ns = clock.monotonic_ns() + int(online_s * 1e9)
    while True:
        state = {row.serial: row.state for row in servers.rows(server, CONNECT_S)}.get(address)
        if state == "device":
            return
        if clock.monotonic_ns() > end_ns:
            kind: Kind = "unauthorized" if state in ("unauthorized", "authorizing") else "offline"
            message = f"{address} is {state or 'not attached'} after {online_s:.0f} s."
            raise AdbFailed(message, kind=kind, hint=hint_of(kind))
        clock.sleep(_LOOK_S)


def services(server: Server, deadline_s: float) -> tuple[Service, ...]:
    """Return what phones on the network announce.

    Raises:
        AdbFailed: ``refused``, the server cannot look or was told not to.
    """
    said = servers.ask(server, "host:mdns:check", deadline_s).decode("utf-8", "replace").strip()
    if said.startswith("ERROR"):
        raise AdbFailed(
            f"The adb server at {server} does not look for phones: {said[:SAID_MAX]}.",
            kind="refused",
            hint="Start it without ADB_MDNS=0; a firewall may also keep mDNS out.",
        )
    return read_services(servers.ask(server, "host:mdns:services", deadline_s).decode("utf-8", "replace"))


def read_services(text: str) -> tuple[Service, ...]:
    r"""Return the rows of ``adb mdns services``: name, type and address, parted by tabs. Names may hold spaces.

    >>> read_services("adb-R58M-x (2)\t_adb-tls-pairing._tcp\t192.168.1.7:37001\n")[0].kind
    'pairing'
    """
    found: list[Service] = []
    for line in reading.lines(text):
        words = [word.strip() for word in line.split("\t")]
        if len(words) != 3 or address_of(words[2]) is None or len(found) >= _SERVICES_MAX:
            continue
        kind = _KINDS.get(words[1].removesuffix(".").removesuffix("._tcp"), "other")
        found.append(Service(name=reading.shown(words[0]), kind=kind, address=words[2]))
    return tuple(found)
