"""``python -m mobile_harness.virtual_device``: devices until a signal, the end of a parent, or of their time."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from mobile_harness.virtual_device import background, faults
from mobile_harness.virtual_device.android import factory
from mobile_harness.virtual_device.farm import Farm, start_farm
from toolkit.core.clock import SystemClock
from toolkit.core.errors import PalmtopError

_LOOK_S = 0.5
Tell = Callable[[str], None]


def read_words(words: Sequence[str]) -> argparse.Namespace:
    """Read the command's words."""
    parser = argparse.ArgumentParser(prog="python -m mobile_harness.virtual_device", description=__doc__)
    parser.add_argument("--count", type=int, default=1, help="how many devices")
    parser.add_argument("--state", type=Path, help="file to keep the process and the addresses in")
    parser.add_argument("--no-connect", action="store_true", help="leave `adb connect` to the user")
    parser.add_argument("--adb", help="the adb program (default: adbutils' choice)")
    parser.add_argument("--adb-port", type=int, default=int(os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")))
    parser.add_argument("--fault", action="append", default=[], help="[NUMBER/]NAME[:FIELD=VALUE,…], may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="decides where chance has a say")
    parser.add_argument("--lifetime-s", type=float, default=float("inf"), help="stop after so many seconds")
    parser.add_argument("--parent", type=int, help="stop when this process has ended")
    parser.add_argument("--detach", action="store_true", help="return once the devices run, in the background")
    return parser.parse_args(words)


def serve(given: argparse.Namespace, tell: Tell) -> int:
    """Run the devices to their end; ``tell`` gets the state once they are ready, or the error."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        with start_farm(given.count, faults=faults.planned(given.fault, given.count), seed=given.seed) as farm:
            for device in farm.devices:
                factory.install(device.system, factory.bench_app())
            if not given.no_connect:
                farm.connect(given.adb or _adb_program(), given.adb_port)
            state = background.describe(farm, None if given.no_connect else given.adb_port)
            if given.state is not None:
                background.keep(state, given.state)
            tell(background.to_text(state))
            _wait(over, given, farm)
    except PalmtopError as error:
        tell(f"error: {error}\n")
        return error.exit_code
    finally:
        if given.state is not None:
            _forget(given.state)
    return 0


def _wait(over: threading.Event, given: argparse.Namespace, farm: Farm) -> None:
    clock = SystemClock()
    start_ns = clock.monotonic_ns()
    while not over.wait(_LOOK_S):
        aged = (clock.monotonic_ns() - start_ns) / 1e9 > given.lifetime_s
        orphaned = given.parent is not None and not psutil.pid_exists(given.parent)
        if aged or orphaned:
            return


def _forget(path: Path) -> None:
    """Remove the state file, if it is still ours."""
    state = background.read_state(path)
    if state is not None and state.pid == os.getpid():
        path.unlink(missing_ok=True)


def _adb_program() -> str:
    import adbutils

    return str(adbutils.adb_path())


def detach(given: argparse.Namespace) -> int:
    """Go on in a child of its own session; return once it has told how its start went."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            said = pipe.read()
        failed = not said or said.startswith("error:")
        (sys.stderr if failed else sys.stdout).write(said or "error: the devices ended at their start\n")
        return int(failed)
    os.close(reading)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)

    def tell(text: str) -> None:
        os.write(writing, text.encode())
        os.close(writing)

    return serve(given, tell)


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit code."""

    def tell(text: str) -> None:
        (sys.stderr if text.startswith("error:") else sys.stdout).write(text)
        sys.stdout.flush()

    given = read_words(words)
    return detach(given) if given.detach else serve(given, tell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
