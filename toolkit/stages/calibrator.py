"""From float models to calibrated ones: each target's float model runs over the data once, whatever recipes ask for.

The pass leaves statistics in the cache; the ranges of each method and width of integers follow from those in moments.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core import discovery, isolation, store
from toolkit.core.artifacts import (
    Blob,
    CalibratedModel,
    CalibrationReport,
    DataRef,
    FloatModel,
    Range,
    TargetCalibration,
    TensorShare,
)
from toolkit.core.errors import SettingsError
from toolkit.core.events import Event
from toolkit.core.recipe import Recipe
from toolkit.core.tools import Tools
from toolkit.ranges.base import Grid, RangeMethod, Seen
from toolkit.stages import calibrating, calibration_report, pinned, statistics
from toolkit.stages.order import RANGES, Build, Calibrated, Converted, Order, failed, made_by, news, target_of
from toolkit.stages.parallel import OWN_FAULTS, Failure, each, failure_of, needs_of

CALIBRATE_S = 4 * 3600
"""Deadline in seconds: a generous guard against a hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statistics:
    blob: Blob
    surveyed: calibrating.Surveyed
    report: TargetCalibration


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranges:
    blob: Blob
    clipped: tuple[TensorShare, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    """The ranges that some builds share."""

    target: str
    method: str
    grid: Grid

    @classmethod
    def of(cls, build: Build) -> _Want:
        grid = grid_of(build.recipe, target_of(build.target))
        return cls(target=build.target, method=build.recipe.range_method, grid=grid)


def grid_of(recipe: Recipe, target: Any) -> Grid:
    """Return the grid that a target's static activations have under a recipe."""
    bits = recipe.activation_bits
    return Grid(bits=bits, symmetric=bits in getattr(target, "SYMMETRIC_ACTIVATION_BITS", ()))


def limit_of(target: Any) -> float:
    """Return the largest value that a target's arithmetic holds where activations are integers."""
    return float(getattr(target, "LARGEST_ACTIVATION", math.inf))


def ahead(order: Order, tools: Tools) -> Callable[[FloatModel], Failure | None]:
    """Return what runs a float model over the data at once if ranges are wanted of it, or says why it could not.

    :func:`calibrate` finds the result in the cache.
    """
    hungry: dict[str, list[Build]] = {}
    for build in order.builds:
        if build.recipe.needs_data:
            hungry.setdefault(build.target, []).append(build)

    def survey(base: FloatModel) -> Failure | None:
        data, builds = order.data, hungry.get(base.target)
        if data is None or builds is None:
            return None
        try:
            _statistics(base, data, builds, tools)
        except OWN_FAULTS as error:
            return failure_of(error)
        return None

    return survey


def calibrate(converted: Converted, tools: Tools) -> Calibrated:
    """Learn the activation ranges that recipes need; builds without such a need pass through.

    A float model that fails on the data loses only the builds that need its ranges.
    """
    order = converted.order
    alive = [build for build in order.builds if build.target in converted.models]
    hungry: dict[str, list[Build]] = {}
    for build in alive:
        if build.recipe.needs_data:
            hungry.setdefault(build.target, []).append(build)
    passes = _passes(converted, hungry, tools)
    wants = tuple(dict.fromkeys(_Want.of(build) for builds in hungry.values() for build in builds))
    held = {target: _held(converted.models[target], tools) for target in hungry}

    def learn(want: _Want) -> _Ranges | Failure:
        return _learned(want, passes, held[want.target], tools)

    learned = dict(zip(wants, each(wants, learn, order.request.jobs), strict=True))
    models, gone = [], list(converted.failed)
    for build in alive:
        outcome = learned[_Want.of(build)] if build.recipe.needs_data else None
        if isinstance(outcome, Failure):
            gone += failed(tools, [build], outcome)
        else:
            model = converted.models[build.target]
            models.append((build, _calibrated(model, order.data, build, passes.get(build.target), outcome)))
    _warn(passes.values(), hungry, order.data, tools)
    return Calibrated(order=order, requirements=converted.requirements, models=tuple(models), failed=tuple(gone))


def _passes(converted: Converted, hungry: dict[str, list[Build]], tools: Tools) -> dict[str, _Statistics | Failure]:
    """Run the float model of each target over the data, or find that it was done before."""
    order = converted.order

    def pass_of(target: str) -> _Statistics | Failure:
        assert order.data is not None, "the importer asks for data where a recipe needs it"
        if target in converted.faults:
            return converted.faults[target]
        news(tools, hungry[target], "calibrate")
        return _statistics(converted.models[target], order.data, hungry[target], tools)

    targets = tuple(hungry)
    needs = [needs_of("calibrate", converted.models[target].blob) for target in targets]
    found = each(targets, pass_of, order.request.jobs, needs)
    return dict(zip(targets, found, strict=True))


def _statistics(base: FloatModel, data: DataRef, builds: list[Build], tools: Tools) -> _Statistics:
    inputs = {
        "float": base.blob.sha256,
        "signature": base.signature,
        "source": base.source.signature,
        "data": data.sha256,
        "preprocess": data.preprocess,
        "made_by": made_by(target_of(base.target)),
    }

    def tell(event: Event) -> None:
        for build in builds:
            tools.emit(Event(subject=build.subject, phase=event.phase, done=event.done, total=event.total))

    def produce(folder: Path) -> _Statistics:
        job = calibrating.CalibrationJob(
            target=base.target,
            model=base.blob.path,
            artefact=base.signature,
            source=base.source.signature,
            data=data,
            out=folder / "statistics.npz",
        )
        surveyed = isolation.isolate(tools, CALIBRATE_S, calibrating.calibrate, job, tell)
        inputs = {spec.name for spec in base.signature.inputs}
        report = calibration_report.of_target(statistics.load(job.out), inputs)
        return _Statistics(blob=store.blob_of(job.out), surveyed=surveyed, report=report)

    return tools.store.memo("calibrate/2", inputs, _Statistics, produce)


def _held(base: FloatModel, tools: Tools) -> dict[str, Range] | Failure:
    """Return the ranges that a model was trained with; a fault of theirs is a fault of that target's builds."""
    (found,) = each([base], lambda model: pinned.of(model, tools).ranges, 1)
    return found


def _learned(
    want: _Want, passes: dict[str, _Statistics | Failure], held: dict[str, Range] | Failure, tools: Tools
) -> _Ranges | Failure:
    found = passes[want.target]
    if isinstance(found, Failure):
        return found
    return held if isinstance(held, Failure) else _ranges(found.blob, want, held, tools)


def _ranges(known: Blob, want: _Want, held: dict[str, Range], tools: Tools) -> _Ranges:
    method, limit = discovery.load(RANGES, want.method), limit_of(target_of(want.target))
    inputs = {
        "statistics": known.sha256,
        "method": want.method,
        "grid": want.grid,
        "limit": limit,
        "code": store.sha256_of(Path(str(method.__file__))),
        "held": held,
        "made_by": made_by(),
    }

    def produce(folder: Path) -> _Ranges:
        seen = statistics.load(known.path)
        chosen = ranges_of(method, seen, want.grid, limit)
        chosen |= {tensor: one for tensor, one in held.items() if tensor in chosen}
        out = folder / "ranges.json"
        plain = {tensor: [held.low, held.high] for tensor, held in chosen.items()}
        store.write_atomic(out, json.dumps(plain, indent=1))
        return _Ranges(blob=store.blob_of(out), clipped=calibration_report.clipped(seen, chosen))

    return tools.store.memo("ranges/1", inputs, _Ranges, produce)


def ranges_of(method: Any, seen: Iterable[Seen], grid: Grid, limit: float = math.inf) -> dict[str, Range]:
    """Ask a range method (:class:`toolkit.ranges.base.RangeMethod`) for the range of every tensor.

    A tensor with a value beyond ``limit`` keeps its extremes, for the target to see: no range that leaves it out would
    keep it from overflowing before it is rounded.

    Raises:
        SettingsError: the method has no ``range_of``, or gives a range that no tensor can have.
    """
    if not hasattr(method, "range_of"):
        raise SettingsError(
            f"{method.__name__} is no range method: it lacks `range_of`.", hint="See docs/extending.md."
        )
    known: RangeMethod = method
    chosen = {
        one.tensor: Range(low=one.low, high=one.high) if max(-one.low, one.high) > limit else known.range_of(one, grid)
        for one in seen
    }
    for tensor, held in chosen.items():
        if not -float("inf") < held.low <= held.high < float("inf"):
            raise SettingsError(
                f"The range method {method.__name__} gives [{held.low}, {held.high}] for the tensor {tensor!r}.",
                hint="Choose another `range_method`, and tell its author.",
            )
    return chosen


def _calibrated(
    base: FloatModel, data: DataRef | None, build: Build, known: _Statistics | Failure | None, ranges: _Ranges | None
) -> CalibratedModel:
    if ranges is None or data is None or not isinstance(known, _Statistics):
        return CalibratedModel(base=base, data=None, sample_count=0, method="", ranges=None)
    recipe = build.recipe
    clipped = {f"{recipe.range_method}/{recipe.activation_bits}": ranges.clipped}
    target = dataclasses.replace(known.report, clipped=clipped)
    return CalibratedModel(
        base=base,
        data=data,
        sample_count=data.count,
        method=recipe.range_method,
        ranges=ranges.blob,
        report=_report(known, build.target, target),
    )


def _report(known: _Statistics, name: str, target: TargetCalibration) -> CalibrationReport:
    found = known.surveyed
    return CalibrationReport(suspicions=found.suspicions, targets={name: target}, notes=found.notes)


def _warn(passes: Iterable[_Statistics | Failure], hungry: Iterable[str], data: DataRef | None, tools: Tools) -> None:
    reports = (
        _report(known, target, known.report)
        for target, known in zip(hungry, passes, strict=True)
        if isinstance(known, _Statistics)
    )
    report = calibration_report.joined(reports)
    if report is not None and data is not None:
        for words in calibration_report.warnings(report, data.count):
            tools.emit(Event(subject="calibration", phase="noted", message=words, level="warning"))
