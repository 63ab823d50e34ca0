"""A float ``.tflite`` goes to TFLite as it is: its own operators, the sizes asked for, and names that differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import tflite_source_jobs as jobs

from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools

DEADLINE_S = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tools_of_module: Tools) -> Path:
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    isolate(tools_of_module, DEADLINE_S, jobs.make, path)
    return path


@pytest.fixture(scope="module")
def tools_of_module(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    from toolkit.core import process
    from toolkit.core.clock import SystemClock
    from toolkit.core.events import silent
    from toolkit.core.store import Store

    return Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("batch", [1, 3])
def test_it_keeps_its_operators_and_takes_the_sizes(batch: int, model: Path, tools: Tools, tmp_path: Path) -> None:
    found = isolate(tools, DEADLINE_S, jobs.to_tflite, model, {"image": (batch, 6, 6, 2)}, tmp_path)
    assert found.shapes == {
        "image": (batch, 6, 6, 2),
        "kept": (batch, 6, 6, 4),
        "twice": (batch, 4),
        "again": (batch, 4),
    }
    assert found.inner_batches == {batch}
    assert "EQUAL" in found.operators
    assert found.same
    assert found.unique_names
    assert found.integers


def test_its_float_build_is_no_larger(model: Path, tools: Tools, tmp_path: Path) -> None:
    found = isolate(tools, DEADLINE_S, jobs.to_tflite, model, {}, tmp_path)
    assert found.float_bytes < model.stat().st_size + 2000  # names and a signature
