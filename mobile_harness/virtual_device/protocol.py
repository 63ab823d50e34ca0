"""The adb transport protocol's messages and the shell protocol's packets, as pure values and bytes.

Source: ``protocol.txt`` and ``shell_protocol.h`` of the Android Open Source Project's adb. A message is six
little-endian words (command, two arguments, length, checksum, inverted command) and a payload; a packet of the shell
protocol is one byte of kind, a little-endian word of length, and its data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

CNXN: Final = 0x4E584E43
AUTH: Final = 0x48545541
OPEN: Final = 0x4E45504F
OKAY: Final = 0x59414B4F
WRTE: Final = 0x45545257
CLSE: Final = 0x45534C43
STLS: Final = 0x534C5453
COMMANDS: Final = (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE, STLS)

AUTH_TOKEN: Final = 1
AUTH_SIGNATURE: Final = 2
AUTH_PUBLIC_KEY: Final = 3

VERSION: Final = 0x01000001
"""The version from which payload checksums are no longer looked at."""
PAYLOAD_MAX: Final = 1 << 20
DELAYED_ACK_BYTES: Final = 32 << 20
"""Bytes that a peer may send ahead of our OKAYs where both sides speak ``delayed_ack``."""

_HEADER: Final = struct.Struct("<6I")
_CREDIT: Final = struct.Struct("<i")
_PACKET: Final = struct.Struct("<BI")

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
EXIT: Final = 3
CLOSE_STDIN: Final = 4
WINDOW_SIZE: Final = 5
PACKET_MAX: Final = 16 << 20


class BadMessage(ValueError):
    """The peer does not speak the protocol: the link cannot be read any further."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the transport."""

    command: int
    arg0: int
    arg1: int
    payload: bytes = b""

    @property
    def name(self) -> str:
        """The command's four letters."""
        return self.command.to_bytes(4, "little").decode("ascii", "replace")


def encode(message: Message) -> bytes:
    """Return a message's bytes; the checksum is filled in where an old peer may still look at it."""
    checked = message.command in (CNXN, AUTH)
    checksum = sum(message.payload) & 0xFFFFFFFF if checked else 0
    size = len(message.payload)
    head = _HEADER.pack(message.command, message.arg0, message.arg1, size, checksum, message.command ^ 0xFFFFFFFF)
    return head + message.payload


class MessageReader:
    """Makes messages of bytes that come in any pieces."""

    def __init__(self, payload_max: int = PAYLOAD_MAX) -> None:
        self._buffer = bytearray()
        self._payload_max = payload_max

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes and return the messages that are whole now.

        Raises:
            BadMessage: the header is none, or announces more than the payload's maximum.
        """
        self._buffer += data
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> Message | None:
        if len(self._buffer) < _HEADER.size:
            return None
        command, arg0, arg1, size, _, magic = _HEADER.unpack_from(self._buffer)
        if magic != command ^ 0xFFFFFFFF or command not in COMMANDS:
            raise BadMessage(f"no adb message begins with {bytes(self._buffer[:24]).hex()}")
        if size > self._payload_max:
            raise BadMessage(f"a payload of {size} bytes is more than {self._payload_max}")
        end = _HEADER.size + size
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[_HEADER.size : end])
        del self._buffer[:end]
        return Message(command, arg0, arg1, payload)

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._buffer)


def credit(size: int) -> bytes:
    """Return the payload of an OKAY that lets the peer send ``size`` more bytes (``delayed_ack``)."""
    return _CREDIT.pack(size)


def read_credit(payload: bytes) -> int:
    """Return the bytes an OKAY's payload grants; 0 where it grants none."""
    return int(_CREDIT.unpack(payload)[0]) if len(payload) == _CREDIT.size else 0


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the shell protocol (``shell,v2``)."""

    kind: int
    data: bytes = b""


def encode_packet(packet: Packet) -> bytes:
    """Return a packet's bytes."""
    return _PACKET.pack(packet.kind, len(packet.data)) + packet.data


class PacketReader:
    """Makes packets of bytes that come in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Take the next bytes and return the packets that are whole now.

        Raises:
            BadMessage: a packet announces more than :data:`PACKET_MAX` bytes.
        """
        self._buffer += data
        found = []
        while len(self._buffer) >= _PACKET.size:
            kind, size = _PACKET.unpack_from(self._buffer)
            if size > PACKET_MAX:
                raise BadMessage(f"a shell packet of {size} bytes is more than {PACKET_MAX}")
            end = _PACKET.size + size
            if len(self._buffer) < end:
                break
            found.append(Packet(kind, bytes(memoryview(self._buffer)[_PACKET.size : end])))
            del self._buffer[:end]
        return found


def banner(properties: dict[str, str], features: tuple[str, ...]) -> bytes:
    """Return the payload of the device's CNXN."""
    fields = "".join(f"{key}={value};" for key, value in properties.items())
    return f"device::{fields}features={','.join(features)}".encode()


def features_of(payload: bytes) -> frozenset[str]:
    """Return the features that a peer's CNXN names."""
    text = payload.decode("utf-8", "replace").rstrip("\0")
    _, _, named = text.partition("features=")
    return frozenset(word for word in named.split(";")[0].split(",") if word)
