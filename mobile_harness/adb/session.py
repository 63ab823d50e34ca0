"""A device through adb: commands, files and services, each with a deadline, and the way back to it when it was lost.

Nothing is repeated on its own except by :meth:`Session.recover`, which changes nothing on the device; what may safely
be done twice is known by the caller.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mobile_harness.adb import server as servers
from mobile_harness.adb import shell, sync
from mobile_harness.adb.address import Server
from mobile_harness.adb.errors import AdbFailed, Kind
from mobile_harness.adb.link import Deadline, Link
from mobile_harness.adb.shell import OUTPUT_MAX, Command, Result
from mobile_harness.adb.sync import FileStat
from toolkit.core import process
from toolkit.core.clock import Clock
from toolkit.core.errors import ToolMissing
from toolkit.core.process import Run

PUSH_BASE_S = 60.0
PUSH_BYTES_PER_S = 500_000
"""A push may take so long: at USB 2's worst, through a hub, it is faster."""
_PULSE_S = 10.0
_KILL_S = 3.0
_PAUSES_S = (0.05, 0.1, 0.2, 0.4)
_ASK_EVERY = 6
"""Looks after which a route that is not online is asked for: some two seconds."""
_ADDRESS = re.compile(r"[\w.-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way to a device: a transport of a server. ``transport_id`` only where the serial alone is ambiguous there."""

    server: Server
    serial: str
    transport_id: int | None = None

    @property
    def prefix(self) -> str:
        """The service that turns a link to the server into one to the device."""
        if self.transport_id is not None:
            return f"host:transport-id:{self.transport_id}"
        return f"host:transport:{self.serial}"

    @property
    def features(self) -> str:
        """The service that lists the device's features."""
        if self.transport_id is not None:
            return f"host-transport-id:{self.transport_id}:features"
        return f"host-serial:{self.serial}:features"


class Session:
    """A device over one or more routes, the best first; ``name`` is what messages call it.

    ``run`` starts the server of this machine again when it has died.
    """

    def __init__(self, routes: Sequence[Route], name: str, clock: Clock, run: Run = process.run) -> None:
        self.routes = tuple(routes)
        self.name = name
        self._route = self.routes[0]
        self._clock = clock
        self._run = run
        self._features: frozenset[str] = frozenset()
        self.given_up = False
        """Whether the last search for the way back found nothing, and nothing has worked since."""

    @property
    def route(self) -> Route:
        """The route in use."""
        return self._route

    def features(self) -> frozenset[str]:
        """Return what the device's adb daemon offers; asked once for each connection."""
        if not self._features:
            said = servers.ask(self._route.server, self._route.features, _PULSE_S).decode("utf-8", "replace")
            self._features = frozenset(said.split(","))
        return self._features

    def check_shell(self) -> None:
        """Refuse a device whose commands would end without an exit code.

        Raises:
            AdbFailed: ``refused``, it offers no ``shell_v2``.
        """
        if "shell_v2" not in self.features():
            raise AdbFailed(
                f"{self.name} has no shell protocol (`shell_v2`): how its commands end cannot be known.",
                kind="refused",
                hint="Android 7 or later is needed.",
            )

    def run(
        self, argv: Sequence[str], deadline_s: float, *, stdin: BinaryIO | None = None, output_max: int = OUTPUT_MAX
    ) -> Result:
        """Run a command to its end; at the deadline it is killed on the device.

        Args:
            argv: program and arguments; quoted here, once.
            deadline_s: seconds for all of it, from the connection to the exit code.
            stdin: its whole standard input, from a file or nothing.
            output_max: bytes of each output that are kept.

        Raises:
            AdbFailed: anything but a command that ended; its own exit code is in the result.
        """
        link, command = self.start(argv, deadline_s)
        with link:
            try:
                return shell.collect(link, command, stdin, output_max)
            except AdbFailed as error:
                if error.kind == "timeout":
                    link.close()  # the device hangs its process group up
                    self.kill(command.pid)
                raise

    def script(self, text: str, arguments: Sequence[str], deadline_s: float) -> Result:
        """Run a shell script; the arguments are its ``$1``, ``$2``, …"""
        return self.run(["sh", "-c", text, "sh", *arguments], deadline_s)

    def start(self, argv: Sequence[str], deadline_s: float) -> tuple[Link, Command]:
        """Start a command and return its link, which the caller closes, and what reads it."""
        self.check_shell()
        link = self._open(shell.service_of(argv), Deadline(deadline_s, f"`{argv[0]}` on {self.name}"))
        return link, Command(link)

    def kill(self, pid: int | None) -> None:
        """Make sure that a process of a command that was given up is gone, if the device still answers."""
        if pid is None:
            return
        with suppress(AdbFailed):  # a device that answers no more has been hung up already
            link, command = self.start(["kill", "-9", str(pid)], _KILL_S)
            with link:
                shell.collect(link, command, None, OUTPUT_MAX)

    def push(self, path: Path, remote: str, mode: int = 0o644) -> str:
        """Send a file and return the sha256 of what was sent; the caller has it checked on the device.

        Raises:
            AdbFailed: ``storage`` and others by the device's own words.
            OSError: the file here cannot be read.
        """
        with path.open("rb", buffering=0) as source:
            return self._send(source, path.stat().st_size, remote, mode)

    def push_bytes(self, content: bytes, remote: str) -> str:
        """Send a small file; see :meth:`push`."""
        return self._send(io.BytesIO(content), len(content), remote, 0o644)

    def _send(self, source: BinaryIO, size: int, remote: str, mode: int) -> str:
        name = remote.rpartition("/")[2]
        deadline = Deadline(PUSH_BASE_S + size / PUSH_BYTES_PER_S, f"the push of {name} to {self.name}")
        with self._open("sync:", deadline) as link:
            return sync.send(link, source, remote, mode)[0]

    def look(self, remote: str, deadline_s: float = _PULSE_S) -> FileStat | None:
        """Return what is at a path of the device, or None."""
        with self._open("sync:", Deadline(deadline_s, f"a look at {remote} on {self.name}")) as link:
            return sync.look(link, remote, v2="stat_v2" in self.features())

    def fetch(self, remote: str, most: int) -> bytes | None:
        """Return a regular file's content, at most so many bytes of it; None when there is none."""
        found = self.look(remote)
        if found is None or not found.is_file:
            return None
        seconds = PUSH_BASE_S + min(found.size, most) / PUSH_BYTES_PER_S
        with self._open("sync:", Deadline(seconds, f"the pull of {remote} from {self.name}")) as link:
            return sync.fetch(link, remote, most)

    def _open(self, service: str, deadline: Deadline) -> Link:
        link = Link.open(self._route.server, deadline)
        try:
            link.request(self._route.prefix)
            link.request(service)
        except BaseException:
            link.close()
            raise
        return link

    def recover(self, wait_s: float) -> None:
        """Find the way to the device again over any of its routes, and see that its shell answers.

        A server of this machine that died is started again, once; the time to wait begins anew then. When the program
        is being ended, one look is all.

        Raises:
            AdbFailed: it did not come back in time; the last reason is in the message.
        """
        deadline = Deadline(wait_s, f"waiting for {self.name}")
        pauses = itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1]))
        asks = dict.fromkeys(self.routes, _ASK_EVERY - 1 if self.given_up else 0)
        trouble: AdbFailed | None = None
        dead = {route.server for route in self.routes if route.server.is_local}
        while True:
            try:
                self._find_route(deadline, asks)
                self._features = frozenset()
                self.run(["true"], min(_PULSE_S, deadline.left()))
            except AdbFailed as error:
                trouble = trouble if trouble is not None and deadline.is_over else error  # the first reason tells more
            else:
                self.given_up = False
                return
            if trouble.kind == "no_server" and dead:
                trouble = self._revive(dead) or trouble
                deadline = Deadline(wait_s, deadline.what)
                asks = dict.fromkeys(self.routes, _ASK_EVERY - 1)  # a new server knows no device of the network
            if deadline.is_over or process.is_ending():
                self.given_up = True
                message = f"{self.name} did not come back within {wait_s:.0f} s: {trouble.message}"
                raise AdbFailed(message, kind=trouble.kind, hint=trouble.hint) from trouble
            self._clock.sleep(min(next(pauses), wait_s))

    def _revive(self, servers_of_ours: set[Server]) -> AdbFailed | None:
        """Start those servers that died; returns why one cannot be started."""
        trouble = None
        while servers_of_ours:
            try:
                servers.start(servers_of_ours.pop(), self._run)
            except ToolMissing as error:
                trouble = AdbFailed(error.message, kind="no_server", hint=error.hint)
            except AdbFailed as error:
                trouble = error
        return trouble

    def _find_route(self, deadline: Deadline, asks: dict[Route, int]) -> None:
        """Take the first route that is online; one that is not is asked for now and then."""
        trouble = AdbFailed(f"{self.name} is not attached.", kind="not_found")
        for route in dict.fromkeys((self._route, *self.routes)):
            try:
                states = {row.serial: row.state for row in servers.rows(route.server, min(5.0, deadline.left()))}
                state = states.get(route.serial)
                if state == "device":
                    self._route = route
                    return
                kind: Kind = "unauthorized" if state == "unauthorized" else "offline" if state else "not_found"
                trouble = AdbFailed(f"{self.name} is {state or 'not attached'}.", kind=kind)
                asks[route] += 1
                if asks[route] % _ASK_EVERY == 0:
                    self._ask_back(route, state, deadline)
            except AdbFailed as error:
                trouble = error
        raise trouble

    def _ask_back(self, route: Route, state: str | None, deadline: Deadline) -> None:
        """Ask the server for a device that has not come back by itself, as those that drop for a moment do."""
        if state == "offline":
            servers.ask(route.server, "host:reconnect-offline", min(3.0, deadline.left()))
        elif state is None and _ADDRESS.fullmatch(route.serial):
            servers.connect(route.server, route.serial, min(11.0, deadline.left()))
