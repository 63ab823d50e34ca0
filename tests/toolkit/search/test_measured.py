"""What a search reads of an exported run, as `palmtop history export` writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.core.errors import DataError
from toolkit.search.measured import read


def cell(recipe: str, kind: str, *medians: int, energy: float | None = None) -> dict:
    return {
        "outcome": "measured",
        "target": "onnx",
        "recipe": recipe,
        "device": {"kind": kind, "model": f"a {kind}"},
        "sessions": [{"latency_ns": [one - 1, one, one + 5]} for one in medians],
        "energy": None if energy is None else {"per_inference_uj": energy},
    }


def write(path: Path, *cells: dict) -> Path:
    path.write_text(json.dumps({"cells": [*cells, {"outcome": "failed"}]}))
    return path


def test_the_phone_with_the_most_builds_counts(tmp_path: Path) -> None:
    run = write(
        tmp_path / "run.json",
        cell("static-int8", "host", 1),
        cell("float16", "host", 2),
        cell("static-int8", "phone", 30, 10, 20),
    )
    found = read(run, "latency")
    assert found.place == "a phone (phone)"
    assert found.costs == {("onnx", "static-int8"): 20.0}


def test_energy_is_read_where_it_was_measured(tmp_path: Path) -> None:
    run = write(tmp_path / "run.json", cell("static-int8", "phone", 1, energy=7.5), cell("float16", "phone", 1))
    assert read(run, "energy").costs == {("onnx", "static-int8"): 7.5}
    with pytest.raises(DataError, match="holds no energy"):
        read(write(tmp_path / "other.json", cell("float16", "phone", 1)), "energy")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', '{"cells": [{"outcome": "measured"}]}', "\x00"])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match="no exported run"):
        read(tmp_path / "run.json", "latency")
