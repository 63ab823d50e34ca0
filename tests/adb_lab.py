"""A private adb server (the binary that adbutils carries) with virtual devices, for tests that drive the real thing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import adbutils
import pytest

from mobile_harness.adb.address import Server
from mobile_harness.virtual_device.android.packages import AppManifest, write_test_package
from mobile_harness.virtual_device.farm import Farm
from toolkit.core import process

PACKAGE = "org.palmtop.bench"
RUNNER = f"{PACKAGE}.Runner"
TARGETS = ("onnx", "tflite", "coreml")
CARRIED = Path(adbutils.__file__).parent / "binaries" / "adb"


@dataclass(frozen=True)
class PrivateServer:
    """A server of our own; ``home`` holds its keys and its log."""

    program: str
    server: Server
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        port = str(self.server.port)
        names = {"HOME": str(self.home), "TMPDIR": str(self.home), "ANDROID_ADB_SERVER_PORT": port, "ADB_MDNS": "0"}
        return {**names, "PALMTOP_ADB_SERVERS": str(self.server), "ADBUTILS_ADB_PATH": self.program}

    def adb(self, *words: str, deadline_s: float = 30) -> process.Finished:
        argv = [self.program, "-P", str(self.server.port), *words]
        return process.run(argv, deadline_s=deadline_s, env=self.environment)

    def take(self, farm: Farm) -> None:
        """Have the server connect to the devices of a farm and wait until they are online."""
        farm.connect(self.program, self.server.port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def private_server(home: Path) -> Iterator[PrivateServer]:
    """Run a server for the length of the block; skips the test where adbutils carries no adb."""
    if not CARRIED.exists():
        pytest.skip("adbutils carries no adb for this system")
    server = PrivateServer(program=str(CARRIED), server=Server("127.0.0.1", free_port()), home=home)
    started = server.adb("start-server")
    assert started.code == 0, started.stderr
    try:
        yield server
    finally:
        server.adb("kill-server")


def write_app(folder: Path, **changes: object) -> Path:
    """Write the bench app that virtual devices can install."""
    fields = {"package": PACKAGE, "runner": RUNNER, "targets": TARGETS, **changes}
    return write_test_package(folder / f"bench-{len(list(folder.iterdir()))}.apk", AppManifest(**fields))


def use(monkeypatch: pytest.MonkeyPatch, server: PrivateServer, *files: Path) -> None:
    """Point the transport at a server, and every target at the app, to be installed from ``files`` if there are any."""
    for name, value in server.environment.items():
        if name not in ("HOME", "TMPDIR"):
            monkeypatch.setenv(name, value)
    words = " ".join([f"{PACKAGE}/{RUNNER}", *map(str, files)])
    for target in TARGETS:
        monkeypatch.setenv(f"PALMTOP_APP_{target.upper()}", words)
    os.environ.pop("ADB_SERVER_SOCKET", None)
