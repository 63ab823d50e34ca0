"""A real adb server of our own, on a free port with a home of its own, and virtual devices that it talks to."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mobile_harness.virtual_device.farm import Farm, start_farm
from mobile_harness.virtual_device.faults import Fault
from mobile_harness.virtual_device.profile import DEFAULT, Profile
from toolkit.core import process
from toolkit.core.clock import SystemClock


@dataclass(frozen=True)
class Adb:
    """The adb program that adbutils carries, with the server that it speaks to."""

    program: str
    port: int
    environment: dict[str, str]

    def __call__(self, *words: str, stdin: str = "", deadline_s: float = 20) -> process.Finished:
        return process.run(
            [self.program, "-P", str(self.port), *words], deadline_s=deadline_s, env=self.environment, stdin=stdin
        )

    def on(self, device: object, *words: str, stdin: str = "", deadline_s: float = 20) -> process.Finished:
        return self("-s", device.address, *words, stdin=stdin, deadline_s=deadline_s)

    def shell(self, device: object, text: str, *, stdin: str = "") -> process.Finished:
        return self.on(device, "shell", text, stdin=stdin)

    def state(self, device: object) -> str:
        for line in self("devices").stdout.splitlines():
            if line.startswith(device.address):
                return line.split("\t")[1]
        return "absent"

    def await_state(self, device: object, wanted: str) -> None:
        self.await_that(lambda: self.state(device) == wanted, f"{device.serial} to be {wanted}")

    def await_gone(self, device: object, name: str) -> None:
        self.await_that(lambda: self.shell(device, f"pidof {name}").code == 1, f"the end of {name}")

    def await_that(self, holds: Callable[[], bool], what: str, timeout_s: float = 40) -> None:
        clock = SystemClock()
        end_ns = clock.monotonic_ns() + int(timeout_s * 1e9)
        while not holds():
            assert clock.monotonic_ns() < end_ns, f"waited {timeout_s} s in vain for {what}"
            clock.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    """The server is started once, and killed at the end with all it was told."""
    import adbutils

    carried = Path(adbutils.__file__).parent / "binaries" / "adb"
    if not carried.exists():
        pytest.skip("adbutils carries no adb for this system")
    home = tmp_path_factory.mktemp("adb-home")
    port = free_port()
    names = {"HOME": str(home), "ANDROID_ADB_SERVER_PORT": str(port), "TMPDIR": str(home), "ADB_MDNS": "0"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    server = Adb(program=str(carried), port=port, environment=names)
    started = server("start-server", deadline_s=30)
    assert started.code == 0, started.stderr
    yield server
    server("kill-server")
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    shutil.rmtree(home, ignore_errors=True)


StartFarm = Callable[..., Farm]


@pytest.fixture
def make_farm(adb: Adb) -> Iterator[StartFarm]:
    """Start farms that are connected to the server, unless told otherwise, and stopped after the test."""
    running: list[Farm] = []

    def make(
        count: int = 1,
        faults: Mapping[int | None, Sequence[Fault]] | None = None,
        *,
        profile: Profile = DEFAULT,
        connect: bool = True,
        seed: int = 0,
    ) -> Farm:
        farm = start_farm(count, profile, faults, seed=seed)
        running.append(farm)
        if connect:
            farm.connect(adb.program, adb.port)
        return farm

    yield make
    problems = []
    for farm in running:
        problems += farm.problems()
        for device in farm.devices:
            adb("disconnect", device.address)
        farm.stop()
    assert problems == []


@pytest.fixture(scope="module")
def shared(adb: Adb) -> Iterator[Farm]:
    """One device for all tests of a module that leave it as they found it."""
    with start_farm(1) as farm:
        farm.connect(adb.program, adb.port)
        yield farm
        problems = farm.problems()
    assert problems == []
