"""Running pushed native Linux programs: in namespaces of their own, inside the device's folder, as the user ``shell``.

A program sees the device's files as its root, the host's libraries read-only, its own processes, and no network; it
loses root's rights before it starts. This keeps a benchmark from disturbing the host. It is no wall against a program
written to break out: push only what you would run on this machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path
from typing import Any, Final

from mobile_harness.virtual_device import userland
from mobile_harness.virtual_device.android.call import Call
from mobile_harness.virtual_device.filesystem import DeviceFiles
from mobile_harness.virtual_device.shell.plumbing import Pipe, Sink
from mobile_harness.virtual_device.userland import Userland
from toolkit.core import process
from toolkit.core.errors import ToolMissing

UID: Final = 2000
_CHUNK: Final = 64 << 10
_PROBE_S: Final = 10.0
_LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_NEVER_PASSED: Final = ("LD_PRELOAD", "LD_AUDIT")
_TOOLS: Final = ("unshare", "mount", "env")
_NAMESPACES: Final = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child")
_SET_UP: Final = """set -e
root=$1; shift
for place in /usr/lib /usr/lib64 /lib /lib64; do
  if [ -d "$place" ]; then
    mount --bind "$place" "$root$place"
    mount -o remount,bind,ro,nosuid "$root$place"
  fi
done
for node in null zero full random urandom; do
  if [ -c "/dev/$node" ]; then
    : >> "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  fi
done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
"$@"
"""
"""The shell stays: to the first process of a namespace, signals of its own such as an abort's do nothing."""


class Sandbox:
    """Runs native programs of one host's devices."""

    def __init__(self, tools: dict[str, str]) -> None:
        self._tools = tools
        self._furnished: set[Path] = set()
        self._userland: Userland | None = None
        self._furnishing = threading.Lock()

    def prepare(self, files: DeviceFiles) -> None:
        """Make a device's folder fit to be a root: places for the libraries, and one that ``shell`` may write to."""
        for place in _LIBRARIES:
            if Path(place).is_dir():
                (files.root / place[1:]).mkdir(parents=True, exist_ok=True)
        for place in ("data/local/tmp", "storage/emulated/0"):
            os.chown(files.root / place, UID, UID)

    def command(self, root: Path, folder: str, environment: dict[str, str], argv: list[str]) -> list[str]:
        """Return the host's command that runs ``argv`` (a path of the device and its words) inside."""
        assigned = [f"{name}={value}" for name, value in environment.items() if name not in _NEVER_PASSED]
        inside = ["--root", str(root), "--wd", folder, "--setgid", str(UID), "--setuid", str(UID), "--", *argv]
        outside = [self._tools["unshare"], *_NAMESPACES, "--", "/bin/sh", "-c", _SET_UP, "sandbox", str(root)]
        return [*outside, self._tools["env"], "-i", *assigned, self._tools["unshare"], *inside]

    async def run(self, call: Call, argv: list[str]) -> int:
        """Run a program to its end and return its exit code; its input is empty."""
        await asyncio.to_thread(self._furnish, call.system.files.root)
        host = self.command(call.system.files.root, call.view.folder, call.environment, argv)
        native = _Native(host)
        return await native.run(call)

    def _furnish(self, root: Path) -> None:
        """Give a device its userland before its first native program runs."""
        with self._furnishing:
            if root in self._furnished:
                return
            if self._userland is None:
                self._userland = userland.find()
            self._userland.furnish(root)
            self._furnished.add(root)


def find() -> Sandbox | str:
    """Return the sandbox of this host, or why it has none."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "it needs root"
    found = {name: shutil.which(name) for name in _TOOLS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        return f"this host has no {', '.join(missing)}"
    tools = {name: path for name, path in found.items() if path is not None}
    try:
        tried = process.run(
            [tools["unshare"], *_NAMESPACES, "--", "/bin/sh", "-c", "mount -t proc proc /proc"], deadline_s=_PROBE_S
        )
    except ToolMissing as error:
        return error.message
    return Sandbox(tools) if tried.code == 0 else f"this host gives no namespaces: {tried.tail(1)}"


class _Native:
    """A process with two threads that bring its outputs to the loop, no faster than they are taken."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._loop = asyncio.get_running_loop()
        self._out, self._err = Pipe(), Pipe()
        self._child: Any = None
        self._over = False
        self._code = 0

    async def run(self, call: Call) -> int:
        thread = threading.Thread(target=self._attend, daemon=True)
        thread.start()
        try:
            await asyncio.gather(_copy(self._out, call.stdout), _copy(self._err, call.stderr))
        finally:
            self._over = True
            await self._out.end_reading()
            await self._err.end_reading()
            if self._child is not None:
                process.kill_group(self._child)
            await asyncio.to_thread(thread.join)
        return self._code if self._code >= 0 else 128 - self._code

    def _attend(self) -> None:
        reading, writing = os.pipe()
        errors = threading.Thread(target=self._bring_errors, args=(reading,), daemon=True)
        errors.start()
        try:
            with process.start(self._argv, cwd=Path("/"), stderr_fd=writing) as child:
                os.close(writing)
                self._child = child
                if self._over:
                    return
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.close()
                self._bring(child.stdout.fileno(), self._out)
                self._code = child.wait()
        finally:
            errors.join()
            self._call(self._out.end_writing())
            self._call(self._err.end_writing())

    def _bring_errors(self, reading: int) -> None:
        self._bring(reading, self._err)
        os.close(reading)

    def _bring(self, fd: int, pipe: Pipe) -> None:
        while data := os.read(fd, _CHUNK):
            try:
                self._call(pipe.write(data))
            except BrokenPipeError:
                return  # nobody reads any more: the program is about to be ended

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _copy(pipe: Pipe, sink: Sink) -> None:
    while data := await pipe.read():
        await sink.write(data)
