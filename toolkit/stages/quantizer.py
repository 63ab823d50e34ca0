"""From calibrated models to builds: one child process a build."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from toolkit.core import isolation, store
from toolkit.core.artifacts import Blob, CalibratedModel, QuantizedModel, Requirements, Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.tools import Tools
from toolkit.stages import work
from toolkit.stages.order import Build, Built, Calibrated, failed, made_by, news, target_of
from toolkit.stages.parallel import Failure, each, needs_of

QUANTIZE_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantized:
    blob: Blob
    made: work.QuantizedArtefact


def quantize(calibrated: Calibrated, tools: Tools) -> Built:
    """Make every build; one that fails leaves the others alone."""
    models, gone = [], list(calibrated.failed)

    def build_of(pair: tuple[Build, CalibratedModel]) -> QuantizedModel:
        build, base = pair
        if build.recipe.weight_bits == 32 and build.recipe.is_float:
            return _unchanged(build, base, calibrated.requirements[build.target])
        return _quantize(build, base, tools)

    needs = [needs_of("quantize", base.base.blob) for _, base in calibrated.models]
    outcomes = each(calibrated.models, build_of, calibrated.order.request.jobs, needs)
    for (build, _), outcome in zip(calibrated.models, outcomes, strict=True):
        if isinstance(outcome, Failure):
            gone += failed(tools, [build], outcome)
        else:
            models.append(outcome)
    return Built(order=calibrated.order, models=tuple(models), failed=tuple(gone))


def _unchanged(build: Build, base: CalibratedModel, requirements: Requirements) -> QuantizedModel:
    """Ship the float artefact as it is: what the recipe ``float32`` asks for."""
    float_model = base.base
    return QuantizedModel(
        base=base,
        recipe=build.recipe,
        blob=float_model.blob,
        signature=float_model.signature,
        kept_float=(),
        requirements=requirements,
    )


def _quantize(build: Build, base: CalibratedModel, tools: Tools) -> QuantizedModel:
    news(tools, [build], "quantize")
    module = target_of(build.target)
    inputs = {
        "float": base.base.blob.sha256,
        "signature": base.base.signature,
        "ranges": None if base.ranges is None else base.ranges.sha256,
        "recipe": build.recipe,
        "target": build.target,
        "made_by": made_by(module),
    }
    ranges = None if base.ranges is None else base.ranges.path

    def produce(folder: Path) -> _Quantized:
        out = folder / f"build{module.SUFFIX}"
        made = isolation.isolate(
            tools, QUANTIZE_S, work.quantize, build.target, base.base.blob.path, build.recipe, ranges, out
        )
        return _Quantized(blob=store.blob_of(out), made=made)

    found = tools.store.memo("quantize/2", inputs, _Quantized, produce)
    return QuantizedModel(
        base=base,
        recipe=build.recipe,
        blob=found.blob,
        signature=bound(found.made.signature, base.base.signature),
        kept_float=found.made.kept_float,
        requirements=found.made.requirements,
        census=found.made.census,
    )


def bound(made: Signature, base: Signature) -> Signature:
    """Carry over from the float model which tensor of the source each tensor stands for, and in what axis order.

    Raises:
        ModelError: the quantizer added or dropped inputs or outputs.
    """
    return Signature(
        inputs=_bound(made.inputs, base.inputs, "inputs"), outputs=_bound(made.outputs, base.outputs, "outputs")
    )


def _bound(made: tuple[TensorSpec, ...], base: tuple[TensorSpec, ...], what: str) -> tuple[TensorSpec, ...]:
    if len(made) != len(base):
        raise ModelError(f"Quantization turned {len(base)} {what} into {len(made)}.")
    by_name = {spec.name: spec for spec in base}
    same = by_name.keys() == {spec.name for spec in made}
    pairs = [(spec, by_name[spec.name] if same else base[place]) for place, spec in enumerate(made)]
    return tuple(
        dataclasses.replace(spec, source_name=origin.source_name or origin.name, perm=origin.perm)
        for spec, origin in pairs
    )
