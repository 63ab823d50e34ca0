"""Each layer's cost: simulated in one pass, confirmed by real builds at the top of the list, and named for any target.

The measure is taken on the ONNX artefact, because a change in one layer can be followed there without a build; the
ranking carries over to other runtimes (docs/sensitivity.md), so one measurement serves all targets.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core import isolation, store
from toolkit.core.artifacts import CalibratedModel, DataRef, FloatModel
from toolkit.core.errors import DataError, ModelError, SettingsError
from toolkit.core.events import Event
from toolkit.core.recipe import Recipe
from toolkit.core.tools import Tools
from toolkit.search import identity, sensitivity_builds, simulation
from toolkit.search.sensitivity_builds import BuildsJob, OneLayer
from toolkit.search.simulation import Simulated, SimulationJob
from toolkit.search.values import Confirmed, LayerCost, Mapped, Sensitivity
from toolkit.stages import calibrator, importer
from toolkit.stages.order import Build, Order, made_by, source_of, target_of

HUB = "onnx"
"""The target whose float artefact is measured."""
SAMPLES = 16
"""Enough for the order of the top: see docs/benchmarks.md."""
CONFIRMED = 3
SIMULATE_S = 4 * 3600
"""Deadline in seconds: a generous guard against a hang."""
SUBJECT = "sensitivity"
"""The subject of the events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    layers: tuple[identity.Named, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmed:
    layers: tuple[Confirmed, ...]


def study(order: Order, recipe: Recipe, tools: Tools) -> Sensitivity:
    """Measure the source model of an order under a recipe, on data of the order's.

    Converts and calibrates the ONNX artefact if that was not done before; both come from the cache otherwise.

    Raises:
        ModelError: the source does not convert to ONNX, or no layer can be rounded on its own.
        DataError: there is no data, or the model fails on it.
        SettingsError: the recipe cannot be expressed in ONNX.
    """
    if order.data is None:
        raise DataError("Sensitivity is measured on data, and none is given.", hint="Give samples with -d DATA.")
    obstacle = target_of(HUB).not_expressible(recipe)
    if obstacle is not None:
        raise SettingsError(f"Sensitivity is measured in ONNX, where {recipe.name} cannot be expressed: {obstacle}.")
    form = next((form for form in target_of(HUB).FORMS if form in source_of(order.source.format).FORMS), None)
    if form is None:
        raise ModelError(f"Sensitivity is measured in ONNX, which {order.source.format} models do not convert to.")

    def tell(event: Event) -> None:
        tools.emit(dataclasses.replace(event, subject=SUBJECT))

    told = dataclasses.replace(tools, emit=tell)
    plain = dataclasses.replace(recipe, keep_float=(), overrides=(), io="float")
    build = Build(target=HUB, recipe=plain, form=form)
    converted = importer.convert(dataclasses.replace(order, builds=(build,), not_expressible=()), told)
    calibrated = calibrator.calibrate(converted, told)
    if not calibrated.models:
        failure = calibrated.failed[0]
        raise ModelError(f"No sensitivity: {failure.error}", hint=failure.log and f"The whole output: {failure.log}")
    return measure(calibrated.models[0][1], order.data, plain, tools)


def measure(base: CalibratedModel, data: DataRef, recipe: Recipe, tools: Tools) -> Sensitivity:
    """Measure every layer of a calibrated ONNX artefact under a recipe, over at most 16 of the samples of ``data``.

    They are taken from those that ``data`` itself takes of its location: in a search the others certify.

    The layers and activations that a recipe's overrides and ``keep_float`` name are measured as any other. Equal
    inputs are answered from the cache.

    Raises:
        ModelError: no layer can be rounded on its own, or the model cannot be executed in parts.
        DataError: a sample does not fit, or the float model's output is not finite on any.
    """
    found = _simulated(base, data, recipe, tools)
    ranked = tuple(sorted(found.costs, key=lambda cost: (cost.output_sqnr_db, cost.own_sqnr_db)))
    top = [cost for cost in ranked[:CONFIRMED] if cost.output_sqnr_db < math.inf]
    confirmed = _confirmed(base, data, recipe, [found.members[cost.layer] for cost in top], tools)
    names = {found.members[cost.layer][0]: cost.layer for cost in top}
    tools.emit(Event(subject=SUBJECT, phase="done"))
    return Sensitivity(
        model_sha256=base.base.blob.sha256,
        recipe=recipe.name,
        weight_bits=recipe.weight_bits,
        samples=min(SAMPLES, data.count),
        layers=ranked,
        confirmed=tuple(dataclasses.replace(one, layer=names[one.layer]) for one in confirmed),
        left_out=found.left_out,
    )


def _simulated(base: CalibratedModel, data: DataRef, recipe: Recipe, tools: Tools) -> Simulated:
    def produce(_: Path) -> Simulated:
        job = SimulationJob(
            model=base.base.blob.path,
            artefact=base.base.signature,
            source=base.base.source.signature,
            recipe=recipe,
            ranges=None if base.ranges is None else base.ranges.path,
            data=data,
            samples=SAMPLES,
        )

        def tell(event: Event) -> None:
            tools.emit(Event(subject=SUBJECT, phase="simulate", done=event.done, total=event.total))

        tools.emit(Event(subject=SUBJECT, phase="simulate", total=min(SAMPLES, data.count)))
        return isolation.isolate(tools, SIMULATE_S, simulation.simulate, job, tell)

    return tools.store.memo("sensitivity/2", _inputs(base, data, recipe), Simulated, produce)


def _confirmed(
    base: CalibratedModel, data: DataRef, recipe: Recipe, layers: list[tuple[str, ...]], tools: Tools
) -> tuple[Confirmed, ...]:
    """Build with each of some layers quantized alone, and hold the output against the float model's."""

    def produce(folder: Path) -> _Confirmed:
        job = BuildsJob(
            target=HUB,
            model=base.base.blob.path,
            artefact=base.base.signature,
            source=base.base.source.signature,
            recipe=recipe,
            ranges=None if base.ranges is None else base.ranges.path,
            data=data,
            samples=SAMPLES,
            layers=tuple(OneLayer(outputs=outputs) for outputs in layers),
            scratch=folder / "build",
        )

        def tell(event: Event) -> None:
            tools.emit(dataclasses.replace(event, subject=SUBJECT))

        tools.emit(Event(subject=SUBJECT, phase="confirm", total=len(layers)))
        return _Confirmed(layers=isolation.isolate(tools, SIMULATE_S, sensitivity_builds.confirm, job, tell))

    if not layers:
        return ()
    inputs = {**_inputs(base, data, recipe), "layers": layers}
    return tools.store.memo("confirmed/2", inputs, _Confirmed, produce).layers


def _inputs(base: CalibratedModel, data: DataRef, recipe: Recipe) -> dict[str, Any]:
    return {
        "float": base.base.blob.sha256,
        "signature": base.base.signature,
        "source": base.base.source.signature,
        "ranges": None if base.ranges is None else base.ranges.sha256,
        "recipe": dataclasses.replace(recipe, name="", summary=""),
        "data": [data.sha256, min(SAMPLES, data.count)],
        "preprocess": data.preprocess,
        "code": _own_code(),
        "made_by": made_by(target_of(HUB)),
    }


def _own_code() -> list[str]:
    folder = Path(__file__).parent
    patterns = ("values.py", "identity*.py", "simulation*.py", "sensitivity*.py")
    return [store.sha256_of(file) for pattern in patterns for file in sorted(folder.glob(pattern))]


def mapped(sensitivity: Sensitivity, float_model: FloatModel, tools: Tools) -> Mapped:
    """Give a target's layers the costs of the measured ones that have the same weights.

    Raises:
        ModelError: the target does not show its weights, or the artefact is damaged.
    """
    target = float_model.target
    module = target_of(target)
    inputs = {"float": float_model.blob.sha256, "code": _own_code(), "made_by": made_by(module)}

    def produce(_: Path) -> _Weights:
        model = float_model.blob.path
        return _Weights(layers=isolation.isolate(tools, SIMULATE_S, identity.read, target, model))

    layers = tools.store.memo("identity/1", inputs, _Weights, produce).layers
    return matched(sensitivity.layers, layers)


def matched(costs: tuple[LayerCost, ...], layers: tuple[identity.Named, ...]) -> Mapped:
    """Pair costs with the layers of a target."""
    ordered = sorted(costs, key=lambda cost: cost.position)
    ours = [identity.Identity(sha256=cost.identity, fingerprint=cost.fingerprint) for cost in ordered]
    pairs = identity.pairs(ours, [named.identity for named in layers])
    found = {layers[theirs].layer: ordered[place] for place, theirs in pairs.items()}
    return Mapped(
        costs=found,
        unmapped=tuple(cost.layer for place, cost in enumerate(ordered) if place not in pairs),
        unknown=tuple(named.layer for named in layers if named.layer not in found),
    )
