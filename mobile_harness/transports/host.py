"""This machine as a device: its runner is ``toolkit.host_runner`` in a process of its own. No phone's figures."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import queue
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

import filelock
import psutil

from mobile_harness.records import DeviceInfo
from mobile_harness.records.state import Vitals
from mobile_harness.transports import _host_vitals
from mobile_harness.transports.base import DeviceFailed, Found, Job, Moment, News
from toolkit.core import codec, process
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.clock import Clock
from toolkit.core.errors import OutputError, ToolMissing
from toolkit.core.isolation import CHILD_ENVIRONMENT
from toolkit.core.store import copy_blob, sha256_of, writing_to
from toolkit.core.tools import Tools

RUNNER = (sys.executable, "-m", "toolkit.host_runner")
LINE_MAX = 8192
QUEUE_MAX = 2000
PULL_MAX = (64 << 20) + 1
EVIDENCE_MAX = 4000
_PREFIX = "palmtop-host-"
_OWNER = "owner.lock"
_DRAIN_S = 1.0
_DUMP_S = 0.5
_CLOSED_S = 0.02


def discover(tools: Tools) -> Found:
    """Return this machine, which is always there."""
    return Found(devices=(HostDevice(tools.clock),))


class HostDevice:
    """This machine; see :class:`mobile_harness.transports.base.Device`. ``command`` starts another runner in tests."""

    def __init__(self, clock: Clock, command: tuple[str, ...] = RUNNER) -> None:
        self.info = describe()
        self.runner = "python"
        self.tools: tuple[ToolVersion, ...] = ()
        self._clock = clock
        self._command = command
        self._scratch: Path | None = None
        self._owner: filelock.BaseFileLock | None = None
        self._running: _Running | None = None

    def push(self, blob: Blob) -> str:
        place = self._place() / "blobs" / f"{blob.sha256[:32]}{blob.path.suffix}"
        if not blob.path.exists():
            raise DeviceFailed(f"There is no {blob.path}.", kind="build_changed", hint=_REBUILD)
        try:
            if not place.exists():
                _copy_whole(blob, place)
            found = sha256_of(place)
        except OutputError as error:
            raise DeviceFailed(error.message, kind="storage", hint="Free space in the temporary folder.") from error
        if found != blob.sha256:
            _remove(place)
            raise DeviceFailed(
                f"{blob.path} is not the file that build.json describes: its sha256 is {found[:12]}…, "
                f"not {blob.sha256[:12]}….",
                kind="build_changed",
                hint=_REBUILD,
            )
        return str(place)

    def launch(self, job: Job) -> None:
        self.stop()
        out = self._place() / "out"
        order = {
            "run": job.run,
            "target": job.target,
            "model": job.model,
            "model_sha256": job.model_sha256,
            "golden": job.golden,
            "plan": codec.unstructure(job.plan),
            "out": str(out / f"{job.run}.jsonl"),
        }
        word = base64.urlsafe_b64encode(json.dumps(order).encode()).decode("ascii")
        try:
            self._running = _Running([*self._command, f"--palmtop={word}"], out, self._clock)
        except (ToolMissing, OSError) as error:
            raise DeviceFailed(f"The runner does not start: {error}", kind="cannot_launch") from error

    def poll(self, timeout_s: float) -> News:
        return self._running.poll(timeout_s) if self._running else News(lines=(), running=False, ended="never started")

    def vitals(self, moment: Moment) -> Vitals:
        return _host_vitals.look(self._running.pid if self._running else None, moment, self._clock)

    def pull(self, run: str) -> bytes | None:
        path = self._place() / "out" / f"{run}.jsonl"
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(PULL_MAX)

    def evidence(self) -> str:
        return self._running.evidence() if self._running else ""

    def stop(self) -> None:
        if self._running:
            self._running.stop()

    def cleanup(self) -> None:
        self.stop()
        self._running = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        if self._owner is not None:
            self._owner.release()
            self._owner = None

    def _place(self) -> Path:
        if self._scratch is None:
            sweep()
            try:
                with writing_to(Path(tempfile.gettempdir())):
                    self._scratch = Path(tempfile.mkdtemp(prefix=_PREFIX))
                    self._owner = filelock.FileLock(self._scratch / _OWNER)
                    self._owner.acquire()
                    (self._scratch / "out").mkdir()
            except OutputError as error:
                raise DeviceFailed(error.message, kind="storage", hint="Set TMPDIR to a folder with room.") from error
        return self._scratch


def _copy_whole(blob: Blob, place: Path) -> None:
    """Copy under another name and rename at the end: what an interrupt or a full disk cuts short is never taken up."""
    half = place.with_name(f".{place.name}.partial")
    try:
        copy_blob(blob, half)
        with writing_to(place):
            half.rename(place)
    finally:
        _remove(half)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


_REBUILD = "Build it again with `palmtop quantize`."


def sweep() -> None:
    """Remove the scratch folders of palmtop processes that are gone without having cleaned up.

    A living one holds the lock in its folder; the system frees it however that process ends.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder / _OWNER
        if folder.is_symlink() or not owner.is_file() or not os.access(owner, os.W_OK):
            continue
        with suppress(filelock.Timeout), filelock.FileLock(owner, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


class _Running:
    """A runner's process with a thread that reads its lines into a bounded queue."""

    def __init__(self, argv: list[str], folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._lines: queue.Queue[str] = queue.Queue(QUEUE_MAX)
        self._read_out = threading.Event()
        self._stopped = threading.Event()
        self._ended_ns: int | None = None
        self._open = ExitStack()
        self._errors = self._open.enter_context((folder / "stderr.txt").open("w+b"))
        try:
            self._child = self._open.enter_context(
                process.start(argv, cwd=folder, env=CHILD_ENVIRONMENT, stderr_fd=self._errors.fileno())
            )
        except BaseException:
            self._open.close()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        pipe = self._child.stdout
        assert pipe is not None
        with suppress(ValueError, OSError):  # the pipe was closed by stop(): there is nothing more to read
            while line := pipe.readline(LINE_MAX):
                self._put(line.rstrip("\r\n"))
        self._read_out.set()
        self._put("")  # wakes a poll that waits

    def _put(self, line: str) -> None:
        while not self._stopped.is_set():
            try:
                self._lines.put(line, timeout=0.2)
            except queue.Full:
                continue  # the runner waits, as it would on any slow terminal
            return

    @property
    def pid(self) -> int:
        """The runner's process."""
        return self._child.pid

    def poll(self, timeout_s: float) -> News:
        lines = []
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_CLOSED_S if self._read_out.is_set() else timeout_s))
            while len(lines) < QUEUE_MAX:
                lines.append(self._lines.get_nowait())
        running = bool(lines) or not self._is_over()
        ended = "" if running else process.exit_words(self._child.returncode)
        return News(lines=tuple(lines), running=running, ended=ended)

    def _is_over(self) -> bool:
        """Say whether the process ended and its pipe is read, or kept open by something it left behind."""
        if self._child.poll() is None:
            return False
        self._ended_ns = self._ended_ns or self._clock.monotonic_ns()
        waited_s = (self._clock.monotonic_ns() - self._ended_ns) / 1e9
        return not self._reader.is_alive() or waited_s > _DRAIN_S

    def evidence(self) -> str:
        if self._child.poll() is None and hasattr(signal, "SIGUSR1"):
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGUSR1)  # our runner answers with the stacks of its threads
            self._clock.sleep(_DUMP_S)
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - EVIDENCE_MAX))
        return self._errors.read(EVIDENCE_MAX).decode("utf-8", "replace").strip()

    def stop(self) -> None:
        self._stopped.set()
        process.kill_group(self._child)
        self._reader.join(timeout=5)
        if not self._errors.closed:
            self._open.close()


def describe() -> DeviceInfo:
    """Return what this machine is. The serial is a hash of its machine id, so that reports name no one's computer."""
    system = platform.system()
    names: dict[str, Literal["linux", "macos", "windows"]] = {"Darwin": "macos", "Windows": "windows"}
    cores = os.cpu_count() or 1
    return DeviceInfo(
        transport="host",
        serial=hashlib.sha256(_machine_id().encode()).hexdigest()[:8],
        platform=names.get(system, "linux"),
        model=_cpu_name(),
        soc=f"{cores} {'core' if cores == 1 else 'cores'}",
        os_version=_os_name(),
        abis=(platform.machine(),),
        ram_mb=int(psutil.virtual_memory().total) >> 20,
        kind="host",
    )


def _machine_id() -> str:
    path = Path("/etc/machine-id")
    return path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else platform.node()


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    facts: dict[str, Any] = {}
    if path.is_file():
        rows = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
        facts = {key.strip(): value.strip() for key, _, value in rows}
    return str(facts.get("model name") or platform.processor() or platform.machine() or "unknown processor")


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
