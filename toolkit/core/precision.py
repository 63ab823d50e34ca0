"""What a search for precision leaves in ``build.json``: the cost of each layer, and what was tried on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TrialVerdict = Literal["within", "likely", "unlikely", "beyond", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSensitivity:
    """What quantizing one layer alone costs.

    ``own_sqnr_db`` is the error of what the layer makes, ``output_sqnr_db`` that of the model's output;
    ``confirmed_sqnr_db`` the same in a real build that quantizes this layer alone, None where none was made.
    ``gain_db`` is what the output of a fully quantized model gains when the layer stays float. ``weight_bytes`` are
    float32's. ``latency_ns`` is the float layer's time on the host that measured it, None where none was taken.
    """

    layer: str
    operator: str
    weight_bytes: int
    own_sqnr_db: float
    output_sqnr_db: float
    gain_db: float
    confirmed_sqnr_db: float | None = None
    latency_ns: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityEntry:
    """Every layer's cost under one recipe over some samples, that with the least ``output_sqnr_db`` first.

    It is measured once, on ONNX, and serves every target; layers have their names there. ``weight_bits`` are those of
    every layer under the recipe.
    """

    recipe: str
    samples: int
    layers: tuple[LayerSensitivity, ...]
    weight_bits: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEntry:
    """One candidate that a search tried: how large, how much worse than the float model, on how many samples.

    ``[drop_low, drop_high]`` bounds the drop at the search's confidence, one-sided each. ``cost`` is what the
    objective weighs: bytes, nanoseconds or microjoules. ``build_id`` names the build that came of it, empty for most.
    """

    target: str
    words: str
    size_bytes: int
    cost: float
    samples: int
    drop: float
    drop_low: float
    drop_high: float
    verdict: TrialVerdict
    build_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEntry:
    """The trail of a search under an accuracy budget, in the order in which candidates were tried.

    ``selection_samples`` chose, ``certification_samples`` are others, which the scores of the builds are from.
    ``place`` names the device, and its kind, whose figures the latencies or energies are estimated from.
    """

    metric: str
    objective: Literal["size", "latency", "energy"]
    max_drop: float
    confidence: float
    selection_samples: int
    certification_samples: int
    test: str
    trials: tuple[TrialEntry, ...]
    place: str = ""
