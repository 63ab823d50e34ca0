"""``tcp:`` and ``reverse:``: the device's ports, seen from the host and towards it.

A stream that the device opens to a port the host did not ask for ends the whole adb server (versions 29 and 36), so a
reverse lives no longer than the link on which it was asked for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from mobile_harness.virtual_device.network import Network, Socket
from mobile_harness.virtual_device.services.session import Opened
from mobile_harness.virtual_device.shell.interpreter import end_tasks
from mobile_harness.virtual_device.streams import Stream
from mobile_harness.virtual_device.transport import Transport

_OKAY_FIRST_S: Final = 0.005
"""An OKAY that is under way for the stream of a forward must not be overtaken by our OPEN: adb 29 loses data then."""


async def tcp(opened: Opened) -> None:
    """Serve ``tcp:PORT[:HOST]``: connect to a port of the device."""
    word = opened.argument.partition(":")[0]
    if not word.isdigit():
        return
    socket = await opened.system.network.connect(int(word))
    opened.stream.accept()
    await splice(opened.stream, socket)


async def splice(stream: Stream, socket: Socket) -> None:
    """Copy both ways until the device's end is done: adb's streams have no half that could stay open."""

    async def upwards() -> None:
        try:
            while data := await stream.read():
                await socket.outgoing.write(data)
        except BrokenPipeError:
            return  # the device's end has gone: the other direction ends the stream
        await socket.outgoing.end_writing()

    up = asyncio.ensure_future(upwards())
    try:
        while data := await socket.incoming.read():
            await stream.write(data)
    except ConnectionError:
        await up  # what the host had sent before it left still arrives
    finally:
        await end_tasks([up])
        await socket.close()


@dataclass(slots=True)
class Reverses:
    """The ports of one device that lead to the host of one link: by port, where to."""

    network: Network
    known: dict[int, str] = field(default_factory=dict)

    def close_all(self) -> None:
        """Forget all."""
        for port in list(self.known):
            self.close(port)

    def close(self, port: int) -> None:
        """Forget one."""
        del self.known[port]
        self.network.close(port)


async def reverse(opened: Opened) -> None:
    """Serve ``reverse:forward:…``, ``killforward:…``, ``killforward-all`` and ``list-forward``."""
    opened.stream.accept()
    verb, _, rest = opened.argument.partition(":")
    reverses = opened.transport.attachment(Reverses, lambda: Reverses(opened.system.network))
    await opened.stream.write(_answer(opened, reverses, verb, rest))


def _answer(opened: Opened, reverses: Reverses, verb: str, rest: str) -> bytes:
    if verb == "list-forward":  # the one answer without OKAY
        return _counted("".join(f"host tcp:{port} {to}\n" for port, to in sorted(reverses.known.items())))
    if verb == "killforward-all":
        reverses.close_all()
        return b"OKAY"
    if verb == "killforward":
        port = _port(rest)
        if port not in reverses.known:
            return b"FAIL" + _counted(f"listener '{rest}' not found")
        reverses.close(port)
        return b"OKAY"
    return _forward(opened, reverses, rest) if verb == "forward" else b"FAIL" + _counted(f"unknown: {verb}")


def _forward(opened: Opened, reverses: Reverses, rest: str) -> bytes:
    fresh_only = rest.startswith("norebind:")
    local, _, remote = rest.removeprefix("norebind:").partition(";")
    port = _port(local)
    if port is None or not remote:
        return b"FAIL" + _counted(f"only tcp ports are supported by the virtual device, not {local}")
    if port in reverses.known and fresh_only:
        return b"FAIL" + _counted("cannot rebind existing socket")
    if port in reverses.known:
        reverses.known[port] = remote
        return b"OKAY"
    transport = opened.transport
    chosen = 0

    async def answer(socket: Socket) -> None:
        opened.system.spawn(_to_host(transport, reverses, chosen, socket))

    try:
        chosen = opened.system.network.listen(port, answer)
    except OSError as error:
        return b"FAIL" + _counted(f"cannot bind listener: {error.strerror}")
    reverses.known[chosen] = remote
    return b"OKAY" + (_counted(str(chosen)) if port == 0 else b"")


async def _to_host(transport: Transport, reverses: Reverses, port: int, socket: Socket) -> None:
    await asyncio.sleep(_OKAY_FIRST_S)
    if not transport.online or port not in reverses.known:
        await socket.close()
        return
    stream = transport.open(reverses.known[port])
    await stream.accepted.wait()
    if not stream.was_accepted:
        await socket.close()
        return
    await splice(stream, socket)
    stream.close()


def _port(word: str) -> int | None:
    kind, _, number = word.partition(":")
    return int(number) if kind == "tcp" and number.isdigit() and int(number) < 1 << 16 else None


def _counted(text: str) -> bytes:
    raw = text.encode()
    return b"%04x" % len(raw) + raw
