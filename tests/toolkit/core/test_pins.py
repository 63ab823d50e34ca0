"""Ranges that a model brings along: found again in another runtime by what tensors hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.core import pins
from toolkit.core.errors import ModelError
from toolkit.core.pins import Pin


def a_pin(values: np.ndarray, low: float = -1.0, high: float = 2.0) -> Pin:
    return Pin(site="a", low=low, high=high, fingerprint=pins.fingerprint(values))


def test_a_tensor_is_known_by_its_values_whatever_its_axes(rng: np.random.Generator) -> None:
    values = rng.normal(0, 1, (1, 6, 5, 4)).astype(np.float32)
    turned = values.transpose(0, 2, 3, 1) * np.float32(1.00001)
    other = values * np.float32(1.01)
    found = pins.matched([a_pin(values)], [("t", pins.fingerprint(turned)), ("u", pins.fingerprint(other))])
    assert {name: (one.low, one.high) for name, one in found.items()} == {"t": (-1.0, 2.0)}


def test_the_widest_of_several_ranges_counts(rng: np.random.Generator) -> None:
    values = rng.normal(0, 1, 50)
    known = [a_pin(values), a_pin(values, low=-3.0, high=1.0)]
    assert pins.matched(known, [("t", pins.fingerprint(values))])["t"].low == -3.0
    assert pins.matched(known, [("t", pins.fingerprint(values))])["t"].high == 2.0


def test_ranges_lie_beside_their_model(tmp_path: Path, rng: np.random.Generator) -> None:
    model = tmp_path / "net.keras"
    assert pins.beside(model) == tmp_path / "net.ranges.json"
    assert pins.files(model) == (model,)
    known = (a_pin(rng.normal(0, 1, 9)),)
    pins.write(pins.beside(model), known)
    assert pins.files(model) == (model, tmp_path / "net.ranges.json")
    assert pins.read(pins.beside(model)) == known


@pytest.mark.parametrize(("low", "high"), [(1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_range_that_is_none_is_refused(low: float, high: float, tmp_path: Path) -> None:
    path = tmp_path / "net.ranges.json"
    pins.write(path, [a_pin(np.ones(3), low, high)])
    with pytest.raises(ModelError, match="range"):
        pins.read(path)


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', '{"schema": 1, "pins": [{"site": "x"}]}', "[]"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.ranges.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"net\.ranges\.json"):
        pins.read(path)
