"""From float models to calibrated ones: each target's float model runs over the data once per range method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.core import isolation, store
from toolkit.core.artifacts import Blob, CalibratedModel, DataRef, FloatModel
from toolkit.core.events import Event
from toolkit.core.tools import Tools
from toolkit.stages import work
from toolkit.stages.order import Build, Calibrated, Converted, failed, made_by, news, target_of
from toolkit.stages.parallel import Failure, each

CALIBRATE_S = 4 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranges:
    blob: Blob
    tensors: int


def calibrate(converted: Converted, tools: Tools) -> Calibrated:
    """Learn the activation ranges that recipes need; builds without such a need pass through.

    A float model that fails on the data loses only the builds that need its ranges.
    """
    order = converted.order
    alive = [build for build in order.builds if build.target in converted.models]
    hungry: dict[tuple[str, str], list[Build]] = {}
    for build in alive:
        if build.recipe.needs_data:
            hungry.setdefault((build.target, build.recipe.range_method), []).append(build)

    def ranges_of(key: tuple[str, str]) -> Blob:
        assert order.data is not None, "the importer asks for data where a recipe needs it"
        news(tools, hungry[key], "calibrate")
        return _ranges(converted.models[key[0]], order.data, key[1], hungry[key], tools)

    keys = tuple(hungry)
    learned = dict(zip(keys, each(keys, ranges_of, order.request.jobs), strict=True))
    models, gone = [], list(converted.failed)
    for key, outcome in learned.items():
        if isinstance(outcome, Failure):
            gone += failed(tools, hungry[key], outcome)
    for build in alive:
        ranges = learned[build.target, build.recipe.range_method] if build.recipe.needs_data else None
        if not isinstance(ranges, Failure):
            models.append((build, _calibrated(converted.models[build.target], order.data, build, ranges)))
    return Calibrated(order=order, requirements=converted.requirements, models=tuple(models), failed=tuple(gone))


def _calibrated(base: FloatModel, data: DataRef | None, build: Build, ranges: Blob | None) -> CalibratedModel:
    if ranges is None or data is None:
        return CalibratedModel(base=base, data=None, sample_count=0, method="", ranges=None)
    return CalibratedModel(
        base=base, data=data, sample_count=data.count, method=build.recipe.range_method, ranges=ranges
    )


def _ranges(base: FloatModel, data: DataRef, method: str, builds: list[Build], tools: Tools) -> Blob:
    inputs = {
        "float": base.blob.sha256,
        "signature": base.signature,
        "source": base.source.signature,
        "data": data.sha256,
        "preprocess": data.preprocess,
        "method": method,
        "made_by": made_by(target_of(base.target)),
    }

    def tell(event: Event) -> None:
        for build in builds:
            tools.emit(Event(subject=build.subject, phase=event.phase, done=event.done, total=event.total))

    def produce(folder: Path) -> _Ranges:
        job = work.CalibrationJob(
            target=base.target,
            model=base.blob.path,
            artefact=base.signature,
            source=base.source.signature,
            data=data,
            method=method,
            out=folder / "ranges.json",
        )
        tensors = isolation.isolate(tools, CALIBRATE_S, work.calibrate, job, tell)
        return _Ranges(blob=store.blob_of(job.out), tensors=tensors)

    return tools.store.memo("calibrate/1", inputs, _Ranges, produce).blob
