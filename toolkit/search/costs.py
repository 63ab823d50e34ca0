"""What each layer of a target costs and gains, in that target's own names, and what a candidate therefore weighs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from toolkit.core import isolation
from toolkit.core.artifacts import DataRef, FloatModel, Inspection, QuantizedModel
from toolkit.core.errors import ChildFailed, DataError, ModelError, SettingsError
from toolkit.core.events import Event
from toolkit.core.tools import Tools
from toolkit.search import sensitivity as sensitivities
from toolkit.search.candidates import Candidate, Precision, extra_bytes
from toolkit.search.measured import Measured
from toolkit.search.values import Sensitivity, noise_of
from toolkit.stages import work
from toolkit.stages.tapping import Artefact, Layers, TapJob, compare_layers

TAP_S = 3600
TAP_SAMPLES = 32
Build = Callable[[Callable[[QuantizedModel], "LayerTable"]], "LayerTable"]
"""Makes a build, hands it on, and removes it."""
_LEAST_NOISE = 1e-9
_LAYER_BYTES = 64
"""What a layer in another precision costs at least: scales, and a conversion on either side."""
_VARIANTS = ("percentile", "mse", "entropy", "minmax", "moving-average", "tensor", "channel")
"""What ends the name of a recipe that differs in range method or granularity alone, and so runs as fast."""
_WHOLE: Mapping[Precision, str] = {
    "int8-act16": "static-int8-act16",
    "float16": "float16",
    "float32": "float32",
    "int8": "weight-int8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable:
    """The layers with weights of one target: their noise in the output (of a signal of 1), bytes and time in float.

    ``basis`` says in words where the noise is from; ``unmapped`` are measured layers that this target has no partner
    for.
    """

    basis: str
    noise: dict[str, float]
    float32_bytes: dict[str, int]
    latency_ns: dict[str, float] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()

    def time_share(self, layer: str) -> float:
        """Return a layer's part of the float model's time; of its bytes where no time is known."""
        known: Mapping[str, float] = self.latency_ns or self.float32_bytes
        return known.get(layer, 0.0) / max(sum(known.values()), 1e-12)


def from_sensitivity(found: Sensitivity, base: FloatModel, tools: Tools) -> LayerTable:
    """Give a target's layers the costs that were measured once for all targets.

    Raises:
        ModelError: no layer of the target is one of the measured.
    """
    mapped = sensitivities.mapped(found, base, tools)
    if not mapped.costs:
        raise ModelError(f"No layer of the {base.target} model has the weights of a measured one.")
    times = {layer: cost.latency_ns for layer, cost in mapped.costs.items() if cost.latency_ns is not None}
    return LayerTable(
        basis=f"sensitivity of {len(found.layers)} layers over {found.samples} samples",
        noise={layer: noise_of(cost) for layer, cost in mapped.costs.items()},
        float32_bytes={layer: cost.weight_bytes for layer, cost in mapped.costs.items()},
        latency_ns=times,
        unmapped=mapped.unmapped,
    )


def from_build(build: QuantizedModel, data: DataRef, why: str, tools: Tools) -> LayerTable:
    """Take a build's own layer errors for their noise: the stand-in where no sensitivity can be measured.

    ``why`` says why it cannot. Errors of earlier layers are part of a layer's, so what the layer before it in the order
    of execution has is taken off; where branches meet that is coarse. At most 32 of the samples that ``data`` itself
    takes are used: in a search the others of its location certify.

    Raises:
        ModelError: the build does not show its activations.
    """
    base, target = build.base.base, build.base.base.target
    job = TapJob(
        target=target,
        base=Artefact(path=base.blob.path, signature=base.signature),
        build=Artefact(path=build.blob.path, signature=build.signature),
        source=base.source.signature,
        data=data,
        samples=TAP_SAMPLES,
    )
    layers: Layers = isolation.isolate(tools, TAP_S, compare_layers, job)
    facts: Inspection = isolation.isolate(tools, TAP_S, work.inspect, "targets", target, base.blob.path)
    sizes = {fact.name: fact.weight_bytes for fact in facts.layers if fact.weight_bytes}
    errors = {one.layer: min(1.0, 10 ** (-one.sqnr_db / 10)) for one in layers.errors}
    met = [layer for layer in sizes if layer in errors]
    noise = {
        layer: max(errors[layer] - errors[before], _LEAST_NOISE) if before else errors[layer]
        for before, layer in zip(["", *met], met, strict=False)
    }
    if not noise:
        raise ModelError(f"The layers of the {target} model cannot be told apart: {layers.note or 'none has weights'}.")
    return LayerTable(
        basis=f"layer errors of the build itself, since {why}",
        noise=noise,
        float32_bytes={layer: sizes[layer] for layer in noise},
    )


def table_of(found: Sensitivity | str, base: FloatModel, build: Build, data: DataRef, tools: Tools) -> LayerTable | str:
    """Return the layers of a target, or in a sentence why there is no telling them apart.

    Args:
        found: the sensitivity, or why there is none.
        base: the target's float model.
        build: makes the build whose own errors stand in for it.
        data: samples to measure those on.
        tools: the seams to the world.
    """
    why = found if isinstance(found, str) else ""
    if isinstance(found, Sensitivity):
        try:
            return from_sensitivity(found, base, tools)
        except (ModelError, ChildFailed, SettingsError) as error:
            why = error.message
    said = f"the sensitivity cannot be used: {why}"
    tools.emit(Event(subject=f"{base.target}/search", phase="noted", message=said, level="warning"))
    try:
        return build(lambda model: from_build(model, data, why.rstrip("."), tools))
    except (ModelError, ChildFailed, DataError) as error:
        return error.message


def ordered(table: LayerTable, base: Candidate, precision: Precision, weigh: Weigh) -> tuple[tuple[str, float], ...]:
    """Return the layers in the order in which to give them a precision, each with its gain in dB.

    Greedy: the next layer is the one with the most gain for what it costs, its noise taken off the sum of all that is
    left (noises of different layers are taken for independent, so their energies add up). Layers without noise are
    left out.
    """
    left = {layer: noise for layer, noise in table.noise.items() if noise > 0}
    costs = {layer: weigh.added(table, layer, base, precision) for layer in left}
    total = sum(left.values())
    chosen = []
    while left:
        gains = {layer: _gain_db(noise, total) for layer, noise in left.items()}
        best = max(gains, key=lambda layer: (gains[layer] / costs[layer], layer))
        chosen.append((best, gains[best]))
        total -= left.pop(best)
    return tuple(chosen)


def _gain_db(noise: float, total: float) -> float:
    return -10 * math.log10(max(1 - noise / max(total, noise), 1e-6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weigh:
    """How heavy a candidate is: bytes of its file unless ``measured`` holds what whole builds cost on a device."""

    measured: Measured | None = None

    def added(self, table: LayerTable, layer: str, base: Candidate, precision: Precision) -> float:
        """Return what a layer adds when it gets a precision, more than nothing."""
        if self.measured is None:
            return self.least(table, layer, base, precision) + _LAYER_BYTES
        return max(table.time_share(layer), 1e-6) * max(self._step(base, precision), 1e-6)

    def least(self, table: LayerTable, layer: str, base: Candidate, precision: Precision) -> float:
        """Return what a layer adds at least, conversions beside it left out."""
        if self.measured is None:
            return extra_bytes(precision, base.base, table.float32_bytes[layer])
        return self.added(table, layer, base, precision)

    def total(self, candidate: Candidate, size_bytes: int, table: LayerTable | None) -> float:
        """Return what a candidate weighs as a whole.

        Raises:
            DataError: the run did not measure the builds that the estimate needs.
        """
        if self.measured is None:
            return float(size_bytes)
        whole = self._of(candidate.target, candidate.base.name)
        if table is None:
            return whole
        steps = {one: self._step(candidate, one) for one in set(candidate.choices.values())}
        return whole + sum(steps[one] * table.time_share(layer) for layer, one in candidate.choices.items())

    def _step(self, base: Candidate, precision: Precision) -> float:
        """Return what a model costs more when every layer has a precision."""
        return max(0.0, self._of(base.target, _WHOLE[precision]) - self._of(base.target, base.base.name))

    def knows(self, target: str, precision: Precision) -> bool:
        """Whether the weight of layers in a precision can be told."""
        return self.measured is None or self._found(target, _WHOLE[precision]) is not None

    def knows_whole(self, target: str, recipe: str) -> bool:
        """Whether the weight of a whole-model recipe can be told."""
        return self.measured is None or self._found(target, recipe) is not None

    def check_knows(self, target: str, recipe: str) -> None:
        """Refuse a target of which the run tells nothing.

        Raises:
            DataError: the run did not measure a whole-model recipe.
        """
        if self.measured is not None:
            self._of(target, recipe)

    def _of(self, target: str, recipe: str) -> float:
        found = self._found(target, recipe)
        if found is not None:
            return found
        assert self.measured is not None
        raise DataError(
            f"The run has no figure of {target}-{recipe} on {self.measured.place}.",
            hint="Bench static-int8, static-int8-act16 and float16 builds of every target, and export that run.",
        )

    def _found(self, target: str, recipe: str) -> float | None:
        """Return a recipe's figure, or that of the one it is a variant of: another range method or granularity."""
        assert self.measured is not None
        costs = self.measured.costs
        stems = [recipe.removesuffix(f"-{words}") for words in _VARIANTS if recipe.endswith(f"-{words}")]
        others = {"float16": ["float32"], "float32": ["float16"]}.get(recipe, [])
        return next((costs[target, name] for name in (recipe, *stems, *others) if (target, name) in costs), None)
