"""Which descriptor of a command leads where."""

from __future__ import annotations

from dataclasses import dataclass

from mobile_harness.virtual_device.android.call import Trouble
from mobile_harness.virtual_device.shell.plumbing import FileSink, Nothing, Sink, Source


@dataclass(slots=True)
class Streams:
    """Where a command reads and writes, by descriptor."""

    stdin: Source
    stdout: Sink
    stderr: Sink


async def tell(streams: Streams, text: str) -> None:
    """Print a line to standard error."""
    await streams.stderr.write(f"{text}\n".encode("utf-8", "surrogateescape"))


def put(fd: int, stream: Nothing | FileSink, streams: Streams) -> None:
    """Lead a descriptor to a file, or nowhere."""
    if fd == 0:
        streams.stdin = Nothing()
    elif fd == 1:
        streams.stdout = stream
    elif fd == 2:
        streams.stderr = stream
    else:
        raise Trouble(f"{fd}: bad file descriptor")


def duplicate(fd: int, target: str, streams: Streams) -> None:
    """Lead a descriptor where another leads."""
    outputs = {"1": streams.stdout, "2": streams.stderr}
    if target == "-":
        put(fd, Nothing(), streams)
    elif fd == 1 and target in outputs:
        streams.stdout = outputs[target]
    elif fd == 2 and target in outputs:
        streams.stderr = outputs[target]
    elif not (fd == 0 and target == "0"):
        raise Trouble(f"{target}: bad file descriptor")
