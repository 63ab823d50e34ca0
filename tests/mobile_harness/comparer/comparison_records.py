"""Runs whose session medians are known, for the tests of comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobile_harness import plans
from mobile_harness.parity import UNCHECKED
from mobile_harness.records import Cell, DeviceInfo, Failure, RunRecord, Session, Warmup
from toolkit.core import metrics
from toolkit.core.artifacts import Preprocess, Requirements, Score, Signature
from toolkit.core.manifest import BuildEntry, DataEntry, Manifest, SourceEntry

PHONE = DeviceInfo(
    transport="adb", serial="R5CT", platform="android", model="SM-S921B", soc="Exynos 2400", os_version="15",
    abis=("arm64-v8a",), ram_mb=7000, kind="phone",
)  # fmt: skip
HOST = dataclasses.replace(PHONE, transport="host", serial="1f3a", platform="linux", model="cpu", kind="host")
STEADY = (1.00, 1.01, 0.99, 1.005, 0.995, 1.002, 0.998, 1.0)
"""Session medians in ms with a standard deviation of 0.6 %."""


def session(index: int, median_ms: float, **more: Any) -> Session:
    nanoseconds = round(median_ms * 1e6)
    fields: dict[str, Any] = {
        "index": index,
        "load_cold_ns": 5_000_000,
        "load_warm_ns": 4_000_000,
        "first_ns": 2 * nanoseconds,
        "warmup": Warmup(runs=10, elapsed_ns=10, converged=True),
        "latency_ns": tuple(nanoseconds + step for step in range(-20, 21)),
        "rss_before_load_kb": 1000,
        "rss_after_load_kb": 2000,
        "peak_rss_kb": 3000,
        "parity": UNCHECKED,
        "live_gaps": 0,
        "started_utc": "2026-11-23T00:41:00Z",
        "runs": 41,
    }
    return Session(**{**fields, **more})


def cell(medians_ms: Sequence[float], **more: Any) -> Cell:
    fields: dict[str, Any] = {
        "device": PHONE,
        "build_id": "onnx-static-int8",
        "build_sha256": "b" * 64,
        "target": "onnx",
        "recipe": "static-int8",
        "size_bytes": 1000,
        "plan": plans.load("gate"),
        "outcome": "measured" if medians_ms else "failed",
        "runner": "android-app",
        "runtime": "onnxruntime",
        "runtime_version": "1.32.0",
        "sessions": tuple(session(index, median) for index, median in enumerate(medians_ms)),
        "failure": None if medians_ms else Failure(kind="app_crash", message="The app crashed."),
        "run_id": "20261123-0041-7f3a",
    }
    fields |= more
    fields.setdefault("id", f"{fields['build_id']}@{fields['device'].transport}:{fields['device'].serial}")
    return Cell(**fields)


def build(target: str = "onnx", recipe: str = "static-int8", **more: Any) -> BuildEntry:
    fields: dict[str, Any] = {
        "id": f"{target}-{recipe}",
        "target": target,
        "recipe": recipe,
        "path": "b.onnx",
        "sha256": "b" * 64,
        "size_bytes": 1000,
        "signature": Signature(inputs=(), outputs=()),
        "kept_float": (),
        "requirements": Requirements(runtime="ONNX Runtime", runtime_min="1.16"),
    }
    return BuildEntry(**{**fields, **more})


def score(values: Sequence[float], reference: Sequence[float] | None = None, max_drop: float = 0.01) -> Score:
    kept = np.asarray(values, np.float64)
    floats = np.ones_like(kept) if reference is None else np.asarray(reference, np.float64)
    return metrics.score("top1", floats, kept, metrics.Budget(max_drop=max_drop, confidence=0.95))


def run(cells: Sequence[Cell], builds: Sequence[BuildEntry] = (), **more: Any) -> RunRecord:
    source = SourceEntry(
        name="net", path="net.onnx", sha256="5" * 64, format="onnx", signature=Signature(inputs=(), outputs=())
    )
    manifest = Manifest(
        palmtop="0.1.0",
        source=source,
        preprocess=Preprocess(),
        calibration=None,
        verification=DataEntry(data="d", format="npz", sha256="d" * 64, samples=100),
        toolchain=(),
        builds=tuple(builds),
    )
    fields: Mapping[str, Any] = {
        "id": "20261123-0041-7f3a",
        "palmtop": "0.1.0",
        "created_utc": "2026-11-23T00:41:00Z",
        "build_dir": "/b",
        "manifest": manifest,
        "plan": plans.load("gate"),
        "cells": tuple(cells),
    }
    return RunRecord(**{**fields, **more})


def times(medians_ms: Sequence[float], ratio: float) -> list[float]:
    return [median * ratio for median in medians_ms]
