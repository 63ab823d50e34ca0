"""A simulator behind the verbs of every transport."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mobile_harness.apple.errors import AppleFailed
from mobile_harness.apple.simulators import read_pid
from mobile_harness.apple.xcode import Xcode, Xcrun
from mobile_harness.records import DeviceInfo
from mobile_harness.records.state import Unavailable, Vitals
from mobile_harness.transports import _apple_app
from mobile_harness.transports._apple_app import BenchApp
from mobile_harness.transports._apple_trouble import as_device_failure, check_content, check_same, untold
from mobile_harness.transports._simctl_own import Likeness, OwnSimulator
from mobile_harness.transports._simctl_run import Running
from mobile_harness.transports.base import DeviceFailed, Job, Moment, News
from toolkit.core import store
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.errors import OutputError, ToolMissing
from toolkit.core.events import Event
from toolkit.core.tools import Tools

INSTALL_S: Final = 180.0
LAUNCH_S: Final = 120.0
COMMAND_S: Final = 30.0
PULL_MAX: Final = (64 << 20) + 1
EVIDENCE_MAX: Final = 4000
_BLOBS: Final = "tmp/palmtop"
_NOT_HERE: Final = Unavailable(reason="a simulator has none of its own: it runs on this computer")
_BY_APP: Final = Unavailable(reason="the app itself tells its footprint")


class SimulatorDevice:
    """A simulator; see :class:`mobile_harness.transports.base.Device`. It works on a throw-away likeness."""

    def __init__(self, info: DeviceInfo, likeness: Likeness, xcode: Xcode, tools: Tools) -> None:
        self.info = info
        self.runner = "app"
        self.tools: tuple[ToolVersion, ...] = (ToolVersion(name="Xcode", version=f"{xcode.version} ({xcode.build})"),)
        self._xcrun = Xcrun(tools)
        self._own = OwnSimulator(self._xcrun, likeness)
        self._clock = tools.clock
        self._emit = tools.emit
        self._installed: dict[str, BenchApp] = {}
        self._current: BenchApp | None = None
        self._running: Running | None = None

    def push(self, blob: Blob) -> str:
        check_content(blob)
        with as_device_failure():
            place = self._own.make() / _BLOBS / f"{blob.sha256[:32]}{blob.path.suffix}"
        try:
            if not place.exists() or store.sha256_of(place) != blob.sha256:
                _copy_whole(blob, place)
            check_same(blob, place)
        except OutputError as error:
            raise DeviceFailed(error.message, kind="storage", hint="Free storage on this Mac.") from error
        return str(place)

    def launch(self, job: Job) -> None:
        self.stop()
        app = self._installed.get(job.target) or _apple_app.needed(job.target, "iPhoneSimulator", os.environ)
        with as_device_failure():
            self._own.boot()
            if app.folder is not None and job.target not in self._installed:
                self._xcrun.simctl(["install", self._own.udid, str(app.folder)], INSTALL_S)
            self._installed[job.target] = app
            self._current = app
            result = self._container(app) / _apple_app.result_of(job.run)
            order = _apple_app.order_of(job, str(result))
            words = ["launch", "--terminate-running-process", self._own.udid, app.bundle_id, order]
            said = self._xcrun.simctl(words, LAUNCH_S)
            pid = read_pid(said.stdout, app.bundle_id)
            if pid is None:
                raise AppleFailed("`simctl launch` does not name the process that it started.", kind="garbage")
        self._running = Running(pid, result, job.run, self._clock)

    def poll(self, timeout_s: float) -> News:
        return self._running.poll(timeout_s) if self._running else News(lines=(), running=False, ended="never started")

    def vitals(self, moment: Moment) -> Vitals:
        return untold(self._clock.monotonic_ns(), moment, _NOT_HERE, app=_BY_APP, power=_NOT_HERE)

    def pull(self, run: str) -> bytes | None:
        if self._current is None:
            return None
        with as_device_failure():
            path = self._container(self._current) / _apple_app.result_of(run)
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(PULL_MAX)

    def evidence(self) -> str:
        return self._running.evidence()[-EVIDENCE_MAX:] if self._running else ""

    def stop(self) -> None:
        if self._running is None or self._current is None:
            return
        bundle_id = self._current.bundle_id
        if self._running.lives():
            with self._told("stop"):
                words = ["terminate", self._own.udid, bundle_id]
                self._xcrun.simctl(words, COMMAND_S, ok=("app_missing", "state", "not_found"))
        self._running.end()

    def cleanup(self) -> None:
        self.stop()
        self._running = self._current = None
        self._installed.clear()
        with self._told("clean up"):
            self._own.delete()

    def _container(self, app: BenchApp) -> Path:
        """Return where the app's own folder lies on this computer; it moves with every installation."""
        said = self._xcrun.simctl(["get_app_container", self._own.udid, app.bundle_id, "data"], COMMAND_S).stdout
        place = said.strip()
        if not place.startswith("/") or "\n" in place or "\0" in place:
            raise AppleFailed("`simctl get_app_container` names no folder.", kind="garbage")
        return Path(place)

    @contextmanager
    def _told(self, phase: str) -> Iterator[None]:
        """Have trouble said and not raised: the verb is safe at any time."""
        try:
            yield
        except (AppleFailed, ToolMissing) as error:
            words = f"{error.message} What is left goes with the next run."
            subject = f"{self.info.transport}:{self.info.serial}"
            self._emit(Event(subject=subject, phase=phase, message=words, level="warning"))


def _copy_whole(blob: Blob, place: Path) -> None:
    """Copy under another name and rename at the end: what is cut short is never taken up."""
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        store.copy_blob(blob, part)
        with store.writing_to(place):
            _remove(place)
            part.rename(place)
    finally:
        _remove(part)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
