"""A third party's source format and runtimes, registered by entry points, for tests of stages and pipeline."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.stages.requests import QuantizeRequest

TOY = Path(__file__).parent / "toy"

WEIGHTS = np.random.default_rng(7).normal(0, 1, (6, 3))


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path, str], Path]:
    """Return a function that installs plug-ins for this process and its children, and returns a folder to work in."""

    def install(name: str, code: Path, entry_points: str) -> Path:
        info = tmp_path / "site" / f"{name}_plugin-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        places = [str(tmp_path / "site"), str(code)]
        for place in reversed(places):
            monkeypatch.syspath_prepend(place)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")]))
        folder = tmp_path / "work"
        folder.mkdir()
        return folder

    return install


@pytest.fixture
def toy(plugged: Callable[[str, Path, str], Path]) -> Path:
    """Install the toy plug-ins; return a folder for models and data."""
    registered = (
        "[palmtop.sources]\ntoy = toy_source\n\n[palmtop.targets]\ntoy = toy_target\nfragile = fragile_target\n"
    )
    return plugged("toy", TOY, registered)


@pytest.fixture
def toy_model(toy: Path) -> Callable[..., Path]:
    """Return a function that writes a toy model with some fields changed."""

    def write(name: str = "model.toy", **changes: object) -> Path:
        path = toy / name
        content = {"in": [6], "weights": WEIGHTS.tolist(), "bias": [0.1, 0.0, -0.1], **changes}
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def toy_data(toy: Path) -> Callable[..., Path]:
    """Return a function that writes labelled samples for the toy model: labels are its own argmax, mostly."""

    def write(name: str = "data.npz", count: int = 40, **arrays: object) -> Path:
        rng = np.random.default_rng(11)
        x = rng.normal(0, 1, (count, 6)).astype(np.float32)
        labels = (x @ WEIGHTS + [0.1, 0.0, -0.1]).argmax(axis=1)
        labels[::10] = (labels[::10] + 1) % 3
        content = {"x": x, "labels": labels, **arrays}
        np.savez(toy / name, **{key: value for key, value in content.items() if value is not None})
        return toy / name

    return write


@pytest.fixture
def request_for(
    toy: Path, toy_model: Callable[..., Path], toy_data: Callable[..., Path]
) -> Callable[..., QuantizeRequest]:
    """Return a function that makes a request for builds of the toy model, some fields changed."""

    def make(model: Path | None = None, **changes: Any) -> QuantizeRequest:
        fields: dict[str, Any] = {
            "model": model or toy_model(),
            "out": toy / "out",
            "data": str(toy_data()),
            "targets": ("toy", "fragile"),
            "recipes": ("float32", "static-int8", "weight-int8"),
            **changes,
        }
        return QuantizeRequest(**fields)

    return make
