"""The contract between the training loop and a framework: a network whose forward pass rounds as the target does.

The formulas are the same in both frameworks. A weight ``w`` on a symmetric grid of ``bits``:
``scale = max|w| / (2 ** (bits - 1) - 1)`` over all axes but those in ``kept``, then ``round(w / scale) * scale``. It is
the grid that palmtop's ONNX Runtime, TFLite and Core ML builds share (ONNX Runtime's own 4-bit quantizer would have
max/7.5; the builds do not use it). An activation in ``[low, high]``, widened to hold zero:
``scale = (high - low) / (2 ** bits - 1)`` with an integer zero point, or, on a symmetric grid,
``scale = max(-low, high) / (2 ** (bits - 1) - 1)``.

Rounding is half to even and passes gradients straight through (Bengio et al. 2013, arXiv:1308.3432); what a range clips
has none. A learned range gets the gradient of its scale, rounding error included (Esser et al. 2020, arXiv:1902.08153),
in the logarithm, so that a step is a share of the range. Batch normalisation with its stored statistics is folded into
the layer before it first (Jacob et al. 2018, arXiv:1712.05877): the weights trained are those that a build holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.core.layers import Layer
from toolkit.core.ports import Array, Feeds

Floats = NDArray[np.float32]
State = dict[str, Array]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's (Kingma and Ba 2015, arXiv:1412.6980)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A weight of a layer: its array, the axes that have a scale for each index, and whether pruning may touch it."""

    layer: str
    values: Floats
    kept: tuple[int, ...]
    prunable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What one output is held against.

    ``kind`` ``scores`` is the cross-entropy of a softmax over the last axis with a distribution, ``shares`` that of an
    output which is a distribution already, ``values`` the squared distance over ``scale``, its variance.
    """

    output: str
    kind: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How a forward pass rounds: bits of 32 are none. ``floats`` are layers that stay float, activations included.

    ``entries`` is the length of a layer's look-up table where the recipe has such in place of a grid, else 0.
    """

    weight_bits: int = 32
    activation_bits: int = 32
    per_channel: bool = True
    floats: frozenset[str] = frozenset()
    weight_overrides: Mapping[str, int] = field(default_factory=dict)
    entries: int = 0

    def bits_of(self, layer: str) -> int:
        """Return the bits of a layer's weights."""
        return 32 if layer in self.floats else self.weight_overrides.get(layer, self.weight_bits)


class Trainee(Protocol):
    """A network in training. Arrays at the border are numpy's; the batch axis of feeds is free unless ``batch``."""

    batch: int | None
    """The batch that the model was built for, where it takes no other."""
    layers: tuple[Layer, ...]
    """Its layers, as a recipe's patterns see them."""
    sites: tuple[str, ...]
    """The activations that are rounded, in the order of execution."""

    def arrange(self, rounding: Rounding, goals: tuple[Goal, ...], *, learned: bool) -> None:
        """Say how passes round and what steps aim at; called before any pass that rounds."""

    def is_rounded(self, site: str) -> bool:
        """Whether passes round a site, or leave it float as the recipe says."""

    def run(self, feeds: Feeds, symmetric: bool | None) -> dict[str, Array]:
        """Return the outputs; ``symmetric`` is the grid of the activations, None for a float pass."""

    def survey(self, feeds: Feeds, *, rounded: bool) -> tuple[Floats, Floats]:
        """Return the least and largest value at each site, activations not rounded, weights as ``rounded`` says."""

    def set_ranges(self, low: Floats, high: Floats) -> None:
        """Set the range of each site."""

    def ranges(self) -> tuple[Floats, Floats]:
        """Return the range of each site as it is now."""

    def step(self, feeds: Feeds, targets: Feeds, rate: float, *, symmetric: bool) -> float:
        """Do one step of Adam and return the loss before it."""

    def weights(self) -> dict[str, Weight]:
        """Return the weights that rounding, pruning and clustering speak of, masked and shared, not rounded."""

    def prune(self, masks: Mapping[str, NDArray[np.bool_]]) -> None:
        """Hold the weights at zero where a mask is false, from now on."""

    def cluster(self, tables: Mapping[str, tuple[Floats, NDArray[np.int32]]]) -> None:
        """Replace weights by a table [entries], which is trained from now on, and an index into it for each weight.

        An entry that is zero stays zero.
        """

    def state(self) -> State:
        """Return all that a later process needs to go on exactly from here."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go back to a state.

        Raises:
            ModelError: it is of another model.
        """

    def trace(self, feeds: Feeds) -> dict[str, Array]:
        """Return the values at each site in a float pass over one sample."""

    def save(self, model: Path) -> tuple[Path, ...]:
        """Write the model in the format it came in; return what was written beside it, such as weights by name.

        The trainee is of no use after that.
        """
