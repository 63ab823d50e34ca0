"""Android emulators: which there are, creating one, starting one without a window, and ending those that we started.

Sources: developer.android.com/studio/run/emulator-commandline and …/tools/avdmanager. An emulator takes a console port,
even and from 5554 to 5682, and the next one for adb; its serial is ``emulator-PORT``. It is started read-only, so that
what a run does to it is gone when it ends. What we started is written down, and nothing else is ever ended.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import filelock
import psutil

from mobile_harness.adb import server as servers
from mobile_harness.adb.address import VARIABLE, Server, servers_of
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Route, Session
from mobile_harness.vitals import reading
from toolkit.core import codec, process, store
from toolkit.core.errors import PalmtopError, SettingsError, ToolMissing, unknown_name
from toolkit.core.events import Event
from toolkit.core.tools import Tools

PORTS: Final = range(5554, 5683, 2)
BOOT_S: Final = 600.0
LIST_S: Final = 20.0
CREATE_S: Final = 120.0
STOP_S: Final = 30.0
LOG_LINES: Final = 8
SAID_MAX: Final = 600
_LOOK_S: Final = 1.0
_ASK_S: Final = 10.0
_STATE_MAX: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IMAGE: Final = re.compile(r"system-images;[A-Za-z0-9._-]+;[A-Za-z0-9._-]+;[A-Za-z0-9._-]+")
_SDKS: Final = ("~/Android/Sdk", "~/Library/Android/sdk", "~/AppData/Local/Android/Sdk")
_PLACES: Final[dict[str, tuple[str, ...]]] = {
    "emulator": ("emulator",),
    "avdmanager": ("cmdline-tools/latest/bin", "cmdline-tools/bin", "tools/bin"),
}
_INSTALL: Final[dict[str, str]] = {
    "emulator": "Install it with `sdkmanager emulator`, and name the SDK in ANDROID_HOME.",
    "avdmanager": "Install Android's command-line tools, and name the SDK in ANDROID_HOME.",
}


class EmulatorFailed(PalmtopError):
    """An emulator does not do what it was asked to."""

    exit_code = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An emulator that we started; ``started`` is when its process was, in seconds of the epoch."""

    name: str
    serial: str
    pid: int
    started: float
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the state file says."""

    schema: Literal[1] = 1
    running: tuple[Running, ...] = ()


def find(program: str, environment: Mapping[str, str]) -> str:
    """Return a program of Android's SDK: on the path, in ``ANDROID_HOME``, or where the SDK usually is.

    Raises:
        ToolMissing: it is in none of these.
    """
    found = shutil.which(program, path=environment.get("PATH", ""))
    if found:
        return found
    roots = [environment.get("ANDROID_HOME", ""), environment.get("ANDROID_SDK_ROOT", ""), *_SDKS]
    for root in filter(None, roots):
        for folder in _PLACES[program]:
            path = Path(root).expanduser() / folder / program
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    raise ToolMissing(f"Android's {program!r} is not installed.", hint=_INSTALL[program])


def names(tools: Tools) -> tuple[str, ...]:
    """Return the names of the emulators (AVDs) of this user.

    Raises:
        ToolMissing: the emulator is not installed.
        EmulatorFailed: it does not list them.
    """
    finished = _ran(tools, [find("emulator", os.environ), "-list-avds"], LIST_S)
    if finished.code:
        raise EmulatorFailed(f"The emulators cannot be listed: {finished.describe()}: {finished.tail(3)[-SAID_MAX:]}")
    return read_names(finished.stdout)


def read_names(text: str) -> tuple[str, ...]:
    r"""Return the names in the output of ``emulator -list-avds``; newer versions write news between them.

    >>> read_names("INFO    | Storing crashdata in: /tmp/x\nPixel_8_API_35\n")
    ('Pixel_8_API_35',)
    """
    lines = (line.strip() for line in reading.lines(text))
    return tuple(dict.fromkeys(line for line in lines if _NAME.fullmatch(line)))


def create(name: str, image: str, tools: Tools) -> None:
    """Create an emulator of a system image that is installed.

    Args:
        name: the new emulator's.
        image: such as ``system-images;android-35;google_apis;x86_64``.
        tools: how to run a program.

    Raises:
        ToolMissing: ``avdmanager`` is not installed.
        SettingsError: the name or the image cannot be, or is taken or not installed; the latter with what installs it.
        EmulatorFailed: it was not created.
    """
    if not _NAME.fullmatch(name) or not _IMAGE.fullmatch(image):
        bad = f"{name!r} can be no emulator's name" if not _NAME.fullmatch(name) else f"{image!r} is no system image"
        raise SettingsError(
            f"{bad}.", hint="Write: NAME --create --image 'system-images;android-35;google_apis;x86_64'"
        )
    argv = [find("avdmanager", os.environ), "--silent", "create", "avd", "--name", name, "--package", image]
    finished = _ran(tools, argv, CREATE_S, stdin="no\n")  # it asks whether a hardware profile is to be made
    said = f"{finished.stdout}\n{finished.stderr}"
    if "Package path is not valid" in said:
        raise SettingsError(f"The system image {image} is not installed.", hint=f"Install it: sdkmanager '{image}'")
    if "already exists" in said:
        raise SettingsError(f"The emulator {name!r} exists already.", hint=f"Start it: palmtop devices boot {name}")
    if finished.code or "Error:" in said:
        raise EmulatorFailed(f"{name} was not created: {finished.describe()}: {finished.tail(3)[-SAID_MAX:]}")


def boot(name: str, folder: Path, tools: Tools, deadline_s: float = BOOT_S) -> Running:
    """Start an emulator without a window and wait until Android is up on it.

    Args:
        name: one of :func:`names`.
        folder: where its log and what we started are written down.
        tools: this machine.
        deadline_s: seconds until it is given up and ended.

    Raises:
        ToolMissing: the emulator is not installed.
        SettingsError: there is none of that name.
        EmulatorFailed: it runs already, its process ended (with its last words), or it is not up in time.
    """
    program = find("emulator", os.environ)
    known = names(tools)
    if name not in known:
        raise unknown_name("emulator", name, known)
    server = _server()
    servers.start(server, tools.run)
    with _changing(folder) as state:
        ours = next((item for item in state.running if item.name == name), None)
    if ours is not None:
        raise EmulatorFailed(
            f"{name} runs already, as {ours.serial}.", hint=f"Stop it first: `palmtop devices stop {name}`."
        )
    port = _free_port(server)
    log = folder / f"emulator-{name}.log"
    with store.writing_to(log), log.open("wb") as file:
        argv = [
            program, "-avd", name, "-port", str(port), "-no-window", "-no-audio", "-no-boot-anim", "-no-snapshot",
            "-gpu", "swiftshader_indirect", "-read-only",
        ]  # fmt: skip
        child = process.detach(argv, log=file, env={"ANDROID_ADB_SERVER_PORT": str(server.port)})
    running = Running(name=name, serial=f"emulator-{port}", pid=child.pid, started=_started(child.pid), log=str(log))
    try:
        with _changing(folder) as state:
            _keep(folder, (*state.running, running))
        _wait_until_up(running, child, server, tools, deadline_s)
    except BaseException:
        _end(running)
        with _changing(folder) as state:
            _keep(folder, tuple(item for item in state.running if item != running))
        raise
    return running


def stop(name: str, folder: Path) -> Running:
    """End an emulator that we started, named by its name or serial.

    Raises:
        SettingsError: we started none of that name.
        EmulatorFailed: its process does not end.
    """
    with _changing(folder) as state:
        found = next((item for item in state.running if name in (item.name, item.serial)), None)
        if found is None:
            running = ", ".join(item.name for item in state.running) or "nothing"
            raise SettingsError(
                f"palmtop has started no device {name!r}.",
                hint=f"Of emulators it runs: {running}. Virtual devices end with `palmtop devices stop virtual`.",
            )
        _end(found)
        _keep(folder, tuple(item for item in state.running if item != found))
    return found


def started(folder: Path) -> tuple[Running, ...]:
    """Return the emulators that we started and that still run."""
    with _changing(folder) as state:
        return state.running


def _server() -> Server:
    local = next((server for server in servers_of(os.environ) if server.is_local), None)
    if local is None:
        raise SettingsError(
            f"An emulator needs an adb server of this machine, and {VARIABLE} names none.", hint=f"Unset {VARIABLE}."
        )
    return local


def _free_port(server: Server) -> int:
    """Return the console port of a pair that nobody listens on and the server does not know."""
    taken = {row.serial for row in servers.rows(server, _ASK_S)}
    for port in PORTS:
        if f"emulator-{port}" not in taken and _is_free(port) and _is_free(port + 1):
            return port
    raise EmulatorFailed(f"All ports for emulators are taken ({PORTS[0]} to {PORTS[-1]}).", hint="Stop some emulators.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_up(running: Running, child: process.Detached, server: Server, tools: Tools, deadline_s: float) -> None:
    """Wait until the system says that it has booted and the package manager answers."""
    session = Session([Route(server=server, serial=running.serial)], running.serial, tools.clock, tools.run)
    end_ns = tools.clock.monotonic_ns() + int(deadline_s * 1e9)
    phase = ""
    while True:
        code = child.code()
        if code is not None:
            raise EmulatorFailed(
                f"The emulator {running.name} ended with {process.exit_words(code)}: {_last_words(running)}",
                hint=f"Its whole log is {running.log}.",
            )
        now = _phase(session)
        if now != phase:
            tools.emit(Event(subject=running.serial, phase=now, message=running.name))
        if now == "done":
            return
        phase = now
        if tools.clock.monotonic_ns() > end_ns:
            raise EmulatorFailed(
                f"The emulator {running.name} is not up after {deadline_s:.0f} s: {phase}. {_last_words(running)}",
                hint="Without hardware acceleration (KVM) it takes very long: `emulator -accel-check`; or --timeout.",
            )
        tools.clock.sleep(_LOOK_S)


def _phase(session: Session) -> str:
    """Return how far the system is; ``done`` once apps can be installed."""
    try:
        booted = session.run(["getprop", "sys.boot_completed"], _ASK_S).text.strip()
        if booted != "1":
            return "booting"
        packages = session.run(["pm", "path", "android"], _ASK_S)
    except AdbFailed:
        return "starting"  # it is not attached yet, or comes and goes, as they do while they boot
    return "done" if packages.code == 0 and packages.text.startswith("package:") else "starting its package manager"


def _last_words(running: Running) -> str:
    """Return what the emulator complained of last, else what it said last."""
    with Path(running.log).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - (64 << 10)))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    complaints = [line for line in lines if re.search(r"ERROR|FATAL|PANIC|emulator: ", line)]
    return " ".join((complaints or lines)[-LOG_LINES:])[-SAID_MAX:] or "it said nothing"


def _end(running: Running) -> None:
    """End an emulator's process group: asked to first, then killed."""
    if not _lives(running):
        return
    for word in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(running.pid, word)
            psutil.Process(running.pid).wait(STOP_S)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return
        except psutil.TimeoutExpired:
            continue
        return
    raise EmulatorFailed(f"The process {running.pid} of the emulator {running.name} does not end.")


def _lives(running: Running) -> bool:
    """Say whether the process is still that emulator's: its number may be another's by now."""
    return abs(_started(running.pid) - running.started) < 1.0


def _started(pid: int) -> float:
    """Return when a process began, in seconds of the epoch; 0 when there is none."""
    try:
        found = psutil.Process(pid)
        return 0.0 if found.status() == psutil.STATUS_ZOMBIE else float(found.create_time())
    except psutil.Error:
        return 0.0


@contextmanager
def _changing(folder: Path) -> Iterator[State]:
    """Yield what still runs of what we started, while no other process of ours changes it."""
    with store.writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "emulators.lock", timeout=60):
        state = _read(folder / "emulators.json")
        yield State(running=tuple(item for item in state.running if _lives(item)))


def _read(path: Path) -> State:
    try:
        with path.open("rb") as file:
            plain = json.loads(file.read(_STATE_MAX))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError) as error:
        raise SettingsError(f"The state file {path} cannot be read: {error}", hint="Delete it.") from error
    return codec.structure(plain, State, what=f"state file {path}")


def _keep(folder: Path, running: tuple[Running, ...]) -> None:
    store.write_atomic(folder / "emulators.json", codec.pretty(State(running=running)))


def _ran(tools: Tools, argv: list[str], deadline_s: float, stdin: str = "") -> process.Finished:
    try:
        return tools.run(argv, deadline_s=deadline_s, stdin=stdin)
    except OSError as error:
        raise EmulatorFailed(f"{argv[0]} does not run: {error.strerror or error}.") from error
