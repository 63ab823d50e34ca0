"""Android devices through adb servers: phones, emulators and palmtop's virtual devices, all treated alike.

The servers are those of ``PALMTOP_ADB_SERVERS=host:port,…``, else the one adb itself would use. Looking for devices
never starts one; :func:`wake` does, on its own port. The bench app of each target is a setting
(:mod:`mobile_harness.transports._adb_app`). It is installed where it is missing and a file is named, and it stays: it
is no build, and one app measures every build of its runtime. All else that we bring or change goes away again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobile_harness.adb.address import is_listening, servers_of
from mobile_harness.transports.base import Found, Unusable
from toolkit.core.errors import PalmtopError
from toolkit.core.tools import Tools

if TYPE_CHECKING:
    from mobile_harness.transports._adb_device import AdbDevice
    from mobile_harness.transports._adb_watch import Change


def discover(tools: Tools) -> Found:
    """Return the devices of all adb servers that run, each phone once; starts no server and changes nothing."""
    asked = [server for server in servers_of(os.environ) if not server.is_local or is_listening(server)]
    if not asked:
        return Found(devices=())
    from mobile_harness.transports import _adb_device, _adb_found  # a tenth of a second that most benches can save

    seen, unusable = _adb_found.look_around(asked, tools)
    devices = tuple(_adb_device.AdbDevice(item.session, item.info, item.server, tools) for item in seen)
    return Found(devices=devices, unusable=tuple(unusable))


def wake(tools: Tools) -> tuple[Unusable, ...]:
    """Start the adb servers of this machine that do not run yet, and return why one could not be started."""
    from mobile_harness.adb import server as servers

    failed = []
    for server in servers_of(os.environ):
        try:
            if server.is_local:
                servers.start(server, tools.run)
        except PalmtopError as error:
            failed.append(Unusable(transport="adb", serial="", reason=error.message, hint=error.hint))
    return tuple(failed)


def native(device: AdbDevice, paths: Sequence[Path]) -> AdbDevice:
    """Return a device of this transport with native tools as its runner, from the files or folders that hold them.

    Raises:
        SettingsError: a path is no native tool.
    """
    from mobile_harness.transports import _adb_native

    return _adb_native.native(device, paths)


def watch(tools: Tools, seconds: float | None = None) -> Iterator[Change]:
    """Yield the devices that are there, then each that arrives, becomes unusable or leaves, as the servers tell.

    A server of this machine that does not run, or dies meanwhile, is started. Ends after ``seconds``; with None when
    the caller stops asking.
    """
    from mobile_harness.transports import _adb_watch

    return _adb_watch.watch(servers_of(os.environ), tools, seconds)
