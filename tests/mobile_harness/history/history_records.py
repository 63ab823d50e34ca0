"""Runs for the tests of the history, importable in child processes too."""

from __future__ import annotations

from mobile_harness import plans
from mobile_harness.history import NOT_YET
from mobile_harness.parity import UNCHECKED
from mobile_harness.records import Cell, DeviceInfo, RunRecord, Session, Warmup
from toolkit.core.artifacts import Preprocess, Signature
from toolkit.core.manifest import Manifest, SourceEntry

DEVICE = DeviceInfo(
    transport="host", serial="1f3a90c2", platform="linux", model="cpu", soc="2 cores", os_version="x", abis=("x86_64",),
    ram_mb=1, kind="host",
)  # fmt: skip
MANIFEST = Manifest(
    palmtop="0",
    source=SourceEntry(name="net", path="n", sha256="0", format="onnx", signature=Signature(inputs=(), outputs=())),
    preprocess=Preprocess(),
    calibration=None,
    toolchain=(),
    builds=(),
)


def session(index: int) -> Session:
    return Session(
        index=index, load_cold_ns=1, load_warm_ns=2, first_ns=3, warmup=Warmup(runs=1, elapsed_ns=2, converged=True),
        latency_ns=(4, 5), rss_before_load_kb=6, rss_after_load_kb=7, peak_rss_kb=8, parity=UNCHECKED, live_gaps=0,
        started_utc="t", busy_share=0.5, notes=("x",),
    )  # fmt: skip


def run(run_id: str = "20261123-0041-7f3a", cells: int = 2) -> RunRecord:
    return RunRecord(
        id=run_id,
        palmtop="0.1",
        created_utc="2026-11-23T00:41:00Z",
        build_dir="/b",
        manifest=MANIFEST,
        plan=plans.load("quick"),
        cells=tuple(
            Cell(
                id=f"b{index}@host:1f3a90c2", run_id=run_id, device=DEVICE, build_id=f"b{index}", build_sha256="0",
                target="onnx", recipe="r", size_bytes=1, plan=plans.load("quick"), outcome="skipped", runner="python",
                runtime="", runtime_version="", failure=NOT_YET,
            )
            for index in range(cells)
        ),
    )  # fmt: skip
