"""A private adb server and virtual devices behind it; every test has devices of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from adb_lab import PrivateServer, private_server, use, write_app

from mobile_harness.transports import adb
from mobile_harness.transports._adb_device import AdbDevice
from mobile_harness.virtual_device.farm import Farm, start_farm
from mobile_harness.virtual_device.faults import Fault
from mobile_harness.virtual_device.profile import DEFAULT, Profile
from toolkit.core.tools import Tools


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    with private_server(tmp_path_factory.mktemp("adb-home")) as server:
        yield server


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("app"))


Boot = Callable[..., Farm]


@pytest.fixture
def boot(adb_server: PrivateServer, app: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boot]:
    """Start connected devices; faults may be planned for the first."""
    use(monkeypatch, adb_server, app)
    running: list[Farm] = []

    def start(
        count: int = 1, faults: Sequence[Fault] = (), *, profile: Profile = DEFAULT, connect: bool = True
    ) -> Farm:
        farm = start_farm(count, profile, {0: tuple(faults)})
        running.append(farm)
        if connect:
            adb_server.take(farm)
        return farm

    yield start
    problems = [problem for farm in running for problem in farm.problems()]
    for farm in running:
        for item in farm.devices:
            adb_server.adb("disconnect", item.address)
        farm.stop()
    assert problems == []


@pytest.fixture
def device(boot: Boot, tools: Tools) -> Iterator[AdbDevice]:
    """One device, as the transport finds it."""
    boot()
    (found,) = adb.discover(tools).devices
    assert isinstance(found, AdbDevice)
    yield found
    found.cleanup()
