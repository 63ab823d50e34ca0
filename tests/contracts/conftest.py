"""A virtual device behind a real adb server and a stand-in for Xcode, for the contract of the transports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_lab import PrivateServer, private_server, write_app
from apple_lab import AppleLab

from mobile_harness.virtual_device.farm import start_farm


@pytest.fixture(scope="session")
def virtual_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrivateServer, Path]]:
    """A server with one device, and the bench app that can be installed on it."""
    with private_server(tmp_path_factory.mktemp("adb-home")) as server, start_farm(1) as farm:
        server.take(farm)
        yield server, write_app(tmp_path_factory.mktemp("app"))
        problems = farm.problems()
    assert problems == []


@pytest.fixture(scope="session")
def apple_lab(tmp_path_factory: pytest.TempPathFactory) -> AppleLab:
    """An Xcode with a simulator and an iPhone."""
    return AppleLab(tmp_path_factory.mktemp("apple"))
