"""An app's screen on a device: started with a parsed outcome, and what the app then says in the log."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mobile_harness.adb.address import is_listening, servers_of
from mobile_harness.adb.session import Session
from mobile_harness.transports import _adb_found
from mobile_harness.transports._adb_trouble import as_device_failure
from mobile_harness.transports.base import DeviceFailed
from mobile_harness.vitals.outcomes import Start, read_start
from mobile_harness.vitals.reading import Unreadable
from toolkit.core.errors import SettingsError, unknown_name
from toolkit.core.tools import Tools

START_S: Final = 45.0
LOG_S: Final = 20.0
LOG_BYTES_MAX: Final = 256 << 10
LOG_LINES_MAX: Final = 5000
COMPONENT: Final = re.compile(r"([A-Za-z]\w*(?:\.[A-Za-z]\w*)+)/(\.?[A-Za-z][\w.$]*)", re.ASCII)
_WRITE: Final = "Write it as org.example.app/.MainActivity."
_KEY: Final = re.compile(r"[A-Za-z][\w.-]{0,99}", re.ASCII)


def start_activity(session: Session, component: str, extras: Mapping[str, str] | None = None) -> Start:
    """Bring an app's activity to the front, in a fresh process, and return how it went.

    Args:
        session: the device.
        component: ``package/activity``.
        extras: words for the activity, by their keys.

    Raises:
        DeviceFailed: ``cannot_launch``; the device refuses, or something else came to the front.
        AdbFailed: the device cannot be reached.
    """
    found = COMPONENT.fullmatch(component)
    bad = [key for key in extras or {} if not _KEY.fullmatch(key)]
    if found is None or bad:
        what = f"{component!r} is no package/activity" if found is None else f"{bad[0]!r} is no key of an extra"
        raise DeviceFailed(f"{what}.", kind="cannot_launch", hint=_WRITE)
    words = [word for key, value in (extras or {}).items() for word in ("--es", key, value)]
    said = session.run(["am", "start", "-W", "-S", "-n", component, *words], START_S)
    start = read_start(f"{said.text}\n{said.stderr.decode('utf-8', 'replace')}")
    failure = start.reason if isinstance(start, Unreadable) else start.failure(found.group(1))
    if failure or isinstance(start, Unreadable):
        raise DeviceFailed(
            f"{component} does not start on {session.name}: {failure.rstrip('.')}.",
            kind="cannot_launch",
            hint="Is the app installed, the screen unlocked, and the activity exported?",
        )
    return start


def read_log(session: Session, package: str, lines: int = 200) -> str:
    """Return the end of what a running app wrote to the log; empty when it does not run.

    At most ``lines`` lines and :data:`LOG_BYTES_MAX` bytes come, whatever the app writes.

    Raises:
        AdbFailed: the device cannot be reached.
    """
    pids = session.run(["pidof", package], LOG_S).text.split()
    if not pids or not pids[0].isdigit():
        return ""
    argv = ["logcat", "-d", "-v", "threadtime", "-t", str(min(lines, LOG_LINES_MAX)), f"--pid={pids[0]}"]
    return session.run(argv, LOG_S, output_max=LOG_BYTES_MAX).text


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An app that was brought to the front on ``device`` (a selector), and the end of what it wrote to the log."""

    device: str
    start: Start
    log: str


def open_on(selector: str, component: str, tools: Tools) -> Opened:
    """Find one device by its selector, start an app's activity there, and read its log.

    Raises:
        SettingsError: no device of that name can be used; the nearest is offered, or the reason.
        DeviceFailed: see :func:`start_activity`; ``lost``, the device cannot be reached.
    """
    asked = [server for server in servers_of(os.environ) if not server.is_local or is_listening(server)]
    seen, unusable = _adb_found.look_around(asked, tools)
    by_name = {f"{item.info.transport}:{item.info.serial}": item.session for item in seen}
    if selector not in by_name:
        reason = next((item for item in unusable if f"{item.transport}:{item.serial}" == selector), None)
        if reason is not None:
            raise SettingsError(f"The device {selector!r} cannot be used: {reason.reason}", hint=reason.hint)
        raise unknown_name("device", selector, by_name)
    session = by_name[selector]
    if not COMPONENT.fullmatch(component):
        raise SettingsError(f"{component!r} is no package/activity.", hint=_WRITE)
    with as_device_failure("cannot_launch"):
        start = start_activity(session, component)
        return Opened(device=selector, start=start, log=read_log(session, component.partition("/")[0]))
