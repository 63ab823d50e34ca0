"""AOSP's device tests against a virtual device, behind Debian's adb and behind the one that adbutils carries.

``make test-aosp`` runs it. The test file is run as it is but for the server's port, which it has as a number.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import adbutils

sys.path.insert(0, str(Path(__file__).parent))
from aosp_sources import NotHere, Sources, fetch

from mobile_harness.virtual_device.farm import start_farm
from toolkit.core import process

QUARANTINED = ("SocketTest.test_socket_flush",)
"""Fails now and then against AOSP's own daemon too: a race of the host's adb. Run and told, never counted."""
CARRIED = Path(adbutils.__file__).parent / "binaries" / "adb"
_SUITE_S = 300.0
_DRIVER = Path(__file__).with_name("aosp_driver.py")


@dataclass(frozen=True)
class Report:
    """How the tests ended behind one adb, and what the virtual device complains of in itself."""

    adb: str
    ended: dict[str, str]
    problems: tuple[str, ...]
    log: str

    def names(self, outcome: str) -> list[str]:
        """Return the tests that count and ended so."""
        return [name for name, how in self.ended.items() if how.startswith(outcome) and name not in QUARANTINED]

    @property
    def is_good(self) -> bool:
        """Whether every test that applies passed."""
        return bool(self.names("passed")) and not self.names("failed") and not self.problems

    def text(self) -> str:
        """Return the outcome for people."""
        passed, failed, skipped = (self.names(word) for word in ("passed", "failed", "skipped"))
        lines = [f"{self.adb}: {len(passed)} of {len(passed) + len(failed)} that apply passed, {len(skipped)} skipped"]
        lines += [f"  {name} {self.ended[name]}" for name in skipped]
        lines += [f"  {name} FAILED" for name in failed]
        lines += [f"  {name} {self.ended[name]} (quarantined)" for name in QUARANTINED if name in self.ended]
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)]) + "\n"


def programs(sources: Sources) -> dict[str, tuple[Path, tuple[Path, ...]]]:
    """Return both adb programs by a name for people, each with the folders of its libraries."""
    return {"debian": (sources.adb, sources.libraries), "adbutils": (CARRIED, ())}


def run(sources: Sources, program: Path, libraries: tuple[Path, ...], folder: Path) -> Report:
    """Run the tests behind one adb, with a server of its own, in a folder of its own."""
    with _server(_wrapper(program, libraries, folder), folder) as server, start_farm(1) as farm:
        farm.connect(server.program, server.port)
        tests = folder / "test_device.py"
        tests.write_text(sources.tests.read_text().replace("5037", str(server.port)))
        result = folder / "result.json"
        env = {"ANDROID_SERIAL": farm[0].address, "PYTHONPATH": str(sources.packages)}
        argv = [sys.executable, str(_DRIVER), str(tests), str(result)]
        done = process.run(argv, deadline_s=_SUITE_S, cwd=folder, env={**server.environment, **env})
        ended = json.loads(result.read_text()) if result.exists() else {}
        return Report(
            adb=server.version,
            ended=ended,
            problems=tuple(farm.problems()),
            log=f"{done.describe()}\n{done.stdout}{done.stderr}",
        )


@dataclass(frozen=True)
class _Server:
    program: str
    port: int
    version: str
    environment: dict[str, str]


@contextmanager
def _server(program: Path, folder: Path) -> Iterator[_Server]:
    port = _free_port()
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    names = {"HOME": str(folder), "TMPDIR": str(folder), "ADB_MDNS": "0", "PATH": path}
    names["ANDROID_ADB_SERVER_PORT"] = str(port)

    def adb(*words: str) -> process.Finished:
        done = process.run([str(program), *words], deadline_s=30, env=names)
        if done.code != 0:
            raise NotHere(f"{done.describe()}: {done.tail(2)}")
        return done

    version = adb("version").stdout.splitlines()[1]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)  # the farm's own adb calls are this server's too
    adb("start-server")
    try:
        yield _Server(str(program), port, version, names)
    finally:
        adb("kill-server")
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def _wrapper(program: Path, libraries: tuple[Path, ...], folder: Path) -> Path:
    """Write the program ``adb`` that the tests find first: the real one with its libraries."""
    wrapper = folder / "bin" / "adb"
    wrapper.parent.mkdir()
    found = os.pathsep.join(map(str, libraries))
    wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(found)} exec {shlex.quote(str(program))} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Run both and return the exit code."""
    try:
        sources = fetch()
    except NotHere as error:
        sys.stderr.write(f"AOSP's tests cannot be run: {error}.\n")
        return 6
    reports = []
    for program, libraries in programs(sources).values():
        with tempfile.TemporaryDirectory(prefix="palmtop-aosp-") as folder:
            reports.append(run(sources, program, libraries, Path(folder)))
        sys.stdout.write(reports[-1].text() if reports[-1].is_good else reports[-1].log + reports[-1].text())
    return 0 if all(report.is_good for report in reports) else 4


if __name__ == "__main__":
    sys.exit(main())
