"""Android devices through adb servers: phones, emulators and palmtop's virtual devices, all treated alike.

The servers are those of ``PALMTOP_ADB_SERVERS=host:port,…``, else the one adb itself would use. Looking for devices
never starts one; :func:`wake` does, on its own port. The bench app of each target is a setting
(:mod:`mobile_harness.transports._adb_app`). It is installed where it is missing and a file is named, and it stays: it
is no build, and one app measures every build of its runtime. All else that we bring or change goes away again.
"""

from __future__ import annotations

import os

from mobile_harness.adb.address import is_listening, servers_of
from mobile_harness.transports.base import Found, Unusable
from toolkit.core.errors import PalmtopError
from toolkit.core.tools import Tools


def discover(tools: Tools) -> Found:
    """Return the devices of all adb servers that run, each phone once; starts no server and changes nothing."""
    asked = [server for server in servers_of(os.environ) if not server.is_local or is_listening(server)]
    if not asked:
        return Found(devices=())
    from mobile_harness.transports import _adb_device, _adb_found  # a tenth of a second that most benches can save

    seen, unusable = _adb_found.look_around(asked, tools.clock)
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
