"""How often a comparison cries wolf, and how often it hears one.

    python benchmarks/false_alarms.py [--samples FOLDER] [--repeats 2000] [--series NAME]

Sessions are simulated from the recorded latency series of two real phones: a session is a block bootstrap of a
recorded series (which keeps its autocorrelation), times what one fresh process differs from the next (log-normal).
Without a change that comes on top of what the series itself moves, which for the ramping phone is some 4 % more; to
find a change it is all that sessions differ by, so that "2 % spread" means that. Each comparison goes through
`palmtop compare` itself. Beside it stands what many tools do: pool all iterations and test them.

Claims (docs/benchmarks.md): A/A comparisons flag at most 5 %; a true slow-down of 5 % at 2 % spread and 8 sessions is
found at least 95 % of the time.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
from pathlib import Path

import numpy as np
from scipy import stats as scipy_stats

from mobile_harness import comparer, plans
from mobile_harness.parity import UNCHECKED
from mobile_harness.records import Cell, DeviceInfo, RunRecord, Session, Warmup
from toolkit.core.artifacts import Preprocess, Signature
from toolkit.core.manifest import Manifest, SourceEntry

BLOCK = 10
RUNS = 100
NAMES = ("sd8gen3", "sd7gen3")


def series(folder: Path, name: str) -> np.ndarray:
    """Return a recorded series in nanoseconds without its first, cold query."""
    path = folder / f"latency_series__{name}_mobilebert_singlestream.csv"
    with path.open() as file:
        return np.array([int(row["latency_ns"]) for row in csv.DictReader(file)][1:])


def session_of(recorded: np.ndarray, spread: float, ratio: float | None, rng: np.random.Generator) -> tuple[int, ...]:
    starts = rng.integers(0, len(recorded) - BLOCK + 1, RUNS // BLOCK)
    blocks = np.concatenate([recorded[start : start + BLOCK] for start in starts])
    level = 1.0 if ratio is None else ratio * np.median(recorded) / np.median(blocks)
    return tuple((blocks * np.exp(rng.normal(0, spread)) * level).astype(int).tolist())


DEVICE = DeviceInfo(
    transport="adb", serial="", platform="android", model="phone", soc="soc", os_version="15", abis=(), ram_mb=1,
    kind="phone",
)  # fmt: skip
SESSION = Session(
    index=0, load_cold_ns=0, load_warm_ns=1, first_ns=1, warmup=Warmup(runs=1, elapsed_ns=1, converged=True),
    latency_ns=(1,), rss_before_load_kb=1, rss_after_load_kb=1, peak_rss_kb=0, parity=UNCHECKED, live_gaps=0,
    started_utc="",
)  # fmt: skip
MANIFEST = Manifest(
    palmtop="0",
    source=SourceEntry(name="m", path="m", sha256="0", format="onnx", signature=Signature(inputs=(), outputs=())),
    preprocess=Preprocess(), calibration=None, toolchain=(), builds=(),
)  # fmt: skip
PLAN = plans.load("gate")


def run_of(cells: list[list[tuple[int, ...]]]) -> RunRecord:
    made = tuple(
        Cell(
            id=f"b@{index}", run_id="r", device=dataclasses.replace(DEVICE, serial=str(index)), build_id="b",
            build_sha256="0", target="onnx", recipe="int8", size_bytes=1, plan=PLAN, outcome="measured", runner="app",
            runtime="ort", runtime_version="1",
            sessions=tuple(dataclasses.replace(SESSION, index=i, latency_ns=one) for i, one in enumerate(sessions)),
        )
        for index, sessions in enumerate(cells)
    )  # fmt: skip
    return RunRecord(
        id="r", palmtop="0", created_utc="", build_dir="", manifest=MANIFEST, plan=PLAN, cells=made
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Setup:
    spread: float
    sessions: int
    cells: int
    ratio: float | None


def trial(recorded: np.ndarray, setup: Setup, rng: np.random.Generator) -> tuple[bool, bool, bool]:
    """Say whether the gate failed, whether anything was flagged either way, and whether pooling would flag it."""
    sides = [
        [[session_of(recorded, setup.spread, ratio, rng) for _ in range(setup.sessions)] for _ in range(setup.cells)]
        for ratio in (setup.ratio and 1.0, setup.ratio)
    ]
    found = comparer.compare(run_of(sides[0]), run_of(sides[1]))
    flagged = any(cell.verdict in ("regressed", "improved") for cell in found.cells)
    pooled = scipy_stats.mannwhitneyu(np.ravel(sides[0][0]), np.ravel(sides[1][0])).pvalue < 0.05
    return found.gate.failed, flagged, bool(pooled)


def main() -> None:
    default = os.environ.get("PALMTOP_SAMPLES", str(Path(__file__).parents[2] / "shared/research/device_samples"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=Path, default=Path(default))
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--series", choices=NAMES, action="append")
    asked = parser.parse_args()
    rng = np.random.default_rng(20261123)
    heads = ("series", "spread", "sessions", "cells", "true change", "repeats", "gate fails", "flagged", "pooled flags")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in asked.series or NAMES:
        recorded = series(asked.samples, name)
        for setup, share in SETUPS:
            repeats = max(int(asked.repeats * share), 1)
            hits = np.array([trial(recorded, setup, rng) for _ in range(repeats)]).mean(axis=0)
            words = " | ".join(f"{100 * hit:.1f} %" for hit in hits)
            change = f"{100 * (setup.ratio - 1):+.0f} %" if setup.ratio else "none"
            about = f"{name} | {100 * setup.spread:g} % | {setup.sessions} | {setup.cells} | {change} | {repeats}"
            print(f"| {about} | {words} |", flush=True)


SETUPS = (
    *((Setup(0.02, sessions, 1, None), 1.0) for sessions in (3, 5, 8)),
    *((Setup(spread, 5, 1, None), 0.25) for spread in (0.0, 0.04)),
    (Setup(0.02, 5, 12, None), 0.1),
    *((Setup(0.02, sessions, 1, 1.05), 1.0) for sessions in (5, 8)),
    (Setup(0.04, 10, 1, 1.05), 0.25),
    (Setup(0.02, 10, 12, 1.05), 0.1),
)
"""What is simulated, with the share of the repeats that it gets."""


if __name__ == "__main__":
    main()
