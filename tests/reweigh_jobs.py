"""Builds whose layers get other integer weights, read back; for child processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Reweighed:
    """What came of a build in which every other layer with a grid got weights drawn from all over it.

    ``layers`` were given weights, ``largest`` is how far one of them read back from what was asked, in steps,
    ``others`` the largest change of any other layer, ``size_change`` that of the build in bytes.
    """

    layers: tuple[str, ...]
    largest: float
    others: float
    size_change: int


def reweigh(module: Any, model: Path, out: Path) -> Reweighed:
    """Give every other layer of a build with integer weights others, and read the build again."""
    rng = np.random.default_rng(4)
    before = {layer.name: layer for layer in module.linear_layers(model)}
    chosen = [layer for layer in before.values() if layer.grid is not None][::2]
    asked = {}
    for layer in chosen:
        ends = [np.broadcast_to(part, layer.weight.shape) for part in (layer.grid.lowest, layer.grid.highest)]
        steps = rng.integers(ends[0].astype(int), ends[1].astype(int) + 1)
        asked[layer.name] = (steps * layer.grid.step).astype(np.float32)
    module.reweigh(model, asked, out)
    after = {layer.name: layer for layer in module.linear_layers(out)}
    apart = {name: np.abs(after[name].weight - layer.weight).max() for name, layer in before.items()}
    return Reweighed(
        layers=tuple(asked),
        largest=max(
            (float((np.abs(after[name].weight - asked[name]) / before[name].grid.step).max()) for name in asked),
            default=0.0,
        ),
        others=float(max((value for name, value in apart.items() if name not in asked), default=0.0)),
        size_change=_bytes(out) - _bytes(model),
    )


def _bytes(artefact: Path) -> int:
    files = [artefact] if artefact.is_file() else [path for path in artefact.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)
