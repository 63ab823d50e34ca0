"""The device's end of one link to an adb server: the handshake, the streams on it, and what can befall it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from mobile_harness.virtual_device import auth, faults, protocol
from mobile_harness.virtual_device.injection import Faults
from mobile_harness.virtual_device.protocol import BadMessage, Message
from mobile_harness.virtual_device.streams import Stream

_CHUNK: Final = 1 << 18
_WRITE_HIGH: Final = 4 << 20
_OLD_PAYLOAD_MAX: Final = 4096


class Owner(Protocol):
    """What a transport needs of its device."""

    keyring: auth.Keyring
    faults: Faults

    def banner(self, host_features: frozenset[str]) -> bytes:
        """Return what the device says of itself; features that the host must know too are left out if it does not."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task of the device that is ended with it."""

    async def serve(self, transport: Transport, stream: Stream, service: str) -> None:
        """Serve a stream that the host opened, to its end."""

    def detach(self, transport: Transport) -> None:
        """The link is gone."""


class Attachment(Protocol):
    """Something that a service keeps on a link."""

    def close_all(self) -> None:
        """The link is gone."""


A = TypeVar("A", bound=Attachment)


class Transport:
    """One TCP connection of an adb server."""

    def __init__(self, owner: Owner, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.payload_max = _OLD_PAYLOAD_MAX
        self.delayed_ack = False
        self.online = False
        self.let_in_by = ""
        """How the host was authorized: by the ``signature`` of a known key, by the ``owner``, or by ``nobody``."""
        self._owner = owner
        self._reader = reader
        self._writer = writer
        self._streams: dict[int, Stream] = {}
        self._next_id = 1
        self._token = b""
        self._offered_key = b""
        self._host_features: frozenset[str] = frozenset()
        self._attached: list[Attachment] = []
        self._closed = False
        self._held: list[bytes] = []
        """What a device that hangs would have sent."""
        self._awake = asyncio.Event()
        self._awake.set()
        link: socket.socket = writer.get_extra_info("socket")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.transport.set_write_buffer_limits(high=_WRITE_HIGH)

    async def run(self) -> None:
        """Serve the link until either side ends it."""
        messages = protocol.MessageReader()
        try:
            while data := await self._reader.read(_CHUNK):
                await self._slow_down(len(data))
                for message in messages.feed(data):
                    await self._awake.wait()
                    await self._delay()
                    if self._closed:
                        return
                    self._take(message)
                await self._writer.drain()
        except (BadMessage, ConnectionError, OSError):
            return  # a peer that went away or speaks nonsense loses the link; the device stays
        finally:
            self.close()

    def close(self, *, abruptly: bool = False) -> None:
        """End the link and all its streams; ``abruptly`` as a cable that comes out: with a reset."""
        self.online = False
        self._closed = True
        for stream in tuple(self._streams.values()):
            stream.hang_up()
        for item in self._attached:
            item.close_all()
        self._awake.set()
        if abruptly:
            self._writer.transport.abort()
        else:
            self._writer.close()
        self._owner.detach(self)

    def hang(self, seconds: float | None) -> None:
        """Read and answer nothing for so long, or until the link ends."""
        self._awake.clear()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        for raw in self._held:
            self._write(raw)
        self._held.clear()
        self._awake.set()

    async def woken(self) -> None:
        """Wait until a device that hangs goes on."""
        await self._awake.wait()

    def open(self, service: str) -> Stream:
        """Open a stream to the host, which must have asked for it with ``reverse``: any other ends the adb server."""
        stream = self._new_stream(0, 0)
        window = protocol.DELAYED_ACK_BYTES if self.delayed_ack else 0
        self.send(Message(protocol.OPEN, stream.local_id, window, service.encode() + b"\0"))
        return stream

    def attachment(self, kind: type[A], make: Callable[[], A]) -> A:
        """Return the one value of a kind that lives as long as the link, made if need be."""
        for item in self._attached:
            if isinstance(item, kind):
                return item
        made = make()
        self._attached.append(made)
        return made

    # what streams need ------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a message; a link that is gone swallows it, a device that hangs sends it later."""
        raw = protocol.encode(message)
        if self._awake.is_set():
            self._write(raw)
        else:
            self._held.append(raw)

    def _write(self, raw: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(raw)

    async def drain(self, sent: int) -> None:
        await self._slow_down(sent)
        await self._writer.drain()

    def forget(self, local_id: int) -> None:
        self._streams.pop(local_id, None)

    # messages ---------------------------------------------------------------------------------------------------

    async def _slow_down(self, size: int) -> None:
        slow = self._owner.faults.holding(faults.SlowLink)
        if slow is not None:
            await asyncio.sleep(size / slow.bytes_per_s)

    async def _delay(self) -> None:
        late = self._owner.faults.holding(faults.Latency)
        if late is not None:
            await asyncio.sleep(late.seconds)

    def _take(self, message: Message) -> None:
        if message.command == protocol.CNXN:
            self._connect(message)
        elif message.command == protocol.AUTH:
            self._authorize(message)
        elif not self.online:
            return  # adbd too ignores a host that has not introduced itself
        elif message.command == protocol.OPEN:
            self._open(message)
        else:
            self._pass_on(message)

    def _connect(self, message: Message) -> None:
        self.payload_max = max(1, min(message.arg1, protocol.PAYLOAD_MAX))
        self._host_features = protocol.features_of(message.payload)
        if self._owner.faults.holding(faults.Offline) is not None:
            return
        unauthorized = self._owner.faults.holding(faults.Unauthorized) is not None
        if self._owner.keyring.ask or unauthorized:
            self._challenge()
        else:
            self._go_online("nobody")

    def _challenge(self) -> None:
        self._token = auth.new_token()
        self.send(Message(protocol.AUTH, protocol.AUTH_TOKEN, 0, self._token))

    def _authorize(self, message: Message) -> None:
        unauthorized = self._owner.faults.holding(faults.Unauthorized) is not None
        if message.arg0 == protocol.AUTH_SIGNATURE and self._token:
            if not unauthorized and self._owner.keyring.opens(self._token, message.payload):
                self._go_online("signature")
            else:
                self._challenge()
        elif message.arg0 == protocol.AUTH_PUBLIC_KEY:
            self._offered_key = message.payload
            if not unauthorized:
                self.allow()

    def allow(self) -> None:
        """The owner taps *allow* for the key that this host offered; nothing happens when it offered none."""
        if self._offered_key and not self.online:
            self._owner.keyring.allow(self._offered_key)
            self._go_online("owner")

    def _go_online(self, let_in_by: str) -> None:
        self.let_in_by = let_in_by
        payload = self._owner.banner(self._host_features)
        self.delayed_ack = "delayed_ack" in protocol.features_of(payload)
        self.online = True
        self.send(Message(protocol.CNXN, protocol.VERSION, protocol.PAYLOAD_MAX, payload))

    def _open(self, message: Message) -> None:
        service = message.payload.rstrip(b"\0").decode("utf-8", "surrogateescape")
        stream = self._new_stream(message.arg0, message.arg1)
        self._owner.spawn(self._owner.serve(self, stream, service))

    def _new_stream(self, remote_id: int, may_send: int) -> Stream:
        stream = Stream(self, self._next_id, remote_id, may_send)
        self._streams[self._next_id] = stream
        self._next_id += 1
        return stream

    def _pass_on(self, message: Message) -> None:
        stream = self._streams.get(message.arg1)
        if stream is None:
            return  # closed here while it was under way: adbd ignores it too
        if message.command == protocol.OKAY:
            stream.grant(message)
        elif message.command == protocol.WRTE:
            stream.feed(message.payload)
        elif message.command == protocol.CLSE:
            stream.hang_up()
