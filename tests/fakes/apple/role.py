"""An app that runs: ``toolkit.host_runner`` in a process of its own, with a crash report at a bad end.

``role.py CONTAINER REPORTS APP ARGUMENT...`` stays until the app has ended. With ``PALMTOP_FAKE_CONSOLE`` its output is
the app's; else nobody sees it. The report names the process, the signal and the last words on standard error.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import signal
import sys
from pathlib import Path

import world


def absolute(argument: str, home: Path) -> str:
    """Return the order with its relative paths counted from the app's folder, as the app counts them."""
    key, _, word = argument.partition("=")
    if key != "--palmtop":
        return argument
    order = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
    for name in ("model", "golden", "out"):
        if order.get(name):
            order[name] = str(home / order[name])
    Path(order["out"]).parent.mkdir(parents=True, exist_ok=True)
    return f"{key}={base64.urlsafe_b64encode(json.dumps(order).encode()).decode()}"


def report(folder: Path, app: str, pid: int, number: int, said: str) -> None:
    """Write a crash report as the system does: a line about it, then the report."""
    now = dt.datetime.now(dt.UTC)
    name = signal.Signals(number).name
    head = {"app_name": app, "timestamp": str(now), "bug_type": "309", "os_version": "iPhone OS 18.0"}
    body = {
        "pid": pid, "procName": app, "exception": {"type": "EXC_CRASH", "signal": name},
        "termination": {"code": number, "namespace": "SIGNAL", "indicator": f"{name} of the process"},
        "asi": {"libsystem_c.dylib": ["abort() called", *said.splitlines()[-40:]]},
        "threads": [{"triggered": True, "frames": [{"imageIndex": 0, "symbol": "__pthread_kill"}]}],
        "usedImages": [{"name": "libsystem_kernel.dylib"}],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{pid}"
    part.write_text(json.dumps(head) + "\n" + json.dumps(body, indent=2))
    part.rename(folder / f"{app}-{now:%Y-%m-%d-%H%M%S}.{pid % 1000}.ips")


def main(words: list[str]) -> int:
    home, reports, app, *arguments = words
    errors = Path(home) / "tmp" / "stderr.txt"
    errors.parent.mkdir(parents=True, exist_ok=True)
    shows = "PALMTOP_FAKE_CONSOLE" in os.environ
    arguments = [absolute(word, Path(home)) for word in arguments]
    pid = world.spawn(["-m", "toolkit.host_runner", *arguments], shown=shows, errors=errors)
    (Path(home) / "tmp" / "pid").write_text(str(pid))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0 and -code != signal.SIGKILL:
        report(Path(reports), app, pid, -code, errors.read_text(errors="replace"))
    if shows and code < 0:
        sys.stdout.write(f"App terminated due to signal {-code}.\n")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
