"""From calibrated models to builds: one child process a build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.core import isolation, pins, process, store
from toolkit.core.artifacts import Blob, CalibratedModel, DataRef, QuantizedModel, Requirements
from toolkit.core.errors import ChildFailed
from toolkit.core.events import Event
from toolkit.core.recipe import Recipe
from toolkit.core.tools import Tools
from toolkit.stages import care, care_job, work
from toolkit.stages.order import Build, Built, Calibrated, failed, made_by, news, share_of, target_of
from toolkit.stages.parallel import Failure, each, needs_of

QUANTIZE_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantized:
    blob: Blob
    made: work.QuantizedArtefact


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deflated:
    size_bytes: int


def quantize(calibrated: Calibrated, tools: Tools) -> Built:
    """Make every build; one that fails leaves the others alone."""
    models, gone = [], list(calibrated.failed)

    def build_of(pair: tuple[Build, CalibratedModel]) -> QuantizedModel:
        build, base = pair
        if build.recipe.weight_bits == 32 and build.recipe.is_float:
            return _unchanged(build, base, calibrated.requirements[build.target], tools)
        return _quantize(build, base, calibrated.order.data, tools)

    needs = [needs_of("quantize", base.base.blob) for _, base in calibrated.models]
    shares = [share_of(build.target, "quantize") for build, _ in calibrated.models]
    outcomes = each(calibrated.models, build_of, calibrated.order.request.jobs, needs, shares=shares)
    for (build, _), outcome in zip(calibrated.models, outcomes, strict=True):
        if isinstance(outcome, Failure):
            gone += failed(tools, [build], outcome)
        else:
            models.append(outcome)
    return Built(order=calibrated.order, models=tuple(models), failed=tuple(gone))


def _unchanged(build: Build, base: CalibratedModel, requirements: Requirements, tools: Tools) -> QuantizedModel:
    """Ship the float artefact as it is: what the recipe ``float32`` asks for."""
    float_model = base.base
    blob = float_model.blob

    def produce(_: Path) -> _Deflated:
        return _Deflated(size_bytes=isolation.isolate(tools, QUANTIZE_S, store.deflated_size_of, blob.path))

    deflated = tools.store.memo("deflated/1", {"blob": blob.sha256}, _Deflated, produce)
    return QuantizedModel(
        base=base,
        recipe=build.recipe,
        blob=blob,
        signature=float_model.signature,
        kept_float=(),
        requirements=requirements,
        deflated_bytes=deflated.size_bytes,
    )


def _quantize(build: Build, base: CalibratedModel, data: DataRef | None, tools: Tools) -> QuantizedModel:
    news(tools, [build], "quantize")
    module = target_of(build.target)
    data = data if care.wanted(build.recipe, module) else None
    trained = pins.beside(base.base.source.blob.path).is_file()
    inputs = {
        "trained": trained,
        "float": base.base.blob.sha256,
        "signature": base.base.signature,
        "ranges": None if base.ranges is None else base.ranges.sha256,
        "recipe": build.recipe,
        "data": None if data is None else [data.sha256, data.preprocess, base.base.source.signature],
        "target": build.target,
        "made_by": made_by(module),
    }
    ranges = None if base.ranges is None else base.ranges.path

    def produce(folder: Path, recipe: Recipe = build.recipe) -> _Quantized:
        out = folder / f"build{module.SUFFIX}"
        job = care_job.CareJob(
            target=build.target,
            model=base.base.blob.path,
            artefact=base.base.signature,
            source=base.base.source.signature,
            recipe=recipe,
            ranges=ranges,
            data=data,
            out=out,
            trained=trained,
        )
        made = isolation.isolate(tools, QUANTIZE_S, care.quantize, job)
        return _Quantized(blob=store.blob_of(out), made=made)

    def produce_plainly(folder: Path) -> _Quantized:
        return produce(folder, care.without(build.recipe))

    try:
        found = tools.store.memo("quantize/14", inputs, _Quantized, produce)
    except ChildFailed as error:
        if error.kind == "raised" or process.is_ending() or not care.may_do_without(build.recipe, module):
            raise
        # the crash may be that of a step of care: the build itself is worth a try of its own
        found = tools.store.memo("quantize/14", {**inputs, "care": False}, _Quantized, produce_plainly)
        found = replace(found, made=replace(found.made, care=(care.lost(error),)))
    for step in found.made.care:
        tools.emit(Event(subject=build.subject, phase="noted", message=care.words(step)))
    return QuantizedModel(
        base=base,
        recipe=build.recipe,
        blob=found.blob,
        signature=care_job.bound(found.made.signature, base.base.signature),
        kept_float=found.made.kept_float,
        requirements=found.made.requirements,
        census=found.made.census,
        care=found.made.care,
        deflated_bytes=found.made.deflated_bytes,
    )
