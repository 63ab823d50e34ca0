"""How often a comparison cries wolf, and how often it hears one.

    python benchmarks/false_alarms.py [--samples FOLDER] [--repeats 2000] [--series NAME]

Sessions are simulated from the recorded latency series of two real phones: a session is a block bootstrap of a
recorded series (which keeps its autocorrelation), times what one fresh process differs from the next (log-normal).
Without a change that comes on top of what the series itself moves, which for the ramping phone is some 4 % more; to
find a change it is all that sessions differ by, so that "2 % spread" means that. Each comparison goes through
`palmtop compare` itself. Beside it stands what many tools do: pool all iterations and test them.

Claims (docs/benchmarks.md): A/A comparisons flag at most 5 %; a true slow-down of 5 % at 2 % spread and 8 sessions is
found at least 95 % of the time. Rows of 12 cells show what it costs that their tests share one false alarm rate.
The whole takes some five minutes of one core.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import time
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


def sessions_of(recorded: np.ndarray, setup: Setup, ratios: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return latencies of sessions in nanoseconds, for every ratio as many as the setup has; [*ratios, sessions, runs].

    A ratio that is not a number leaves the level of a session to the series.
    """
    shape = (*ratios.shape, setup.sessions)
    starts = rng.integers(0, len(recorded) - BLOCK + 1, (*shape, RUNS // BLOCK, 1))
    blocks = recorded[starts + np.arange(BLOCK)].reshape(*shape, RUNS)
    levels = ratios[..., None] * np.median(recorded) / np.median(blocks, axis=-1)
    levels = np.where(np.isnan(levels), 1.0, levels) * np.exp(rng.normal(0, setup.spread, shape))
    return (blocks * levels[..., None]).astype(np.int64)


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


def run_of(cells: np.ndarray) -> RunRecord:
    """Return a run of cells with these latencies; [cells, sessions, runs]."""
    made = tuple(
        Cell(
            id=f"b@{index}", run_id="r", device=dataclasses.replace(DEVICE, serial=str(index)), build_id="b",
            build_sha256="0", target="onnx", recipe="int8", size_bytes=1, plan=PLAN, outcome="measured", runner="app",
            runtime="ort", runtime_version="1",
            sessions=tuple(dataclasses.replace(SESSION, index=i, latency_ns=tuple(one)) for i, one in enumerate(cell)),
        )
        for index, cell in enumerate(cells.tolist())
    )  # fmt: skip
    return RunRecord(
        id="r", palmtop="0", created_utc="", build_dir="", manifest=MANIFEST, plan=PLAN, cells=made
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What is simulated; without a ``ratio`` nothing changed, else so many of the cells are slower by it."""

    spread: float
    sessions: int
    cells: int = 1
    ratio: float | None = None
    slower: int = 1
    share: float = 1.0
    """Of the repeats."""

    @property
    def words(self) -> str:
        change = "none" if self.ratio is None else f"{100 * (self.ratio - 1):+.0f} %"
        if self.ratio is not None and self.cells > 1:
            change += " of all" if self.slower == self.cells else f" of {self.slower}"
        return f"{100 * self.spread:g} % | {self.sessions} | {self.cells} | {change}"


CHUNK = 50
"""Repeats that are drawn at a time."""


def trials(recorded: np.ndarray, setup: Setup, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Return, for every repeat, the shares of what :data:`HEADS` names; [repeats, 4]."""
    found = []
    for start in range(0, repeats, CHUNK):
        count = min(CHUNK, repeats - start)
        ratios = np.full((2, count, setup.cells), np.nan if setup.ratio is None else 1.0)
        if setup.ratio is not None:
            ratios[1, :, : setup.slower] = setup.ratio
        before, after = sessions_of(recorded, setup, ratios, rng)
        runs = (side[:, 0].reshape(count, -1) for side in (before, after))
        pooled = scipy_stats.mannwhitneyu(*runs, axis=1).pvalue < 0.05
        found += [(*judged(*sides, setup), late) for *sides, late in zip(before, after, pooled, strict=True)]
    return np.array(found, np.float64)


def judged(before: np.ndarray, after: np.ndarray, setup: Setup) -> tuple[bool, bool, float]:
    """Say whether the gate failed, whether anything was flagged either way, and how many of the slower were found."""
    found = comparer.compare(run_of(before), run_of(after))
    flagged = any(cell.verdict in ("regressed", "improved") for cell in found.cells)
    slower = found.cells[: setup.slower]
    return found.gate.failed, flagged, sum(cell.verdict == "regressed" for cell in slower) / len(slower)


HEADS = ("gate fails", "flagged", "slower cells found", "pooled flags")


def row(recorded: np.ndarray, setup: Setup, repeats: int, rng: np.random.Generator) -> str:
    shares = 100 * trials(recorded, setup, repeats, rng).mean(axis=0)
    shown = [f"{share:.1f} %" for share in shares]
    if setup.ratio is None:
        shown[2] = "–"
    return f"{setup.words} | {repeats} | {' | '.join(shown)} |"


def main() -> None:
    default = os.environ.get("PALMTOP_SAMPLES", str(Path(__file__).parents[2] / "shared/research/device_samples"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=Path, default=Path(default))
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--series", choices=NAMES, action="append")
    asked = parser.parse_args()
    rng = np.random.default_rng(20261123)
    heads = ("series", "spread", "sessions", "cells", "true change", "repeats", *HEADS)
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in asked.series or NAMES:
        recorded = series(asked.samples, name)
        for setup in SETUPS:
            print(f"| {name} | {row(recorded, setup, max(int(asked.repeats * setup.share), 1), rng)}", flush=True)
    print(f"\n{time.process_time():.0f} s of processor")


SETUPS = (
    *(Setup(spread=0.02, sessions=sessions) for sessions in (3, 5, 8)),
    *(Setup(spread=spread, sessions=5) for spread in (0.0, 0.04)),
    Setup(spread=0.02, sessions=5, cells=12),
    *(Setup(spread=0.02, sessions=sessions, ratio=1.05) for sessions in (5, 8)),
    Setup(spread=0.04, sessions=10, ratio=1.05),
    Setup(spread=0.02, sessions=8, cells=12, ratio=1.05, slower=12, share=0.25),
    *(Setup(spread=0.02, sessions=sessions, cells=12, ratio=1.05, share=0.25) for sessions in (8, 10)),
)


if __name__ == "__main__":
    main()
