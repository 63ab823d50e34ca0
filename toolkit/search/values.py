"""What sensitivity says of a model: what each layer's quantization costs, and which layer of another runtime it is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What quantizing one layer alone costs; a layer is an operator with weights and the activation fused into it.

    ``identity`` is the sha256 of the layer's sorted float32 weights, whatever order of axes a runtime keeps them in;
    ``fingerprint`` a few statistics of them by which a layer is known again where a converter's arithmetic or a folded
    normalisation changed their last digits. ``weight_bytes`` are those of the float32 weights. ``own_sqnr_db`` is the
    error of what the layer makes, ``output_sqnr_db`` the error of the model's output (the worst of several) when this
    layer alone is quantized; infinite where nothing changes. ``latency_ns`` is what the float layer took in ONNX
    Runtime on the host that measured it (one thread, the least of all samples). ``position`` counts the layers in the
    order of execution, ``samples`` those that the layer was followed over: the layers that cost least take fewer.
    """

    layer: str
    identity: str
    operator: str
    weight_bytes: int
    own_sqnr_db: float
    output_sqnr_db: float
    latency_ns: float | None = None
    fingerprint: tuple[float, ...] = ()
    position: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The error of the model's output in a real build that quantizes one layer alone, over the same samples."""

    layer: str
    output_sqnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Every layer's cost under one recipe, that with the least ``output_sqnr_db`` first.

    ``model_sha256`` names the float artefact that was measured, ``samples`` how many samples it saw. ``confirmed``
    holds real single-layer builds of the top of the list, in its order. ``left_out`` are layers with weights that the
    recipe leaves alone or that cannot be simulated, each with the reason. ``weight_bits`` are the recipe's.
    """

    model_sha256: str
    recipe: str
    samples: int
    layers: tuple[LayerCost, ...]
    weight_bits: int = 8
    confirmed: tuple[Confirmed, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """One sensitivity in the words of another target.

    ``costs`` has a :class:`LayerCost` by the target's own layer name (``cost.layer`` stays the measured model's).
    ``unmapped`` are measured layers that the target has no partner for; ``unknown`` the target's layers with weights
    that have no cost.
    """

    costs: dict[str, LayerCost]
    unmapped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def noise_of(cost: LayerCost) -> float:
    """Return a layer's noise in the model's output as a share of the signal's energy.

    >>> cost = LayerCost(layer="a", identity="", operator="Conv", weight_bytes=4, own_sqnr_db=20, output_sqnr_db=20)
    >>> round(noise_of(cost), 4)
    0.01
    """
    return 0.0 if math.isinf(cost.output_sqnr_db) else float(10 ** (-cost.output_sqnr_db / 10))


def gains_db(sensitivity: Sensitivity) -> dict[str, float]:
    """Return by layer how many dB the model's output gains when this layer of a fully quantized model is left float.

    Rounding errors of different layers are taken for independent, so that their energies add up (Widrow, Kollár:
    Quantization Noise, 2008, chapter 3). A layer that holds all the noise would gain without bound; 120 dB is as far
    as this goes.
    """
    noises = {cost.layer: noise_of(cost) for cost in sensitivity.layers}
    total = sum(noises.values())
    if total == 0:
        return dict.fromkeys(noises, 0.0)
    return {layer: -10 * math.log10(max(1 - noise / total, 1e-12)) for layer, noise in noises.items()}
