"""Where adb servers listen. Light on purpose: every bench looks whether one is there, and most often none is."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.core.errors import SettingsError

VARIABLE = "PALMTOP_ADB_SERVERS"
LOCAL_S = 0.3
_PLACE = re.compile(r"(?:tcp:)?(?:(\[[0-9A-Fa-f:.]+\]|[\w.-]+):)?(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """Where an adb server listens."""

    host: str = "127.0.0.1"
    port: int = 5037

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is one of this machine."""
        return self.host in ("127.0.0.1", "localhost", "::1")


def servers_of(environment: Mapping[str, str]) -> tuple[Server, ...]:
    """Return the adb servers to ask: ``PALMTOP_ADB_SERVERS=host:port,…`` or ``none``; unset, the one adb would use.

    >>> [str(server) for server in servers_of({"PALMTOP_ADB_SERVERS": "127.0.0.1:5037, lab-2:5038"})]
    ['127.0.0.1:5037', 'lab-2:5038']

    Raises:
        SettingsError: a variable holds no address.
    """
    listed = environment.get(VARIABLE, "").strip()
    if listed.lower() == "none":
        return ()
    if listed:
        return tuple(dict.fromkeys(_server(word, VARIABLE) for word in listed.split(",") if word.strip()))
    if environment.get("ADB_SERVER_SOCKET"):
        return (_server(environment["ADB_SERVER_SOCKET"], "ADB_SERVER_SOCKET"),)
    names = ("ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_HOST")
    host = next((environment[name] for name in names if environment.get(name)), "127.0.0.1")
    return (_server(f"{host}:{environment.get('ANDROID_ADB_SERVER_PORT') or '5037'}", "ANDROID_ADB_SERVER_PORT"),)


def _server(word: str, variable: str) -> Server:
    found = _PLACE.fullmatch(word.strip())
    if found is None or not 0 < int(found.group(2)) < 1 << 16:
        raise SettingsError(
            f"{variable} names no adb server: {word.strip()!r}.", hint=f"Write {variable}=host:port,host:port."
        )
    return Server((found.group(1) or "127.0.0.1").strip("[]"), int(found.group(2)))


def is_listening(server: Server, connect_s: float = LOCAL_S) -> bool:
    """Say whether anything listens there; quick, and nothing is started."""
    try:
        socket.create_connection((server.host, server.port), timeout=connect_s).close()
    except OSError:
        return False
    return True
