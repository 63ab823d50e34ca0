"""Time a matrix of virtual devices against the processor time that their bench apps need for it.

    python benchmarks/matrix.py BUILDS [DEVICES [PLAN]]

BUILDS is a folder of builds, of which the first three count. Claims (docs/benchmarks.md): 32 devices x 3 builds end in
at most 1.25 times what the processor needs for the apps' work, and the harness adds at most 2 s to each cell besides
what the plan measures and cools. The first is taken with all devices at once, the second with one alone. PLAN is
`quick` by default; `brief` has sessions of a third of a second, and shows the harness at its most naked. What other
programs take of the processors meanwhile is printed, and the ratio as it is without their share of the time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import adbutils
import psutil

from mobile_harness import bench, plans
from mobile_harness.records import RunPlan, RunRecord, Session
from toolkit.core import manifest
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.process import run
from toolkit.core.store import Store
from toolkit.core.tools import Tools

ADB = shutil.which("adb") or str(adbutils.adb_path())
BRIEF = dataclasses.replace(
    plans.load("quick"), name="brief", warmup_min_s=0.1, warmup_max_s=0.3, min_seconds=0.2, max_seconds=1.0, min_runs=30
)


def farm(count: int, port: int) -> None:
    """Be the devices: ready when a line is printed, over when standard input ends; then say what they took."""
    from mobile_harness.virtual_device.android import factory
    from mobile_harness.virtual_device.farm import start_farm

    with start_farm(count, native=False) as devices:
        for device in devices.devices:
            factory.install(device.system, factory.bench_app())
        devices.connect(ADB, port)
        before = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
        print("ready", flush=True)
        sys.stdin.read()
        after = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
        apps_s, own_s = (_cpu(late) - _cpu(early) for early, late in zip(before, after, strict=True))
        print(json.dumps({"apps_s": apps_s, "devices_s": own_s, "problems": devices.problems()}), flush=True)


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


@contextmanager
def server(home: Path) -> Iterator[int]:
    """Run an adb server of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(ANDROID_ADB_SERVER_PORT=str(port), ADB_MDNS="0", PALMTOP_ADB_SERVERS=f"127.0.0.1:{port}")
    command = [ADB, "-P", str(port)]
    subprocess.run([*command, "start-server"], check=True, capture_output=True, env={**os.environ, "HOME": str(home)})
    try:
        yield port
    finally:
        subprocess.run([*command, "kill-server"], check=False, capture_output=True)


def server_cpu_s(port: int) -> float:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "fork-server" in words and any(str(port) in word for word in words):
            times = process.cpu_times()
            return float(times.user + times.system)
    return 0.0


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a matrix took, in seconds: wall time, and processor time of the apps and of everything else."""

    record: RunRecord
    wall_s: float
    apps_s: float
    devices_s: float
    harness_s: float
    server_s: float
    others_s: float


def busy_s() -> float:
    """Return what all processors have worked so far, whoever it was for."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def take(folder: Path, count: int, plan: str) -> Taken:
    builds = tuple(build.id for build in manifest.read(folder).builds[:3])
    with tempfile.TemporaryDirectory() as scratch, server(Path(scratch)) as port:
        words = [sys.executable, __file__, "--farm", str(count), str(port)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as devices:
            assert devices.stdout is not None
            assert devices.stdin is not None
            assert devices.stdout.readline() == "ready\n"
            place = Path(scratch)
            tools = Tools(run=run, emit=silent, clock=SystemClock(), store=Store(place / "cache"))
            request = bench.BenchRequest(
                folder=folder, devices=("virtual",), plan=plan, store=str(place / "h.sqlite"), builds=builds
            )
            before_s, before_server_s = _cpu(resource.getrusage(resource.RUSAGE_SELF)), server_cpu_s(port)
            began_s, busy_before_s = time.perf_counter(), busy_s()
            record = bench.bench(request, tools)
            wall_s, all_s = time.perf_counter() - began_s, busy_s() - busy_before_s
            harness_s = _cpu(resource.getrusage(resource.RUSAGE_SELF)) - before_s
            server_s = server_cpu_s(port) - before_server_s
            devices.stdin.close()
            said = json.loads(devices.stdout.readline())
    failed = [cell.failure for cell in record.cells if cell.outcome != "measured"]
    if failed or said["problems"]:
        raise SystemExit(f"{len(failed)} cells failed: {failed[:1]} {said['problems'][:1]}")
    ours_s = said["apps_s"] + said["devices_s"] + harness_s + server_s
    return Taken(record, wall_s, said["apps_s"], said["devices_s"], harness_s, server_s, max(0.0, all_s - ours_s))


def planned_s(session: Session, plan: RunPlan) -> float:
    """Return what a session measured and cooled, in seconds: its loads, first inference, warm-up, series and waits."""
    series_ns = max(sum(session.latency_ns) * max(session.stride, 1), plan.min_seconds * 1e9)
    named_ns = session.load_cold_ns + session.load_warm_ns + session.first_ns + session.warmup.elapsed_ns
    return (series_ns + named_ns) / 1e9 + (session.cooled.waited_s if session.cooled is not None else 0.0)


def main() -> None:
    folder = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    plan = sys.argv[3] if len(sys.argv) > 3 else "quick"
    plans.PLANS["brief"] = BRIEF
    cores = len(os.sched_getaffinity(0))
    one = take(folder, 1, plan)
    own_s = sum(planned_s(session, cell.plan) for cell in one.record.cells for session in cell.sessions)
    each_s = (one.wall_s - own_s) / len(one.record.cells)
    sessions = sum(len(cell.sessions) for cell in one.record.cells)
    app_s = one.apps_s / sessions
    print(f"one device x {len(one.record.cells)} builds, {sessions} sessions, plan {plan}: {one.wall_s:.1f} s")
    print(f"  the plan's own measuring and cooling {own_s:.1f} s, overhead {each_s:.2f} s a cell (target at most 2)")
    print(f"  processor: an app {app_s:.2f} s a session; harness {one.harness_s:.1f} s, devices {one.devices_s:.1f} s")
    many = take(folder, count, plan)
    need_s = many.apps_s / cores
    cells = len(many.record.cells)
    print(f"{count} devices x {cells // count} builds, plan {plan}: {many.wall_s:.1f} s on {cores} cores")
    print(f"  the apps need {many.apps_s:.1f} s of processor, {need_s:.1f} s of wall time: ratio ", end="")
    print(f"{many.wall_s / need_s:.2f} (target at most 1.25)")
    free_s = many.wall_s - many.others_s / cores
    print(f"  other programs took {many.others_s:.1f} s of processor meanwhile: without them {free_s / need_s:.2f}")
    print(f"  besides: harness {many.harness_s:.1f} s, virtual devices {many.devices_s:.1f} s, ", end="")
    print(f"adb server {many.server_s:.1f} s of processor")


if __name__ == "__main__":
    if sys.argv[1] == "--farm":
        farm(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
