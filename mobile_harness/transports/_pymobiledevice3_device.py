"""An iPhone behind the verbs of every transport, through the external program ``pymobiledevice3``.

The app's result file is fetched again and again while it runs: no console is needed, and the file is the truth anyway.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mobile_harness.apple import crashes, mobiledevice
from mobile_harness.apple.crashes import Crash
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.mobiledevice import Attached, MobileDevice
from mobile_harness.records import DeviceInfo
from mobile_harness.records.state import Unavailable, Vitals
from mobile_harness.transports import _apple_app
from mobile_harness.transports._apple_app import BenchApp
from mobile_harness.transports._apple_trouble import as_device_failure, check_content, untold
from mobile_harness.transports._result_tail import ResultTail
from mobile_harness.transports.base import DeviceFailed, Job, Moment, News
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.errors import ToolMissing
from toolkit.core.events import Event
from toolkit.core.tools import Tools

ASK_S: Final = 60.0
INSTALL_S: Final = 300.0
COPY_BASE_S: Final = 60.0
COPY_BYTES_PER_S: Final = 1_000_000
PULL_MAX: Final = (64 << 20) + 1
EVIDENCE_MAX: Final = 4000
REPORTS_MAX: Final = 20
_LOOK_S: Final = 0.5
_REPORT_S: Final = 8.0
_NOT_TOLD: Final = Unavailable(reason="it is not asked for over USB; the app tells it")


class MobileDevicePhone:
    """An iPhone or iPad; see :class:`mobile_harness.transports.base.Device`."""

    def __init__(self, info: DeviceInfo, attached: Attached, version: str, tools: Tools) -> None:
        self.info = info
        self.runner = "app"
        self.tools: tuple[ToolVersion, ...] = (ToolVersion(name=mobiledevice.PROGRAM, version=version),)
        self._ask = MobileDevice(tools, attached.udid)
        self._clock = tools.clock
        self._emit = tools.emit
        self._pushed: dict[str, Blob] = {}
        self._apps: dict[str, BenchApp] = {}
        self._sent: dict[str, set[str]] = {}
        self._current: BenchApp | None = None
        self._pid = 0
        self._run = ""
        self._tail: ResultTail | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def push(self, blob: Blob) -> str:
        check_content(blob)
        place = f"Documents/palmtop-{blob.sha256[:32]}{blob.path.suffix}"  # the one folder that is always there
        self._pushed[place] = blob
        return place

    def launch(self, job: Job) -> None:
        self.stop()
        app = self._apps.get(job.target) or _apple_app.needed(job.target, "iPhoneOS", os.environ)
        with as_device_failure():
            if self._ask(["amfi", "developer-mode-status"], ASK_S).strip() == "false":
                raise AppleFailed(f"Developer Mode is off on {self.info.model}.", kind="developer_mode")
            if app.folder is not None and job.target not in self._apps:
                self._ask(["apps", "install", str(app.folder)], INSTALL_S)
            self._apps[job.target] = app
            for place in filter(None, (job.model, job.golden)):
                self._send(app, place)
            self._current, self._run, self._tail = app, job.run, ResultTail(job.run)
            words = f"{app.bundle_id} {_apple_app.order_of(job, _apple_app.result_of(job.run))}"
            pid = mobiledevice.read_launched(self._ask(["developer", "dvt", "launch", words], ASK_S))
            if pid is None:
                raise AppleFailed("`developer dvt launch` does not name the process that it started.", kind="garbage")
            self._pid = pid

    def poll(self, timeout_s: float) -> News:
        if self._tail is None:
            return News(lines=(), running=False, ended="never started")
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        with as_device_failure():
            while True:
                lives = self._lives()  # before the file is fetched: what it wrote last is not missed
                lines = self._tail.feed((self._fetch(self._run) or b"")[self._tail.size :])
                if lines or not lives:
                    return News(lines=tuple(lines), running=bool(lines), ended="" if lines else self._tail.words())
                if self._clock.monotonic_ns() >= end_ns:
                    return News(lines=(), running=True)
                self._clock.sleep(_LOOK_S)

    def vitals(self, moment: Moment) -> Vitals:
        return untold(self._clock.monotonic_ns(), moment, _NOT_TOLD, app=_NOT_TOLD, power=_NOT_TOLD)

    def pull(self, run: str) -> bytes | None:
        if self._current is None:
            return None
        with as_device_failure():
            return self._fetch(run)

    def evidence(self) -> str:
        if self._tail is None or self._current is None or self._tail.has_ended:
            return ""
        try:
            if self._lives():  # made to crash, it leaves a report with its stacks
                self._ask(["developer", "dvt", "signal", str(self._pid), "--signal-name", "SIGABRT"], ASK_S)
            return self._report(Path(self._current.folder_name).stem)[-EVIDENCE_MAX:]
        except (AppleFailed, ToolMissing) as error:
            return f"The iPhone says nothing of the end: {error.message}"

    def stop(self) -> None:
        if self._pid and self._current is not None:
            with self._told("stop"):
                if self._lives():
                    self._ask(["developer", "dvt", "kill", str(self._pid)], ASK_S)
        self._pid = 0

    def cleanup(self) -> None:
        self.stop()
        for app in {app.bundle_id: app for app in self._apps.values()}.values():
            for place in ("Documents/palmtop", *sorted(self._sent.get(app.bundle_id, ()))):
                with self._told("clean up"):
                    self._remove(app, place)
        self._current = self._tail = None
        self._apps.clear()
        self._sent.clear()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _send(self, app: BenchApp, place: str) -> None:
        blob, sent = self._pushed.get(place), self._sent.setdefault(app.bundle_id, set())
        if place in sent:
            return
        if blob is None:
            raise DeviceFailed(f"{place} was never pushed.", kind="cannot_launch")
        check_content(blob)
        deadline_s = COPY_BASE_S + blob.size_bytes / COPY_BYTES_PER_S
        self._ask(["apps", "push", app.bundle_id, str(blob.path), place], deadline_s)
        sent.add(place)

    def _fetch(self, run: str) -> bytes | None:
        assert self._current is not None
        place = self._folder() / f"{run}.jsonl"
        place.unlink(missing_ok=True)
        words = ["apps", "pull", self._current.bundle_id, _apple_app.result_of(run), str(place)]
        try:
            self._ask(words, COPY_BASE_S + PULL_MAX / COPY_BYTES_PER_S)
        except AppleFailed as error:
            if error.kind == "not_found":
                return None
            raise
        if place.is_symlink() or not place.is_file():
            return None
        with place.open("rb") as file:
            return file.read(PULL_MAX)

    def _remove(self, app: BenchApp, place: str) -> None:
        try:
            self._ask(["apps", "rm", app.bundle_id, place], COPY_BASE_S)
        except AppleFailed as error:
            if error.kind != "not_found":
                raise

    def _lives(self) -> bool:
        if not self._pid or self._current is None:
            return False
        said = self._ask(["developer", "dvt", "process-id-for-bundle-id", self._current.bundle_id], ASK_S)
        return said.strip() == str(self._pid)

    def _report(self, app: str) -> str:
        end_ns = self._clock.monotonic_ns() + int(_REPORT_S * 1e9)
        folder = self._folder() / "crashes"
        while app:
            self._ask(["crash", "pull", str(folder), "--match", f"{app}-.*"], ASK_S)
            for path in sorted(folder.glob("**/*.ips"), reverse=True)[:REPORTS_MAX]:
                crash = crashes.read_file(path)
                if isinstance(crash, Crash) and crash.pid == self._pid:
                    return crash.words()
            if self._clock.monotonic_ns() > end_ns:
                break
            self._clock.sleep(_LOOK_S)
        return ""

    def _folder(self) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="palmtop-iphone-")
        return Path(self._scratch.name)

    @contextmanager
    def _told(self, phase: str) -> Iterator[None]:
        """Have trouble said and not raised: the verb is safe at any time."""
        try:
            yield
        except (AppleFailed, ToolMissing) as error:
            subject = f"{self.info.transport}:{self.info.serial}"
            self._emit(Event(subject=subject, phase=phase, message=error.message, level="warning"))
