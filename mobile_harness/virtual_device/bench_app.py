"""The bench app's role: ``toolkit.host_runner`` started for real on this host, its files kept in the app's folder.

The app outlives the ``am`` that started it, as on a device: when the host is cut off, the result file still becomes
whole. What it measures is this host.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any, Final

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android.packages import App
from mobile_harness.virtual_device.android.system import System
from mobile_harness.virtual_device.filesystem import SHARED, View
from toolkit.core import process
from toolkit.core.isolation import CHILD_ENVIRONMENT

RUNNER: Final = (sys.executable, "-m", "toolkit.host_runner")
LINE_MAX: Final = 8192
ORDER_MAX: Final = 1 << 20
APP_RSS_KB: Final = 96_000
_RUN: Final = re.compile(r"[0-9a-f]{8}")
_EVIDENCE: Final = 4000
_STACKS_S: Final = 0.3
_BAD_ORDER: Final = 2


class BadOrder(ValueError):
    """The app cannot make sense of what it was told to do."""


def host_order(system: System, app: App, word: str) -> tuple[str, dict[str, Any]]:
    """Return the host runner's order for an app's: the same with paths of this host, and the run's result file.

    Raises:
        BadOrder: the word is no order, or asks for a runtime that this app does not have.
    """
    view = View(system.files, system.app_view_identity(app.package), f"{app.data}/files")
    plain = _read_word(view, word)
    if not isinstance(plain, dict) or not _RUN.fullmatch(str(plain.get("run"))):
        raise BadOrder("the order has no run of eight hex digits")
    target = plain.setdefault("target", app.manifest.targets[0] if app.manifest.targets else "")
    if target not in app.manifest.targets:
        raise BadOrder(f"this app executes {', '.join(app.manifest.targets) or 'nothing'}, not {target!r}")
    for name in ("model", "golden"):
        if isinstance(plain.get(name), str):
            plain[name] = str(_host_path(view, plain[name]))
    plain["out"] = str(result_path(system, app, plain["run"]))
    return plain["run"], plain


def _read_word(view: View, word: str) -> Any:
    """Return the order as it was sent: as base64url of JSON, or as ``@`` and the path of a file of JSON."""
    try:
        if word.startswith("@"):
            with view.open_read(word[1:]) as file:
                return json.loads(file.read(ORDER_MAX))
        padded = word[:ORDER_MAX] + "=" * (-len(word) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadOrder(f"the extra palmtop is no base64url of JSON: {error}") from error
    except OSError as error:
        raise BadOrder(f"the order's file {word[1:]} cannot be read: {error.strerror}") from error


def _host_path(view: View, path: str) -> Path:
    real = view.files.real(view.absolute(path))
    readable = view.identity.may_read(real)
    return view.files.host_path(real if readable else f"{view.folder}/unreadable/{Path(real).name}")


def result_path(system: System, app: App, run: str) -> Path:
    """Return where on the host a run's result file is: in the app's own folder, or where adb can read a release's."""
    home = app.data if app.manifest.debuggable else f"{SHARED}/Android/data/{app.package}"
    folder = system.files.host_path(f"{home}/files/palmtop")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{run}.jsonl"


class BenchApp:
    """One start of the app. ``lines`` gives its frames, then None; ``ended`` says how it ended."""

    def __init__(self, system: System, app: App, word: str) -> None:
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()
        self.ended = ""
        """Empty after a regular end; else ``crash``, ``memory``, ``stopped`` or ``bad order: …``."""
        self.pid = 0
        self._system = system
        self._app = app
        self._word = word
        self._loop = asyncio.get_running_loop()
        self._raw: asyncio.Queue[str | None] = asyncio.Queue()
        self._child: Any = None
        self._stderr: IO[bytes] | None = None
        self._code = 0
        self._errors = ""
        self._killed = ""
        self._last_seq = -1

    async def run(self) -> None:
        """Live: from start to end of the process, with what befalls it."""
        user = self._system.app_view_identity(self._app.package).name
        table = self._system.processes
        with table.running(user=user, argv=(self._app.package,), end=self._on_signal, rss_kb=APP_RSS_KB) as own:
            self.pid = own.pid
            self._system.busy.begin(own.pid, self._system.clock.monotonic_ns())
            try:
                run, order = host_order(self._system, self._app, self._word)
                await self._live(result_path(self._system, self._app, run), order)
            except BadOrder as error:
                self.ended = f"bad order: {error}"
            finally:
                self._system.busy.end(own.pid, self._system.clock.monotonic_ns())
                self.lines.put_nowait(None)

    async def _live(self, result: Path, order: dict[str, Any]) -> None:
        result.unlink(missing_ok=True)
        word = base64.urlsafe_b64encode(json.dumps(order).encode()).decode("ascii")
        thread = threading.Thread(target=self._attend, args=([*RUNNER, f"--palmtop={word}"],), daemon=True)
        thread.start()
        try:
            await self._relay()
        finally:
            self._kill("")
            await asyncio.to_thread(thread.join)
            self._spoil(result)
        self._tell_end()

    # the process ------------------------------------------------------------------------------------------------

    def _attend(self, argv: list[str]) -> None:
        """Start the process and read it, in a thread of its own."""
        try:
            with (
                tempfile.TemporaryFile() as errors,
                process.start(argv, env=CHILD_ENVIRONMENT, stderr_fd=errors.fileno()) as child,
            ):
                self._child, self._stderr = child, errors
                if self._killed:
                    process.kill_group(child)
                assert child.stdout is not None
                while line := child.stdout.readline(LINE_MAX):
                    self._tell(line.rstrip("\r\n"))
                self._code = child.wait()
                self._errors, self._stderr = _tail(errors), None
        finally:
            self._tell(None)

    def _tell(self, line: str | None) -> None:
        self._loop.call_soon_threadsafe(self._raw.put_nowait, line)

    def _kill(self, why: str) -> None:
        self._killed = self._killed or why or "gone"
        if self._child is not None and self._child.poll() is None:
            process.kill_group(self._child)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGQUIT:  # Android's way to ask for the stacks: the process goes on
            self._system.spawn(self._log_stacks())
            return
        self._kill("stopped")

    async def _log_stacks(self) -> None:
        """Have the runner write the stacks of its threads, and log what it wrote."""
        child, errors = self._child, self._stderr
        if child is None or errors is None or child.poll() is not None:
            return
        os.kill(child.pid, signal.SIGUSR1)
        await asyncio.sleep(_STACKS_S)
        if self._stderr is not None:
            size = os.fstat(errors.fileno()).st_size
            raw = os.pread(errors.fileno(), _EVIDENCE, max(0, size - _EVIDENCE))
            self._system.logs.add("I", "palmtop", raw.decode("utf-8", "replace"), pid=self.pid)

    # what it says and what befalls it ---------------------------------------------------------------------------

    async def _relay(self) -> None:
        strike = self._system.faults.strike
        crash = strike(faults.AppCrashes, self._app.package)
        memory = None if crash else strike(faults.OutOfMemory, self._app.package)
        hang = None if crash or memory else strike(faults.AppHangs, self._app.package)
        struck = crash or memory or hang
        corrupt = self._system.faults.strike(faults.CorruptResult, self._app.package)
        self._corrupt = corrupt is not None
        count = 0
        while (line := await self._raw.get()) is not None:
            if not line.startswith("@PT1 "):
                self._system.logs.add("I", "palmtop", line, pid=self.pid)
                continue
            count += 1
            if struck is not None and count > struck.after_frames:
                await self._strike(crash=crash is not None, hang=hang is not None)
                return
            self._last_seq = int(line.split(" ")[2])
            self.lines.put_nowait(_flip(line) if self._corrupt and count > 1 else line)

    async def _strike(self, *, crash: bool, hang: bool) -> None:
        if hang:
            if self._child is not None and self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGSTOP)
            while not self._killed:
                await asyncio.sleep(0.05)
            return
        self._kill("crash" if crash else "memory")

    def _spoil(self, result: Path) -> None:
        """Leave of the result file what a device would have after what struck."""
        if not result.exists():
            return
        if self._killed in ("crash", "memory", "stopped"):
            rows = result.read_bytes().splitlines(keepends=True)
            result.write_bytes(b"".join(rows[: self._last_seq + 1]))
        if self._corrupt:
            raw = bytearray(result.read_bytes())
            raw[len(raw) // 2] ^= 1
            result.write_bytes(raw)
        cut = self._system.faults.strike(faults.TruncatedResult, self._app.package)
        if cut is not None:
            raw = bytearray(result.read_bytes())
            result.write_bytes(raw[: int(len(raw) * cut.keep)])

    def _tell_end(self) -> None:
        logs, package = self._system.logs, self._app.package
        if self._killed == "gone" and self._code < 0 and self._code != -signal.SIGKILL:
            self._killed = "crash"
        if self._killed == "crash":
            self.ended = "crash"
            words = f"Fatal signal {max(-self._code, 1)}, pid {self.pid} ({package})\n{self._errors}"
            logs.add("F", "libc", words, pid=self.pid, buffer="crash")
            self._system.exits.append((package, "5 (CRASH NATIVE)", self.pid))
        elif self._killed == "memory":
            self.ended = "memory"
            logs.add("I", "lowmemorykiller", f"Kill '{package}' ({self.pid}), oom_score_adj 0", buffer="system")
            self._system.exits.append((package, "3 (LOW_MEMORY)", self.pid))
        elif self._killed == "stopped":
            self.ended = "stopped"
            self._system.exits.append((package, "10 (USER REQUESTED)", self.pid))
        elif self._code == _BAD_ORDER:
            self.ended = f"bad order: {self._errors.strip()[-300:]}"

    _corrupt = False


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _EVIDENCE))
    return file.read().decode("utf-8", "replace")


def _flip(frame: str) -> str:
    """Return a frame with another last character, so that its checksum is wrong."""
    return frame[:-1] + ("~" if frame[-1] != "~" else "!")
