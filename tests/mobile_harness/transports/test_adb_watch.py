"""Devices that come and go, and a server that dies under them."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from adb_lab import PrivateServer, private_server, use
from bench_builds import make_folder

from mobile_harness import bench, plans
from mobile_harness.adb.address import is_listening
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Route, Session
from mobile_harness.transports import _adb_watch, adb
from mobile_harness.transports._adb_watch import Change
from mobile_harness.virtual_device.farm import start_farm
from toolkit.cli.main import execute
from toolkit.core.clock import SystemClock
from toolkit.core.tools import Tools

SHORT = dataclasses.replace(
    plans.load("quick"), warmup_min_s=0.02, warmup_max_s=0.1, min_seconds=0.1, min_runs=30, sessions=2
)


def told(change: Change) -> tuple[str, str]:
    return change.kind, change.device


def test_what_arrives_and_leaves_is_told_as_it_happens(boot, adb_server: PrivateServer, tools: Tools) -> None:
    farm = boot(2, connect=False)
    news = adb.watch(tools, 20)
    adb_server.take(farm)
    seen = {told(next(news)), told(next(news))}
    while ("arrived", "adb:virtual-1") not in seen or ("arrived", "adb:virtual-0") not in seen:
        seen.add(told(next(news)))
    adb_server.adb("disconnect", farm[1].address)
    left = next(change for change in news if change.kind == "left")
    assert left.device in ("adb:virtual-1", f"adb:{farm[1].address}")
    news.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("palmtop-track")]


def test_a_watch_ends_in_time_and_tells_first_what_is_there(boot, tools: Tools) -> None:
    boot(1)
    (only,) = adb.watch(tools, 0)
    assert told(only) == ("arrived", "adb:virtual-0")
    assert only.info is not None
    assert only.info.kind == "virtual"


def test_a_transport_that_turned_into_a_device_has_not_left() -> None:
    waiting = _adb_watch._Standing(
        change=Change(kind="unusable", device="adb:1.2.3.4:5555", reason="unauthorized"),
        ways=frozenset(["1.2.3.4:5555"]),
    )
    there = _adb_watch._Standing(
        change=Change(kind="arrived", device="adb:R58M"), ways=frozenset(["1.2.3.4:5555", "R58M"])
    )
    turned = _adb_watch.changes({"adb:1.2.3.4:5555": waiting}, {"adb:R58M": there})
    assert [told(change) for change in turned] == [("arrived", "adb:R58M")]
    gone = _adb_watch.changes({"adb:R58M": there}, {})
    assert [told(change) for change in gone] == [("left", "adb:R58M")]


def test_the_command_watches_for_a_while(boot, capsys: pytest.CaptureFixture[str]) -> None:
    boot(1)
    assert execute(["devices", "--watch", "--for", "0"]) == 0
    said = capsys.readouterr()
    assert "adb:virtual-0 arrived: virtual, palmtop virtual device" in said.err
    assert "adb:virtual-0" in said.out
    assert execute(["devices", "--for", "3"]) == 2


# a server that dies -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    with private_server(tmp_path_factory.mktemp("mortal")) as server:
        yield server


@pytest.fixture
def mortal(own_server: PrivateServer, app: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateServer:
    """A server that a test may kill; what is started instead has the same home and port."""
    use(monkeypatch, own_server, app)
    monkeypatch.setenv("HOME", str(own_server.home))
    monkeypatch.setenv("TMPDIR", str(own_server.home))
    return own_server


def pid_of(server: PrivateServer) -> int:
    mark = f"tcp:{server.server.port}"
    (found,) = [
        item.pid
        for item in psutil.process_iter(["cmdline"])
        if mark in (item.info["cmdline"] or ()) and "fork-server" in (item.info["cmdline"] or ())
    ]
    return found


def kill(server: PrivateServer) -> None:
    """Kill the server as a crash would."""
    process = psutil.Process(pid_of(server))
    process.kill()
    process.wait(10)


def test_a_killed_server_is_started_again_and_the_device_comes_back(
    mortal: PrivateServer, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_farm(1) as farm:
        mortal.take(farm)
        session = Session([Route(server=mortal.server, serial=farm[0].address)], "adb:test", SystemClock(), tools.run)
        timer = threading.Timer(0.5, lambda: kill(mortal))
        timer.start()
        with pytest.raises(AdbFailed) as caught:
            session.run(["sleep", "20"], 15)
        timer.join()
        assert caught.value.kind == "closed"
        with monkeypatch.context() as without:
            without.setenv("ADBUTILS_ADB_PATH", str(mortal.home / "none"))
            with pytest.raises(AdbFailed, match="did not come back within 1 s") as caught:
                session.recover(1)
        assert caught.value.kind == "no_server"
        session.recover(5)
        assert session.run(["echo", "two"], 5).text == "two\n"


def test_a_matrix_outlives_the_death_of_the_server(
    mortal: PrivateServer, tools: Tools, onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tools, onnx_model, tmp_path / "builds", ("float32",))
    longer = dataclasses.replace(SHORT, min_seconds=1.5)
    monkeypatch.setitem(plans.PLANS, "quick", longer)
    with start_farm(1) as farm:
        mortal.take(farm)
        killed = threading.Event()

        def strike(event) -> None:
            if event.phase not in ("noted",) and "session" in f"{event.phase} {event.message}" and not killed.is_set():
                killed.set()
                threading.Timer(0.7, lambda: kill(mortal)).start()

        request = bench.BenchRequest(folder=folder, devices=("virtual",), store=str(tmp_path / "h.sqlite"))
        record = bench.bench(request, dataclasses.replace(tools, emit=strike))
        assert killed.is_set()
        (cell,) = record.cells
        assert cell.outcome == "measured", cell.failure
        assert len(cell.sessions) == 2


def test_a_watch_starts_a_server_that_died(mortal: PrivateServer, tools: Tools) -> None:
    kill(mortal)
    assert not is_listening(mortal.server)
    assert list(adb.watch(tools, 0.5)) == []
    assert is_listening(mortal.server)
