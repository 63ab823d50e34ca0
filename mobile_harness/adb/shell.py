"""Commands on a device by the shell protocol: both outputs apart, the exit code, and an end that is certain.

Source: ``shell_protocol.h`` of the Android Open Source Project's adb: a packet is one byte of kind, a little-endian
word of length, and data. A stream that ends without the packet of the exit code was cut: the command's end is unknown.
"""

from __future__ import annotations

import shlex
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from mobile_harness.adb.errors import AdbFailed, hint_of
from mobile_harness.adb.link import Link

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
OUTPUT_MAX = 4 << 20
PACKET_MAX = 1 << 20
_HEAD = struct.Struct("<BI")
_PID_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended. ``dropped`` bytes of output came beyond the bound and are not in it."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    dropped: int = 0

    @property
    def text(self) -> str:
        """Standard output as text with plain line ends."""
        return self.stdout.decode("utf-8", "replace").replace("\r\n", "\n")

    def said(self, most: int = 300) -> str:
        """Return the end of what it complained of, else of what it said, in one line."""
        text = (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")
        return " ".join(text.split())[-most:]


def service_of(argv: Sequence[str]) -> str:
    """Return the service that runs a command; quoted once, and the first line it prints is its process id.

    >>> service_of(["echo", "a b"])
    "shell,v2,raw:echo $$;exec echo 'a b'"
    """
    return f"shell,v2,raw:echo $$;exec {shlex.join(argv)}"


class Command:
    """A command that runs on a device, on a link that was granted :func:`service_of`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._first = bytearray()
        self.pid: int | None = None
        self.code: int | None = None

    def feed(self, source: BinaryIO | None) -> None:
        """Send all of its standard input and close it."""
        while source is not None and (part := source.read(1 << 16)):
            self._link.send(_HEAD.pack(STDIN, len(part)) + part)
        self._link.send(_HEAD.pack(CLOSE_STDIN, 0))

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Yield (:data:`STDOUT` or :data:`STDERR`, data) until the exit code came, which is then in ``code``.

        Raises:
            AdbFailed: ``closed``, the stream was cut before the command's end; ``garbage``; ``timeout``.
        """
        while True:
            kind, size = _HEAD.unpack(self._link.read(_HEAD.size))
            if kind not in (STDOUT, STDERR, EXIT) or size > PACKET_MAX:
                raise AdbFailed(
                    f"The device answered {self._link.deadline.what} with bytes that are no shell packet.",
                    kind="garbage",
                    hint="Reboot the device.",
                )
            data = self._link.read(size)
            if kind == EXIT:
                self.code = data[0] if data else 255
                return
            if kind == STDOUT and self.pid is None:
                data = self._without_pid(data)
            if data:
                yield kind, data

    def _without_pid(self, data: bytes) -> bytes:
        self._first += data
        line, found, rest = bytes(self._first).partition(b"\n")
        if not found and len(self._first) < _PID_MAX:
            return b""
        if not found or len(line) > _PID_MAX or not line.strip().isdigit():
            raise AdbFailed(f"The device's shell does not tell its process: {line[:40]!r}.", kind="garbage")
        self.pid = int(line)
        return rest


def collect(link: Link, command: Command, stdin: BinaryIO | None, output_max: int) -> Result:
    """Run a command to its end and return it; what it prints beyond ``output_max`` bytes is counted and dropped.

    Raises:
        AdbFailed: see :meth:`Command.output`.
    """
    started = time.monotonic()
    unread: AdbFailed | None = None
    try:
        command.feed(stdin)
    except AdbFailed as error:
        if error.kind != "closed":
            raise
        unread = error  # it ended without reading its input; why may still be there to be read
    kept = {STDOUT: bytearray(), STDERR: bytearray()}
    dropped = 0
    try:
        for kind, data in command.output():
            room = max(0, output_max - len(kept[kind]))
            kept[kind] += data[:room]
            dropped += max(0, len(data) - room)
    except AdbFailed as error:
        raise unread or error from error
    if command.code is None:
        raise AdbFailed(f"{link.deadline.what} ended without an exit code.", kind="closed", hint=hint_of("closed"))
    return Result(
        code=command.code,
        stdout=bytes(kept[STDOUT]),
        stderr=bytes(kept[STDERR]),
        seconds=time.monotonic() - started,
        dropped=dropped,
    )
