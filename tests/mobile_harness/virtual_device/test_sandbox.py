"""Native programs of this host, pushed and run on a device; skipped by name where there are no namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobile_harness.virtual_device import sandbox
from mobile_harness.virtual_device.farm import start_farm

REASON = sandbox.find()
pytestmark = pytest.mark.skipif(isinstance(REASON, str), reason=f"no sandbox for native programs: {REASON}")


@pytest.fixture(scope="module")
def device(adb):
    with start_farm(1) as farm:
        farm.connect(adb.program, adb.port)
        for name in ("env", "cat", "sleep", "dd", "ls"):
            done = adb.on(farm[0], "push", str(Path(f"/usr/bin/{name}").resolve()), f"/data/local/tmp/{name}")
            assert done.code == 0, done.stderr
        yield farm[0]
        problems = farm.problems()
    assert problems == []


def test_it_runs_in_the_device(adb, device) -> None:
    done = adb.shell(device, "cd /data/local/tmp && A=1 LD_LIBRARY_PATH=. taskset 3 ./env")
    assert done.code == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["A"] == "1"
    assert found["LD_LIBRARY_PATH"] == "."
    assert "PYTHONPATH" not in found
    adb.shell(device, "echo own > /data/local/tmp/x")
    assert adb.shell(device, "/data/local/tmp/cat /data/local/tmp/x").stdout == "own\n"


def test_it_sees_and_changes_nothing_of_the_host(adb, device, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    done = adb.shell(device, f"/data/local/tmp/cat {tmp_path}/secret")
    assert done.code == 1
    assert "No such file" in done.stderr
    done = adb.shell(device, "/data/local/tmp/dd if=/dev/null of=/usr/lib/x")
    assert done.code == 1
    assert "Permission denied" in done.stderr or "Read-only" in done.stderr or "No such file" in done.stderr
    assert len(adb.shell(device, "/data/local/tmp/ls -d /proc/1 /proc/self").stdout.split()) == 2


def test_its_streams_and_code_come_back(adb, device) -> None:
    done = adb.shell(device, "/data/local/tmp/ls /nope; echo rc=$?")
    assert done.stdout == "rc=2\n"
    assert "/nope" in done.stderr
    done = adb.shell(device, "/data/local/tmp/dd if=/data/local/tmp/cat bs=64k count=1 | wc -c")
    assert int(done.stdout) > 1000


def test_it_ends_when_it_is_killed_or_its_host_leaves(adb, device) -> None:
    done = adb.shell(device, "/data/local/tmp/sleep 100 & sleep 0.3; kill -9 $(pidof /data/local/tmp/sleep); echo over")
    assert done.stdout == "over\n"
    assert adb.on(device, "shell", "/data/local/tmp/sleep 100", deadline_s=1).timed_out
    adb.await_gone(device, "/data/local/tmp/sleep")


def test_a_pipe_that_a_program_made_stops_nobody(adb, device) -> None:
    adb.on(device, "push", "/usr/bin/mkfifo", "/data/local/tmp/mkfifo")
    assert adb.shell(device, "/data/local/tmp/mkfifo /data/local/tmp/pipe").code == 0
    for text in ("cat /data/local/tmp/pipe", "echo x > /data/local/tmp/pipe"):
        done = adb.shell(device, text)
        assert done.code == 1
        assert "Permission denied" in done.stderr
    adb.shell(device, "rm /data/local/tmp/pipe")
