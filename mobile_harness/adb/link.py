"""One connection to an adb server, with one deadline for all that is done on it.

Source: ``SERVICES.TXT`` and ``OVERVIEW.TXT`` of the Android Open Source Project's adb. A request is four hex digits of
length and the name of a service; the answer begins with ``OKAY``, or with ``FAIL`` and a reason of the same form.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from mobile_harness.adb.address import Server
from mobile_harness.adb.errors import AdbFailed, hint_of, kind_of_refusal

CONNECT_S = 3.0
REQUEST_MAX = 0xFFFF
AHEAD = 1 << 16
"""Bytes that are taken from the system at once: answers come as heads of a few bytes and short texts."""
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
SAID_MAX = 300
"""Characters of a foreign message that go into one of ours."""


class Deadline:
    """A point in time by which all of ``what`` must be done."""

    __slots__ = ("_end", "seconds", "what")

    def __init__(self, seconds: float, what: str) -> None:
        self.seconds = seconds
        self.what = what
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            AdbFailed: ``timeout``, none are.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise self.passed()
        return seconds

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._end

    def passed(self) -> AdbFailed:
        """Return the error that says so."""
        message = f"{self.what} did not end within {self.seconds:.3g} s."
        return AdbFailed(message, kind="timeout", hint=hint_of("timeout"))


class Link:
    """A connection. Every call ends at the deadline; every trouble of the socket is an :class:`AdbFailed`."""

    def __init__(self, made: socket.socket, deadline: Deadline) -> None:
        self._socket = made
        self._waiting = memoryview(b"")
        self.deadline = deadline

    @classmethod
    def open(cls, server: Server, deadline: Deadline, connect_s: float = CONNECT_S) -> Link:
        """Connect to a server; never starts one.

        Raises:
            AdbFailed: ``no_server``.
        """
        try:
            made = socket.create_connection((server.host, server.port), timeout=min(connect_s, deadline.left()))
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"No adb server answers at {server}: {reason}."
            raise AdbFailed(message, kind="no_server", hint="`palmtop devices` starts one.") from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(made, deadline)

    def request(self, service: str) -> None:
        """Ask for a service and wait until it is granted.

        Raises:
            AdbFailed: by what the server says, or how the connection ends.
        """
        raw = service.encode("utf-8", "surrogateescape")
        if len(raw) > REQUEST_MAX:
            raise AdbFailed(f"A command of {len(raw)} bytes is too long for adb.", kind="refused")
        self.send(b"%04x" % len(raw) + raw)
        status = self.read(4)
        if status == b"OKAY":
            return
        if status != b"FAIL":
            raise AdbFailed(f"No adb server speaks there: it answered {status!r}.", kind="garbage")
        said = self.block().decode("utf-8", "replace").strip()[:SAID_MAX]
        kind = kind_of_refusal(said)
        raise AdbFailed(
            f"adb refuses {self.deadline.what}: {said or 'without a reason'}.", kind=kind, hint=hint_of(kind)
        )

    def block(self) -> bytes:
        """Read four hex digits of length and that many bytes."""
        raw = self.read(4)
        if not _HEX.fullmatch(raw):
            raise AdbFailed(f"The adb server sent {raw!r} where a length belongs.", kind="garbage")
        return self.read(int(raw, 16))

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        parts, missing = [], size
        while missing:
            part = self.receive(min(missing, 1 << 18))
            if not part:
                raise AdbFailed(
                    f"The connection ended in the middle of {self.deadline.what}.",
                    kind="closed",
                    hint=hint_of("closed"),
                )
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def receive(self, size: int) -> bytes:
        """Read what there is, at most so many bytes; empty once the other end has closed."""
        if not self._waiting:
            with self._translated():
                self._socket.settimeout(self.deadline.left())
                came = self._socket.recv(max(size, AHEAD))
            if len(came) <= size:
                return came
            self._waiting = memoryview(came)
        part, self._waiting = self._waiting[:size], self._waiting[size:]
        return bytes(part)

    def send(self, data: bytes | memoryview, stall_s: float | None = None) -> None:
        """Send all of it; ``stall_s`` bounds this call further than the deadline does."""
        with self._translated():
            left = self.deadline.left()
            self._socket.settimeout(left if stall_s is None else min(left, stall_s))
            self._socket.sendall(data)

    def has_input(self) -> bool:
        """Say whether something can be read without waiting."""
        if self._waiting:
            return True
        with self._translated():
            return bool(select.select([self._socket], [], [], 0)[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise self.deadline.passed() from error
        except (OSError, ValueError) as error:  # select says ValueError of a socket that was closed meanwhile
            message = f"The connection broke in the middle of {self.deadline.what}: {error}."
            raise AdbFailed(message, kind="closed", hint=hint_of("closed")) from error

    def hang_up(self) -> None:
        """End the connection at once, also while another thread waits on it; that one is told that it closed."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it; safe to call twice."""
        self.hang_up()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
