"""``shell:`` and ``exec:``, with and without the shell protocol.

Without it there is always a terminal in raw mode, as in adbd: errors are merged into the output, input has no end of
its own, and commands believe a person is looking. Only ``shell,v2`` has three streams and an exit code, which is sent
when nobody holds the output any more.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from mobile_harness.virtual_device import faults, protocol
from mobile_harness.virtual_device.protocol import Packet, PacketReader
from mobile_harness.virtual_device.services.session import Opened, PacketSink, RawSink, RawSource
from mobile_harness.virtual_device.shell import builtins, parser
from mobile_harness.virtual_device.shell.interpreter import Shell, end_tasks
from mobile_harness.virtual_device.shell.plumbing import Pipe, Sink, Source, lines, read_all
from mobile_harness.virtual_device.shell.redirection import Streams

SCRIPT_MAX: Final = 1 << 20
PROMPT: Final = b"palmtop_virtual:/ $ "
_GRACE_S: Final = 0.3
"""How long a command without the shell protocol may live on after its host has gone: enough to write what came."""
_HUNG_UP: Final = 129
_TRAP_S: Final = 5.0
"""How long a trap may go on when what it belongs to is over."""


async def shell(opened: Opened) -> None:
    """Serve ``shell[,v2][,pty|raw][,TERM=…]:[COMMAND]``."""
    opened.stream.accept()
    if "v2" not in opened.options:
        await _without_protocol(opened)
    elif opened.system.faults.strike(faults.Garbage, f"shell,v2:{opened.argument}") is not None:
        await opened.stream.write(b"\xff\xff\xff\xff\xffno packet")
    else:
        await _with_protocol(opened)


async def exec_(opened: Opened) -> None:
    """Serve ``exec:COMMAND``."""
    opened.stream.accept()
    await _without_protocol(opened)


async def abb(opened: Opened) -> None:
    """Serve ``abb:``, a command of a service with its words parted by NUL, in packets."""
    opened.stream.accept()
    await _with_protocol(opened)


async def abb_exec(opened: Opened) -> None:
    """Serve ``abb_exec:``, the same without packets."""
    opened.stream.accept()
    await _without_protocol(opened)


async def _without_protocol(opened: Opened) -> None:
    output = RawSink(opened.stream)
    streams = Streams(RawSource(opened.stream), output, output)
    interactive = opened.kind == "shell" and not opened.argument
    await _run(opened, streams, interactive=interactive, grace_s=_GRACE_S)


async def _with_protocol(opened: Opened) -> None:
    bare = opened.kind == "shell" and not opened.argument
    terminal = "pty" in opened.options or (bare and "raw" not in opened.options)
    lock = asyncio.Lock()
    stdout = PacketSink(opened.stream, protocol.STDOUT, lock, terminal=terminal)
    stderr = stdout if terminal else PacketSink(opened.stream, protocol.STDERR, lock)
    stdin = Pipe(is_terminal=terminal)
    pump = asyncio.ensure_future(_pump(opened, stdin))
    try:
        code = await _run(opened, Streams(stdin, stdout, stderr), interactive=terminal and not opened.argument)
        if opened.stream.is_open:
            await opened.stream.write(protocol.encode_packet(Packet(protocol.EXIT, bytes([code & 255]))))
    finally:
        await end_tasks([pump])


async def _pump(opened: Opened, stdin: Pipe) -> None:
    """Take the packets that the host sends; window sizes change nothing here.

    A host that goes away does not end the input: it hangs up, as :func:`_run` sees to.
    """
    reader = PacketReader()
    try:
        while data := await opened.stream.read():
            for packet in reader.feed(data):
                if packet.kind == protocol.STDIN:
                    await stdin.write(packet.data)
                elif packet.kind == protocol.CLOSE_STDIN:
                    await stdin.end_writing()
    except (protocol.BadMessage, BrokenPipeError):
        opened.stream.close()


async def _run(opened: Opened, streams: Streams, *, interactive: bool, grace_s: float = 0.0) -> int:
    """Run what was asked for, until it ends or the host goes away, which ends it too; return its exit code."""
    made = opened.shell()
    main = asyncio.ensure_future(_command(opened, made, streams, interactive=interactive))
    gone = asyncio.ensure_future(opened.stream.ended.wait())

    signals: list[int] = []

    def end(number: int) -> None:
        signals.append(number)
        main.cancel()

    table = opened.system.processes
    with table.running(user=made.view.identity.name, argv=("/system/bin/sh",), end=end) as process:
        made.pid = process.pid
        try:
            await asyncio.wait({main, gone}, return_when=asyncio.FIRST_COMPLETED)
            if main.done() and made.held:
                await asyncio.wait([gone, asyncio.ensure_future(_all(made.held))], return_when=asyncio.FIRST_COMPLETED)
            if not main.done() and grace_s:
                await asyncio.wait({main}, timeout=grace_s)
            if not main.done():
                signals.append(signal.SIGHUP)
        finally:
            await end_tasks([gone, *([] if main.done() else [main])])
        trapped = await _trapped(made, signals[0] if main.cancelled() and signals else 0, streams)
    if main.cancelled():
        return _HUNG_UP if trapped is None else trapped
    return _code(main)


async def _trapped(made: Shell, number: int, streams: Streams) -> int | None:
    """Do what the shell was told to do at the signal that ended it, or at its end (0); return the code of that."""
    action = made.traps.pop(number, None)
    if action is None or number == signal.SIGKILL:
        return None
    try:
        return await asyncio.wait_for(made.run(action, streams), _TRAP_S)
    except (ConnectionError, TimeoutError):
        return None


def _code(main: asyncio.Task[int]) -> int:
    error = main.exception()
    if error is None:
        return main.result()
    if isinstance(error, ConnectionError):
        return _HUNG_UP
    raise error


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _command(opened: Opened, made: Shell, streams: Streams, *, interactive: bool) -> int:
    if opened.kind.startswith("abb"):
        words = [word for word in opened.argument.split("\0") if word]
        code = await made.command(["cmd", *words], streams)
        return code if words else 1  # adbd runs it in its own process, and has no code of a process that is none
    if opened.argument:
        return await made.run(opened.argument, streams)
    if interactive:
        return await _converse(made, streams)
    text = await read_all(streams.stdin, SCRIPT_MAX)
    return await made.run(text.decode("utf-8", "surrogateescape"), streams)


async def _converse(made: Shell, streams: Streams) -> int:
    """Run line after line, echoing what is typed as a terminal does."""
    await streams.stdout.write(PROMPT)
    async for line in lines(_Typed(streams.stdin, streams.stdout)):
        try:
            script = parser.parse(line.decode("utf-8", "surrogateescape"))
            made.status = await made.script(script, streams)
        except parser.BadSyntax as error:
            await streams.stderr.write(f"/system/bin/sh: {error}\n".encode())
            made.status = 2
        except builtins.Leave as leave:
            return leave.code
        except builtins.LoopControl:
            made.status = 0
        await streams.stdout.write(PROMPT)
    return made.status


class _Typed:
    """A terminal's input: echoed, a carriage return ends a line, Ctrl-D the input."""

    is_terminal = True

    def __init__(self, source: Source, echo: Sink) -> None:
        self._source = source
        self._echo = echo

    async def unread(self, data: bytes) -> None:
        await self._source.unread(data)

    async def read(self) -> bytes:
        data = (await self._source.read()).replace(b"\r", b"\n")
        if not data or data.startswith(b"\x04"):
            return b""
        await self._echo.write(data)
        return data
