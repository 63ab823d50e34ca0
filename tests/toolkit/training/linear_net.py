"""A framework of a few lines: one linear layer in numpy that fulfils the contract of a trainee, gradients by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.core.layers import Layer
from toolkit.training.trainee import Floats, Goal, Rounding, State, Weight


class LinearNet:
    """`y = x @ w` on a grid of `bits`; plain gradient descent with momentum stands for the optimizer."""

    batch: int | None = None
    layers = (Layer(name="line", operator="Dense", weighted=True),)
    sites = ("x", "y")

    def __init__(self, weight: Floats) -> None:
        self.w = weight.astype(np.float32)
        self.momentum = np.zeros_like(self.w)
        self.mask = np.ones_like(self.w)
        self.table: Floats | None = None
        self.index: np.ndarray | None = None
        self.low = self.high = np.zeros(2, np.float32)
        self.rounding = Rounding()
        self.grids: list[bool] = []
        self.surveys = 0
        self.saved: list[Path] = []

    def arrange(self, rounding: Rounding, goals: tuple[Goal, ...], *, learned: bool) -> None:
        self.rounding, self.goals = rounding, goals

    def is_rounded(self, site: str) -> bool:
        return True

    def _weight(self, rounded: bool) -> Floats:
        held = self.w if self.table is None else self.table[self.index]
        held = held * self.mask
        if not rounded or self.rounding.weight_bits > 8:
            return held
        scale = max(float(np.abs(held).max()), 1e-9) / (2 ** (self.rounding.weight_bits - 1) - 1)
        return np.rint(held / scale) * scale

    def run(self, feeds: Mapping[str, Floats], symmetric: bool | None) -> dict[str, Floats]:
        return {"y": (feeds["x"] @ self._weight(symmetric is not None)).astype(np.float32)}

    def survey(self, feeds: Mapping[str, Floats], *, rounded: bool) -> tuple[Floats, Floats]:
        self.surveys += 1
        values = [feeds["x"], feeds["x"] @ self._weight(rounded)]
        return np.array([v.min() for v in values], np.float32), np.array([v.max() for v in values], np.float32)

    def set_ranges(self, low: Floats, high: Floats) -> None:
        self.low, self.high = low, high

    def ranges(self) -> tuple[Floats, Floats]:
        return self.low, self.high

    def step(
        self, feeds: Mapping[str, Floats], targets: Mapping[str, Floats], rate: float, *, symmetric: bool
    ) -> float:
        self.grids.append(symmetric)
        gap = feeds["x"] @ self._weight(True) - targets["y"]
        slope = feeds["x"].T @ gap / len(gap) * self.mask
        self.momentum = (0.5 * self.momentum + slope).astype(np.float32)
        if self.table is None:
            self.w = (self.w - rate * self.momentum).astype(np.float32)
        else:
            sums = np.bincount(self.index.ravel(), self.momentum.ravel(), minlength=len(self.table))
            self.table = (self.table - rate * sums).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            return float((gap.astype(np.float64) ** 2).mean())

    def weights(self) -> dict[str, Weight]:
        return {"line/w": Weight(layer="line", values=self._weight(False), kept=(1,), prunable=True)}

    def prune(self, masks: Mapping[str, np.ndarray]) -> None:
        self.mask = masks["line/w"].astype(np.float32) if masks else self.mask

    def cluster(self, tables: Mapping[str, tuple[Floats, np.ndarray]]) -> None:
        if tables:
            self.table, self.index = tables["line/w"]
            self.mask = self.mask * (self.table[self.index] != 0)

    def state(self) -> State:
        plain = {"w": self.w, "momentum": self.momentum, "mask": self.mask, "ranges": np.stack([self.low, self.high])}
        return plain if self.table is None else {**plain, "table": self.table, "index": self.index}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if state["w"].shape != self.w.shape:
            raise ModelError("The checkpoint is of another model.")
        self.w, self.momentum, self.mask = state["w"], state["momentum"], state["mask"]
        self.low, self.high = state["ranges"]
        self.table, self.index = state.get("table"), state.get("index")

    def trace(self, feeds: Mapping[str, Floats]) -> dict[str, Floats]:
        return {"x": feeds["x"], "y": feeds["x"] @ self._weight(False)}

    def save(self, model: Path) -> tuple[Path, ...]:
        self.saved.append(model)
        return ()
