"""What hypothesis draws: one use of an operator, with arrays whose values are kept off the points where it jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from coreml_cases import Case
from hypothesis import strategies as st

Draw = Any
"""hypothesis' ``draw``."""


@dataclass(frozen=True)
class Drawn:
    """A case, in words that let somebody write it down again, and the least system that has its operator."""

    name: str
    case: Case
    system: str = "iOS17"


def generator(draw: Draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**20)))


def size(draw: Draw, low: int = 1, high: int = 5) -> int:
    return int(draw(st.integers(low, high)))


def shape(draw: Draw, low: int = 1, high: int = 4, least: int = 1, most: int = 5) -> tuple[int, ...]:
    """Between ``low`` and ``high`` axes of ``least`` to ``most`` elements."""
    return tuple(draw(st.lists(st.integers(least, most), min_size=low, max_size=high)))


def one_of(draw: Draw, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def flag(draw: Draw) -> bool:
    return bool(draw(st.booleans()))


def floats(rng: np.random.Generator, wanted: Sequence[int], low: float = -3, high: float = 3) -> np.ndarray:
    return rng.uniform(low, high, wanted).astype(np.float32)


def eighths(rng: np.random.Generator, wanted: Sequence[int], most: int = 24) -> np.ndarray:
    """Multiples of 1/8, which float16 holds too: sums of them are exact, and halves come up."""
    return (rng.integers(-most, most + 1, wanted) / 8).astype(np.float32)


def integers(rng: np.random.Generator, wanted: Sequence[int], low: int = -9, high: int = 10) -> np.ndarray:
    return rng.integers(low, high, wanted).astype(np.int32)


def axis_of(draw: Draw, rank: int) -> int:
    """An axis, counted from the front or from the end."""
    return int(draw(st.integers(-rank, rank - 1)))


def axes_of(draw: Draw, rank: int) -> list[int]:
    """One or more different axes in any order, each counted from the front or from the end."""
    chosen = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
    return [axis - rank if flag(draw) else axis for axis in chosen]


def broadcast(draw: Draw, whole: Sequence[int]) -> tuple[int, ...]:
    """A shape that broadcasts to another: leading axes gone, and some of the rest single."""
    kept = whole[draw(st.integers(0, len(whole) - 1)) :]
    return tuple(1 if flag(draw) else extent for extent in kept)


def narrow(values: Any, dtype: str) -> np.ndarray:
    """Turn whole numbers into one of coremltools' types below 8 bits."""
    from coremltools.converters.mil.mil.types.type_mapping import nptype_from_builtin, string_to_builtin

    return np.asarray(values).astype(nptype_from_builtin(string_to_builtin(dtype)))
