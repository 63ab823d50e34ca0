"""An Android device behind the verbs of every transport."""

from __future__ import annotations

import base64
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeVar

from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.server import ServerInfo
from mobile_harness.adb.session import Session
from mobile_harness.records import DeviceInfo
from mobile_harness.records.state import Vitals
from mobile_harness.transports import _adb_app, _adb_blobs
from mobile_harness.transports._adb_app import BenchApp, Storage
from mobile_harness.transports._adb_place import Place
from mobile_harness.transports._adb_runner import Running
from mobile_harness.transports._adb_trouble import as_device_failure, steadily
from mobile_harness.transports._adb_vitals import Looks
from mobile_harness.transports.base import DeviceFailed, Job, Moment, News
from toolkit.core import codec
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.errors import SettingsError
from toolkit.core.events import Event
from toolkit.core.tools import Tools

T = TypeVar("T")

COMMAND_S: Final = 20.0
PULL_MAX: Final = (64 << 20) + 1
PULL_S: Final = 120.0
ORDER_MAX: Final = 8 << 10
EVIDENCE_MAX: Final = 4000
STOP_BACK_S: Final = 5.0
_AFTER_DEADLINE_S: Final = 300.0
_STACKS_S: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installed:
    """An app that is on the device, and where its results can be fetched from."""

    app: BenchApp
    storage: Storage

    def result(self, run: str) -> str:
        """Return where the app writes the result file of a run."""
        home = "/data/data" if self.storage == "internal" else "/sdcard/Android/data"
        return f"{home}/{self.app.package}/files/palmtop/{run}.jsonl"


class AdbDevice:
    """An Android device; see :class:`mobile_harness.transports.base.Device`."""

    def __init__(self, session: Session, info: DeviceInfo, server: ServerInfo, tools: Tools) -> None:
        self.info = info
        self.runner = "app"
        self.tools: tuple[ToolVersion, ...] = (
            ToolVersion(name="adbutils", version=version("adbutils")),
            ToolVersion(name=f"adb server {server.server}", version=server.words),
        )
        self._session = session
        self._server = server
        self._tools = tools
        self._clock = tools.clock
        self._emit = tools.emit
        self._place = Place(session)
        self._looks = Looks(session, tools.clock)
        self._apps: dict[str, _Installed] = {}
        self._current: _Installed | None = None
        self._running: Running | None = None
        self._may_run = False

    def push(self, blob: Blob) -> str:
        def put() -> str:
            self._prepare()
            return _adb_blobs.put(self._session, f"{self._place.path}/blobs", blob)

        with as_device_failure("cannot_launch"):
            return steadily(self._session, put)

    def launch(self, job: Job) -> None:
        self.stop()
        with as_device_failure("cannot_launch"):
            installed, word = steadily(self._session, lambda: self._ready(job))
            argv = ["am", "instrument", "-w", "-r", "-e", "palmtop", word, installed.app.component]
            self._current = installed
            self._may_run = True
            self._running = Running(self._session, argv, job.plan.session_deadline_s + _AFTER_DEADLINE_S)

    def poll(self, timeout_s: float) -> News:
        if self._running is None:
            return News(lines=(), running=False, ended="never started")
        with as_device_failure("lost"):
            return self._running.poll(timeout_s)

    def vitals(self, moment: Moment) -> Vitals:
        current = self._current
        package = "" if current is None else current.app.package
        debuggable = None if current is None else current.storage == "internal"
        with as_device_failure("lost"):
            if moment == "loaded":  # once: what would be asked again may fall into the timed runs
                return self._looks.look(moment, package, debuggable)
            return steadily(self._session, lambda: self._looks.look(moment, package, debuggable))

    def pull(self, run: str) -> bytes | None:
        if self._current is None:
            return None
        installed = self._current
        with as_device_failure("lost"):
            return steadily(self._session, lambda: self._fetch(installed, installed.result(run)), STOP_BACK_S)

    def evidence(self) -> str:
        if self._current is None:
            return ""
        package = self._current.app.package
        try:
            parts = steadily(
                self._session,
                lambda: [*self._stacks(package), self._crash(package), self._exit(package)],
                STOP_BACK_S,
            )
        except AdbFailed as error:
            return f"The device says nothing of the end: {error.message}"
        return "\n".join(part for part in parts if part)[-EVIDENCE_MAX:]

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()
        if self._current is not None and self._may_run:
            package = self._current.app.package
            with self._told("stop", f"{package} may still run there; the next start ends it"):
                steadily(self._session, lambda: self._force_stop(package), STOP_BACK_S)
                self._may_run = False

    def cleanup(self) -> None:
        self.stop()
        with self._told("clean up", f"{self._place.path} stays there until the next run"):
            steadily(self._session, self._forget, STOP_BACK_S)
        self._current = None
        self._apps.clear()

    def seen_as(self, face: Callable[[Session, DeviceInfo, ServerInfo, Tools], T]) -> T:
        """Return the same device behind another face, such as one with another runner. Only one of them may be used."""
        return face(self._session, self.info, self._server, self._tools)

    def _forget(self) -> None:
        left: list[str] = []
        results = {item.result("*").rpartition("/")[0]: item for item in self._apps.values()}
        for folder, item in results.items():
            prefix = ["run-as", item.app.package] if item.storage == "internal" else []
            gone = self._session.run([*prefix, "rm", "-rf", folder], COMMAND_S)
            if gone.code:
                left.append(f"{folder} of {item.app.package}: {gone.said()}")
        self._place.clear()
        if left:
            raise AdbFailed(f"The results there cannot be removed: {'; '.join(left)}.", kind="refused")

    def _prepare(self) -> None:
        self._place.make()
        if self._place.refusal:
            self._say("prepare", f"its screen may go dark while measuring: {self._place.refusal}")
            self._place.refusal = ""

    def _ready(self, job: Job) -> tuple[_Installed, str]:
        """Do all that precedes the start, and may be done again: nothing of the session runs yet."""
        self._prepare()
        installed = self._app(job.target)
        self._force_stop(installed.app.package)
        order = {
            "run": job.run,
            "target": job.target,
            "model": job.model,
            "model_sha256": job.model_sha256,
            "golden": job.golden,
            "plan": codec.unstructure(job.plan),
            "out": installed.result(job.run),
        }
        text = json.dumps(order).encode("ascii")
        word = base64.urlsafe_b64encode(text).decode("ascii")
        return installed, word if len(word) <= ORDER_MAX else f"@{self._order_file(job.run, text)}"

    def _order_file(self, run: str, text: bytes) -> str:
        place = f"{self._place.path}/{run}.plan.json"
        self._session.push_bytes(text, place)
        return place

    def _app(self, target: str) -> _Installed:
        if target not in self._apps:
            try:
                apps = _adb_app.apps_for(target, os.environ)
            except SettingsError as error:
                raise DeviceFailed(error.message, kind="cannot_launch", hint=error.hint) from error
            app, storage = _adb_app.ensure(self._session, apps, self._clock)
            self._apps[target] = _Installed(app=app, storage=storage)
        return self._apps[target]

    def _force_stop(self, package: str) -> None:
        self._session.run(["am", "force-stop", package], COMMAND_S)

    def _fetch(self, installed: _Installed, path: str) -> bytes | None:
        if installed.storage == "external":
            return self._session.fetch(path, PULL_MAX)
        argv = ["run-as", installed.app.package, "cat", path]
        result = self._session.run(argv, PULL_S, output_max=PULL_MAX)
        if result.code == 0:
            return result.stdout
        if b"No such file" in result.stderr or b"unknown package" in result.stderr:
            return None
        raise AdbFailed(f"The result on {self._session.name} cannot be read: {result.said()}", kind="refused")

    def _stacks(self, package: str) -> list[str]:
        """Have a running app write its stacks to the log, and return what it wrote."""
        pids = self._session.run(["pidof", package], COMMAND_S).text.split()
        if not pids or not pids[0].isdigit():
            return []
        self._session.run(["run-as", package, "kill", "-3", pids[0]], COMMAND_S)
        self._clock.sleep(_STACKS_S)
        said = self._session.run(["logcat", "-d", "-v", "brief", "-t", "200", f"--pid={pids[0]}"], COMMAND_S)
        return [said.text.strip()[-EVIDENCE_MAX // 2 :]]

    def _crash(self, package: str) -> str:
        """Return the newest crash in the log that names the app."""
        said = self._session.run(["logcat", "-b", "crash", "-d", "-v", "brief", "-t", "100"], COMMAND_S)
        lines = said.text.splitlines()
        at = max((number for number, line in enumerate(lines) if package in line), default=None)
        return "" if at is None else "\n".join(lines[max(0, at - 2) : at + 40])[: EVIDENCE_MAX // 2]

    def _exit(self, package: str) -> str:
        """Return the system's newest word on how the app ended (Android 11 and later)."""
        said = self._session.run(["dumpsys", "activity", "exit-info", package], COMMAND_S)
        lines = [line.strip() for line in said.text.splitlines()]
        at = next((number for number, line in enumerate(lines) if line.startswith("ApplicationExitInfo")), None)
        newest = (
            [] if at is None else itertools.takewhile(lambda line: "ExitInfo #" not in line, lines[at + 1 : at + 8])
        )
        return " ".join(newest)[:400]

    @contextmanager
    def _told(self, phase: str, consequence: str) -> Iterator[None]:
        """Have trouble said and not raised: the verb is safe at any time, also when the device is gone."""
        try:
            yield
        except AdbFailed as error:
            self._say(phase, f"{error.message} {consequence}.")

    def _say(self, phase: str, message: str) -> None:
        subject = f"{self.info.transport}:{self.info.serial}"
        self._emit(Event(subject=subject, phase=phase, message=message, level="warning"))
