"""A plug-in of dense layers for tests of the search: two of its layers bear 8 bits badly, and 16 bits well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.search.requests import SearchRequest

PLUG = Path(__file__).parent / "plug"
WIDTH, CLASSES, LAYERS = 24, 4, 6
FRAGILE = ("step1", "step3")


def weights(fragile: tuple[str, ...] = FRAGILE) -> dict[str, np.ndarray]:
    """Return random layers; in the fragile ones an outlier that no sample meets spoils the one scale of the layer."""
    rng = np.random.default_rng(5)
    made = {}
    for index in range(LAYERS):
        wide = CLASSES if index == LAYERS - 1 else WIDTH
        matrix = rng.normal(0, 1.4 / np.sqrt(WIDTH), (WIDTH, wide)).astype(np.float32)
        if index:
            matrix[-1] = 0  # the last unit of a hidden layer counts for nothing...
        if f"step{index}" in fragile:
            matrix[-1, 0] = 60.0  # ...which here is not so, but it is always zero
        if index < LAYERS - 1:
            matrix[:, -1] = 0
        made[f"step{index}"] = matrix
    return made


@pytest.fixture
def ladder(plugged: Callable[[str, Path, str], Path]) -> Path:
    """Install the plug-in; return a folder for models and data."""
    registered = "[palmtop.sources]\nladder = ladder_source\n\n[palmtop.targets]\nladder = ladder_target\n"
    return plugged("ladder", PLUG, registered)


@pytest.fixture
def asked(ladder: Path) -> Callable[..., SearchRequest]:
    """Return a function that writes a model and labelled data, and makes a request for a search of them."""

    def make(count: int = 1400, fragile: tuple[str, ...] = FRAGILE, **changes: Any) -> SearchRequest:
        arrays = weights(fragile)
        with (ladder / "net.ladder").open("wb") as file:
            np.savez(file, **arrays)
        rng = np.random.default_rng(11)
        x = rng.normal(0, 1, (count, WIDTH)).astype(np.float32)
        made = x
        for name, matrix in arrays.items():
            made = made @ matrix
            made = made if name == f"step{LAYERS - 1}" else np.maximum(made, 0)
        labels = made.argmax(axis=1)
        labels[::20] = (labels[::20] + 1) % CLASSES
        np.savez(ladder / "data.npz", x=x, labels=labels)
        fields: dict[str, Any] = {
            "model": ladder / "net.ladder",
            "out": ladder / "out",
            "data": str(ladder / "data.npz"),
            "targets": ("ladder",),
            "max_drop": 0.03,
            "samples": 40,
            **changes,
        }
        return SearchRequest(**fields)

    return make
