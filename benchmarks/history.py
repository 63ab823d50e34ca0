"""Time the list of a history of ten thousand runs, beside reading one run and opening the store.

    python benchmarks/history.py [--runs 10000] [--url postgresql://user@host/name]

Claim (docs/benchmarks.md): ten thousand runs list in under 300 ms.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mobile_harness import plans
from mobile_harness.history import History, tables
from mobile_harness.parity import UNCHECKED
from mobile_harness.records import Cell, DeviceInfo, RunRecord, Session, Warmup
from toolkit.core.artifacts import Preprocess, Requirements, Signature, TensorSpec
from toolkit.core.manifest import BuildEntry, Manifest, SourceEntry

Rows = dict[sa.Table, list[dict[str, Any]]]

DEVICE = DeviceInfo(
    transport="adb", serial="", platform="android", model="phone", soc="soc", os_version="15", abis=("arm64-v8a",),
    ram_mb=8000, kind="phone",
)  # fmt: skip
SPEC = TensorSpec(name="image", dtype="float32", shape=(1, 224, 224, 3))
SIGNATURE = Signature(inputs=(SPEC,), outputs=(SPEC,))
BUILDS = tuple(
    BuildEntry(
        id=f"{target}-{recipe}", target=target, recipe=recipe, path="b", sha256="0" * 64, size_bytes=1,
        signature=SIGNATURE, kept_float=(), requirements=Requirements(runtime="r", runtime_min="1"),
    )
    for target in ("onnx", "tflite") for recipe in ("float32", "static-int8", "dynamic-int8")
)  # fmt: skip
MANIFEST = Manifest(
    palmtop="0",
    source=SourceEntry(name="m", path="m", sha256="0" * 64, format="onnx", signature=SIGNATURE),
    preprocess=Preprocess(), calibration=None, toolchain=(), builds=BUILDS,
)  # fmt: skip
SESSION = Session(
    index=0, load_cold_ns=1, load_warm_ns=1, first_ns=1, warmup=Warmup(runs=1, elapsed_ns=1, converged=True),
    latency_ns=tuple(range(2_000_000, 2_000_100)), rss_before_load_kb=1, rss_after_load_kb=1, peak_rss_kb=1,
    parity=UNCHECKED, live_gaps=0, started_utc="",
)  # fmt: skip


def run_of(run_id: str, created_utc: str) -> RunRecord:
    """Return a run of six builds on two phones, a session each."""
    cells = tuple(
        Cell(
            id=f"{build.id}@adb:{serial}", run_id=run_id, device=dataclasses.replace(DEVICE, serial=serial),
            build_id=build.id, build_sha256="0" * 64, target=build.target, recipe=build.recipe, size_bytes=1,
            plan=plans.load("quick"), outcome="measured", runner="app", runtime="r", runtime_version="1",
            sessions=(SESSION,),
        )
        for build in BUILDS for serial in ("A", "B")
    )  # fmt: skip
    return RunRecord(
        id=run_id, palmtop="0", created_utc=created_utc, build_dir="/home/me/project/builds",
        manifest=MANIFEST, plan=plans.load("quick"), cells=cells,
    )  # fmt: skip


ID, TIME = "20260101-0000-0000", "2026-01-01T00:00:00Z"


def rows_of(number: int, kinds: Rows) -> Rows:
    """Return the rows of the template run under another id and time."""
    started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=37 * number)
    run_id, created_utc = f"{started:%Y%m%d-%H%M}-{number % 65536:04x}", f"{started:%Y-%m-%dT%H:%M:%SZ}"

    def renamed(value: object) -> object:
        return value.replace(ID, run_id).replace(TIME, created_utc) if isinstance(value, str) else value

    return {
        table: [{key: renamed(value) for key, value in row.items()} for row in rows] for table, rows in kinds.items()
    }


def fill(url: str, count: int) -> None:
    """Write the rows as the store writes them, many runs to a transaction: filling is not what is timed."""
    one = run_of(ID, TIME)
    kinds: Rows = {
        tables.RUNS: [tables.run_row(one)],
        tables.SUMMARIES: [tables.summary_row(one)],
        tables.CELLS: [tables.cell_row(cell, position) for position, cell in enumerate(one.cells)],
        tables.SESSIONS: [tables.session_row(cell, session) for cell in one.cells for session in cell.sessions],
    }
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    for start in range(0, count, 500):
        with engine.begin() as link:
            many = [rows_of(number, kinds) for number in range(start, min(start + 500, count))]
            for table in kinds:
                link.execute(table.insert(), [row for rows in many for row in rows[table]])


def timed(words: str, work: Callable[[], object], times: int = 7) -> float:
    work()
    taken, worked = [], []
    for _ in range(times):
        started, busy = time.perf_counter(), time.process_time()
        work()
        taken.append(1000 * (time.perf_counter() - started))
        worked.append(1000 * (time.process_time() - busy))
    figures = f"{statistics.median(taken):8.1f} ms (least {min(taken):.1f}, processor {statistics.median(worked):.1f})"
    print(f"{words:36} {figures}, median of {times}", flush=True)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--url")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        url = asked.url or f"sqlite:///{Path(scratch) / 'history.sqlite'}"
        store = History(url)
        started = time.perf_counter()
        fill(url, asked.runs)
        print(f"filled with {asked.runs} runs of 12 cells in {time.perf_counter() - started:.0f} s")
        timed("open and list all", lambda: History(url).runs())
        timed("list the latest 50", lambda: store.runs(50))
        timed("read one run", lambda: store.read("latest"))
        timed("follow a build over 500 runs", lambda: store.cells_of("onnx-static-int8", "adb:A"), 3)


if __name__ == "__main__":
    main()
