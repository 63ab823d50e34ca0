"""An iPhone behind the verbs of every transport, through ``devicectl``.

Files go into the app's own folder, where alone the app can read them; which app that is is known when a session starts,
so that :meth:`PhoneDevice.push` only checks and remembers. What was sent in is hashed on the phone by the app, which
refuses a model that is not the one of the order.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mobile_harness.apple import crashes, phones
from mobile_harness.apple.crashes import Crash
from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.phones import Phone
from mobile_harness.apple.xcode import Xcode, Xcrun
from mobile_harness.records import DeviceInfo
from mobile_harness.records.state import Unavailable, Vitals
from mobile_harness.transports import _apple_app
from mobile_harness.transports._apple_app import BenchApp
from mobile_harness.transports._apple_trouble import as_device_failure, check_content, untold
from mobile_harness.transports._devicectl_run import Running
from mobile_harness.transports.base import DeviceFailed, Job, Moment, News
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.errors import ToolMissing
from toolkit.core.events import Event
from toolkit.core.tools import Tools

ASK_S: Final = 30.0
INSTALL_S: Final = 300.0
LAUNCH_S: Final = 60.0
COPY_BASE_S: Final = 60.0
COPY_BYTES_PER_S: Final = 1_000_000
PULL_MAX: Final = (64 << 20) + 1
EVIDENCE_MAX: Final = 4000
REPORTS_MAX: Final = 5
_REPORT_S: Final = 10.0
_LOOK_S: Final = 1.0
_FOLDER: Final = "Documents/palmtop"
_NOT_TOLD: Final = Unavailable(reason="devicectl does not tell it; the app does")
_NO_METER: Final = Unavailable(reason="an iPhone tells its battery's level in coarse steps: that is no meter")


class PhoneDevice:
    """An iPhone or iPad; see :class:`mobile_harness.transports.base.Device`."""

    def __init__(self, info: DeviceInfo, phone: Phone, xcode: Xcode, tools: Tools) -> None:
        self.info = info
        self.runner = "app"
        self.tools: tuple[ToolVersion, ...] = (ToolVersion(name="Xcode", version=f"{xcode.version} ({xcode.build})"),)
        self._phone = phone
        self._xcrun = Xcrun(tools)
        self._clock = tools.clock
        self._emit = tools.emit
        self._pushed: dict[str, Blob] = {}
        self._apps: dict[str, BenchApp] = {}
        self._sent: dict[str, set[str]] = {}
        self._current: BenchApp | None = None
        self._running: Running | None = None
        self._before: frozenset[str] = frozenset()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def push(self, blob: Blob) -> str:
        check_content(blob)
        place = f"{_FOLDER}/blobs/{blob.sha256[:32]}{blob.path.suffix}"
        self._pushed[place] = blob
        return place

    def launch(self, job: Job) -> None:
        self.stop()
        app = self._apps.get(job.target) or _apple_app.needed(job.target, "iPhoneOS", os.environ)
        with as_device_failure():
            self._check_ready()
            self._install(job.target, app)
            for place in filter(None, (job.model, job.golden)):
                self._send(app, place)
            self._current = app
            self._before = self._reports()
            out = _apple_app.result_of(job.run)
            words = ["device", "process", "launch", "--terminate-existing", "--console", *self._device()]
            argv = ["xcrun", "devicectl", *words, app.bundle_id, _apple_app.order_of(job, out)]
            self._running = Running(argv, self._folder(), self._clock)
            self._running.wait_started(LAUNCH_S)

    def poll(self, timeout_s: float) -> News:
        return self._running.poll(timeout_s) if self._running else News(lines=(), running=False, ended="never started")

    def vitals(self, moment: Moment) -> Vitals:
        return untold(self._clock.monotonic_ns(), moment, _NOT_TOLD, app=_NOT_TOLD, power=_NO_METER)

    def pull(self, run: str) -> bytes | None:
        if self._current is None:
            return None
        place = self._folder() / f"{run}.jsonl"
        place.unlink(missing_ok=True)
        with as_device_failure():
            if not self._copy_from(self._container(self._current), _apple_app.result_of(run), place):
                return None
        if place.is_symlink() or not place.is_file():
            return None
        with place.open("rb") as file:
            return file.read(PULL_MAX)

    def evidence(self) -> str:
        if self._running is None or self._current is None or self._running.ended_well:
            return ""
        try:
            if not self._running.is_over:
                for pid in self._pids(self._current):  # made to crash, it leaves a report with its stacks
                    words = ["device", "process", "signal", *self._device(), "--pid", str(pid), "--signal", "SIGABRT"]
                    self._xcrun.devicectl(words, ASK_S)
            return self._new_report(Path(self._current.folder_name).stem)[-EVIDENCE_MAX:]
        except (AppleFailed, ToolMissing) as error:
            return f"The iPhone says nothing of the end: {error.message}"

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is None or self._current is None:
            return
        with self._told("stop"):
            for pid in () if running.is_over else self._pids(self._current):
                words = ["device", "process", "terminate", *self._device(), "--pid", str(pid), "--kill"]
                self._xcrun.devicectl(words, ASK_S)
        running.stop()

    def cleanup(self) -> None:
        self.stop()
        for app in {app.bundle_id: app for app in self._apps.values()}.values():
            with self._told("clean up"):
                self._empty(app)
        self._current = None
        self._apps.clear()
        self._sent.clear()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _check_ready(self) -> None:
        """See that apps can be started: what the list says of a phone at rest is old."""
        details = phones.read_details(self._xcrun.devicectl(["device", "info", "details", *self._device()], ASK_S))
        lock = phones.read_lock(self._xcrun.devicectl(["device", "info", "lockState", *self._device()], ASK_S))
        if isinstance(details, Unreadable) or isinstance(lock, Unreadable):
            reason = details.reason if isinstance(details, Unreadable) else lock.reason  # type: ignore[union-attr]
            raise AppleFailed(f"What the iPhone says of itself cannot be read: {reason}.", kind="garbage")
        if details.developer_mode == "disabled":
            raise AppleFailed(f"Developer Mode is off on {self.info.model}.", kind="developer_mode")
        if lock.passcode_required:
            raise AppleFailed(f"{self.info.model} is locked.", kind="locked")

    def _install(self, target: str, app: BenchApp) -> None:
        if target not in self._apps and app.folder is not None:
            words = ["device", "install", "app", *self._device(), str(app.folder)]
            installed = phones.read_installed(self._xcrun.devicectl(words, INSTALL_S))
            if isinstance(installed, Unreadable) or app.bundle_id not in installed:
                raise AppleFailed(f"{app.bundle_id} was not installed, and no reason is given.", kind="garbage")
        self._apps[target] = app

    def _send(self, app: BenchApp, place: str) -> None:
        """Copy what was pushed into the app's folder, once."""
        blob = self._pushed.get(place)
        sent = self._sent.setdefault(app.bundle_id, set())
        if place in sent:
            return
        if blob is None:
            raise DeviceFailed(f"{place} was never pushed.", kind="cannot_launch")
        check_content(blob)
        words = ["device", "copy", "to", *self._device(), *self._container(app)]
        deadline_s = COPY_BASE_S + blob.size_bytes / COPY_BYTES_PER_S
        self._xcrun.devicectl([*words, "--source", str(blob.path), "--destination", place], deadline_s)
        sent.add(place)

    def _empty(self, app: BenchApp) -> None:
        """Put an empty folder in the place of ours: devicectl has no other way to remove files."""
        empty = self._folder() / "empty"
        empty.mkdir(exist_ok=True)
        words = ["device", "copy", "to", *self._device(), *self._container(app), "--remove-existing-content", "true"]
        self._xcrun.devicectl([*words, "--source", str(empty), "--destination", _FOLDER], COPY_BASE_S)

    def _copy_from(self, domain: list[str], source: str, place: Path) -> bool:
        words = ["device", "copy", "from", *self._device(), *domain, "--source", source, "--destination", str(place)]
        try:
            self._xcrun.devicectl(words, COPY_BASE_S + PULL_MAX / COPY_BYTES_PER_S)
        except AppleFailed as error:
            if error.kind == "not_found" and "device was not found" not in error.message:
                return False
            raise
        return True

    def _pids(self, app: BenchApp) -> tuple[int, ...]:
        if not app.folder_name:
            return ()
        said = self._xcrun.devicectl(["device", "info", "processes", *self._device()], ASK_S)
        found = phones.read_processes(said, app.folder_name)
        return () if isinstance(found, Unreadable) else found

    def _reports(self) -> frozenset[str]:
        words = ["device", "info", "files", *self._device(), "--domain-type", "systemCrashLogs"]
        found = phones.read_files(self._xcrun.devicectl(words, ASK_S))
        return frozenset(() if isinstance(found, Unreadable) else found)

    def _new_report(self, app: str) -> str:
        """Return the app's crash that was not there before the session, waiting for it while it is being written."""
        end_ns = self._clock.monotonic_ns() + int(_REPORT_S * 1e9)
        while True:
            named = {file: crashes.name_of(file) for file in self._reports() - self._before}
            ours = sorted((name[1], file) for file, name in named.items() if name is not None and name[0] == app)
            for _, file in reversed(ours[-REPORTS_MAX:]):
                place = self._folder() / "crash.ips"
                if self._copy_from(["--domain-type", "systemCrashLogs"], file, place):
                    crash = crashes.read_file(place)
                    if isinstance(crash, Crash):
                        return crash.words()
            if self._clock.monotonic_ns() > end_ns:
                return ""
            self._clock.sleep(_LOOK_S)

    def _device(self) -> list[str]:
        return ["--device", self._phone.udid or self._phone.identifier]

    def _container(self, app: BenchApp) -> list[str]:
        return ["--domain-type", "appDataContainer", "--domain-identifier", app.bundle_id]

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
            words = f"{error.message} What is left stays in the app's folder {_FOLDER} until the next run."
            subject = f"{self.info.transport}:{self.info.serial}"
            self._emit(Event(subject=subject, phase=phase, message=words, level="warning"))
