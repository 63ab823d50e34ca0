"""adb servers: what they are, what is attached to them, and starting one where it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mobile_harness.adb.address import VARIABLE, Server, is_listening, servers_of
from mobile_harness.adb.errors import AdbFailed, Kind, hint_of
from mobile_harness.adb.link import SAID_MAX, Deadline, Link
from mobile_harness.vitals.devices import Row, read_devices
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.errors import SettingsError, ToolMissing
from toolkit.core.process import Run

START_S = 30.0
_starting = threading.Lock()
_VERSION_FIELD, _BUILD_FIELD = 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What a server is. ``version`` is empty where it is too old to tell (before adb 36)."""

    server: Server
    protocol: int
    version: str = ""

    @property
    def words(self) -> str:
        """Its version as reports carry it."""
        return self.version or f"protocol {self.protocol}"


def describe(server: Server, deadline_s: float, connect_s: float = 3.0) -> ServerInfo:
    """Ask a server what it is.

    Raises:
        AdbFailed: ``no_server`` when none listens; else by how it answers.
    """
    raw = ask(server, "host:version", deadline_s, connect_s)
    try:
        protocol = int(raw, 16)
    except ValueError as error:
        raise AdbFailed(
            f"What listens at {server} is no adb server: it answered {raw[:20]!r}.", kind="garbage"
        ) from error
    try:
        version = version_of(ask(server, "host:server-status", deadline_s, connect_s))
    except AdbFailed as error:
        if error.kind != "refused":
            raise
        version = ""
    return ServerInfo(server=server, protocol=protocol, version=version)


def version_of(status: bytes) -> str:
    r"""Return version and build from the protocol buffer ``AdbServerStatus``; empty where it holds none.

    >>> version_of(b"\x08\x02*\x0636.0.02\x0813206524")
    '36.0.0-13206524'
    """
    fields = dict(_texts(status))
    words = [fields.get(number, b"").decode("ascii", "replace")[:40] for number in (_VERSION_FIELD, _BUILD_FIELD)]
    return "-".join(word for word in words if word.isprintable() and word)


def _texts(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the length-delimited fields of a protocol buffer, up to the first thing that is none."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        value, at = _varint(raw, at)
        if tag & 7 == 2:
            yield tag >> 3, raw[at : at + value]
            at += value
        elif tag & 7 != 0:
            return


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = raw[at + shift // 7] if at + shift // 7 < len(raw) else 0
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + shift // 7 + 1
    return value, len(raw)


def rows(server: Server, deadline_s: float, connect_s: float = 3.0) -> tuple[Row, ...]:
    """Return the transports of a server.

    Raises:
        AdbFailed: there is none, or it does not answer as one.
    """
    found = read_devices(ask(server, "host:devices-l", deadline_s, connect_s).decode("utf-8", "replace"))
    if isinstance(found, Unreadable):
        raise AdbFailed(f"What the adb server at {server} lists cannot be read: {found.reason}.", kind="garbage")
    return found


def ask(server: Server, service: str, deadline_s: float, connect_s: float = 3.0) -> bytes:
    """Ask a server for a service that answers with one block, and return it."""
    with Link.open(server, Deadline(deadline_s, f"`{service}` at {server}"), connect_s) as link:
        link.request(service)
        return link.block()


def connect(server: Server, address: str, deadline_s: float) -> None:
    """Have a server connect to a device over TCP; its state afterwards is what counts, not what the server says.

    Raises:
        AdbFailed: ``refused`` with the server's words when it says that it cannot; ``unauthorized`` when the device
            has not accepted this computer, and may still.
    """
    said = ask(server, f"host:connect:{address}", deadline_s).decode("utf-8", "replace").strip()[:SAID_MAX]
    if said.startswith(("connected", "already connected")):
        return
    kind: Kind = "unauthorized" if said.startswith("failed to authenticate") else "refused"
    raise AdbFailed(f"adb cannot connect to {address}: {said or 'no reason is given'}.", kind=kind, hint=hint_of(kind))


def disconnect(server: Server, address: str, deadline_s: float) -> bool:
    """Have a server give up a device that it reached over TCP; False when it had none of that address."""
    try:
        ask(server, f"host:disconnect:{address}", deadline_s)
    except AdbFailed as error:
        if error.kind in ("refused", "not_found"):
            return False
        raise
    return True


def first(environment: Mapping[str, str], run: Run) -> Server:
    """Return the first server of the user's, started where it is one of this machine.

    Raises:
        SettingsError: the user wants none asked, or a variable holds no address.
        AdbFailed: it cannot be started.
        ToolMissing: there is no adb.
    """
    named = servers_of(environment)
    if not named:
        raise SettingsError(f"{VARIABLE} says that no adb server is asked.", hint=f"Unset {VARIABLE}.")
    if named[0].is_local:
        start(named[0], run)
    return named[0]


def start(server: Server, run: Run, deadline_s: float = START_S) -> None:
    """Start a server of this machine on exactly its port, unless one listens there; once, also from many threads.

    Raises:
        AdbFailed: ``no_server``, it cannot be started; ``refused``, it is another machine's.
        ToolMissing: there is no adb.
    """
    if is_listening(server):
        return
    if not server.is_local:
        raise AdbFailed(
            f"No adb server answers at {server}, and only one of this machine can be started from here.",
            kind="refused",
            hint=f"Run `adb -a -P {server.port} nodaemon server` there, or correct {VARIABLE}.",
        )
    program = binary()
    with _one_at_a_time(deadline_s):
        if not is_listening(server):
            _start(server, program, run, deadline_s)


@contextmanager
def _one_at_a_time(deadline_s: float) -> Iterator[None]:
    """Keep the threads of this process from starting servers side by side: all but one would fail, with words."""
    if not _starting.acquire(timeout=deadline_s):
        raise AdbFailed("An adb server is being started and does not come up.", kind="no_server", hint=_OTHER_ADB)
    try:
        yield
    finally:
        _starting.release()


def _start(server: Server, program: str, run: Run, deadline_s: float) -> None:
    try:
        finished = run([program, "-P", str(server.port), "start-server"], deadline_s=deadline_s)
    except OSError as error:
        message = f"The adb server cannot be started: {program} does not run: {error.strerror or error}."
        raise AdbFailed(message, kind="no_server", hint=_OTHER_ADB) from error
    if finished.code or not is_listening(server):
        message = f"The adb server cannot be started: {finished.describe()}: {finished.tail(3)[-SAID_MAX:]}"
        raise AdbFailed(message, kind="no_server", hint=_OTHER_ADB)


def binary() -> str:
    """Return the adb program: ``$ADBUTILS_ADB_PATH``, one on the path, or the one that came with palmtop.

    Raises:
        ToolMissing: there is none for this system.
    """
    from adbutils import AdbError, adb_path  # takes a third of a second, and most runs need no program

    try:
        return str(adb_path())
    except AdbError as error:
        raise ToolMissing("There is no adb for this system.", hint="Install Android's platform-tools.") from error


_OTHER_ADB = "Set ADBUTILS_ADB_PATH to a working adb, such as the one of Android's platform-tools."
