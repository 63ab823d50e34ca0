"""From verified builds to the layers that lose most: a clue for what to keep in float or calibrate better.

Each quantized build is compared with the float artefact of its own target, so that a layer's error is the
quantization's and not the converter's. It is a clue only: whatever fails here becomes a note and fails no build.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from toolkit.core import isolation
from toolkit.core.artifacts import DataRef
from toolkit.core.errors import PalmtopError
from toolkit.core.events import Event
from toolkit.core.manifest import BuildEntry
from toolkit.core.tools import Tools
from toolkit.stages import data, importer, packager, tapping
from toolkit.stages.order import made_by, target_of
from toolkit.stages.parallel import Failure, each
from toolkit.stages.tapping import Artefact, Layers, TapJob
from toolkit.stages.verifier import Examined, Inquiry, Measured

SAMPLES = 32
TAP_S = 1800
_JOBS = 2
_FLOAT = "float32"


def trace(examined: Examined, tools: Tools) -> Examined:
    """Measure the layers of every quantized build that ran, over at most 32 of the samples."""
    inquiry = examined.inquiry
    builds = inquiry.manifest.builds
    ran = [build for build, found in zip(builds, examined.outcomes, strict=True) if isinstance(found, Measured)]
    location, preprocess = inquiry.data.location, inquiry.data.preprocess
    try:
        part = data.refer(location, inquiry.source.signature, preprocess, min(SAMPLES, inquiry.data.count))
    except PalmtopError as error:
        return _with(examined, {build.id: _without(build, error.message, tools) for build in ran})
    outcomes = each(ran, lambda build: _layers(inquiry, build, part, tools), _JOBS)
    found = {
        build.id: _without(build, outcome.error, tools) if isinstance(outcome, Failure) else outcome
        for build, outcome in zip(ran, outcomes, strict=True)
    }
    return _with(examined, found)


def _with(examined: Examined, found: dict[str, Layers]) -> Examined:
    none = Layers()
    return dataclasses.replace(
        examined, layers=tuple(found.get(build.id, none) for build in examined.inquiry.manifest.builds)
    )


def _without(build: BuildEntry, reason: str, tools: Tools) -> Layers:
    said = f"No errors of its layers: {reason}"
    tools.emit(Event(subject=f"{build.target}/{build.recipe}", phase="layers", message=said, level="warning"))
    return Layers(note=reason)


def _layers(inquiry: Inquiry, build: BuildEntry, part: DataRef, tools: Tools) -> Layers:
    module = target_of(build.target)
    if build.recipe == _FLOAT:
        return Layers()
    if not hasattr(module, "tap"):
        return Layers(note=f"the target {build.target} does not show its activations")
    base, base_sha256 = _base(inquiry, build.target, tools)
    if base_sha256 == build.sha256:
        return Layers()
    made = Artefact(path=(inquiry.request.folder / build.path).absolute(), signature=build.signature)
    inputs = {
        "build": build.sha256,
        "base": base_sha256,
        "signatures": [build.signature, base.signature, inquiry.source.signature],
        "data": part.sha256,
        "preprocess": part.preprocess,
        "made_by": made_by(module),
    }

    def produce(_: Path) -> Layers:
        tools.emit(Event(subject=f"{build.target}/{build.recipe}", phase="layers"))
        job = TapJob(target=build.target, base=base, build=made, source=inquiry.source.signature, data=part)
        return isolation.isolate(tools, TAP_S, tapping.compare_layers, job)

    return tools.store.memo("layers/1", inputs, Layers, produce)


def _base(inquiry: Inquiry, target: str, tools: Tools) -> tuple[Artefact, str]:
    """Return a target's float artefact: the folder's own build of it, else the one that is or goes to the cache."""
    folder = inquiry.request.folder
    for build in inquiry.manifest.builds:
        if (build.target, build.recipe) == (target, _FLOAT) and packager.is_intact(folder, build):
            return Artefact(path=(folder / build.path).absolute(), signature=build.signature), build.sha256
    model = importer.float_model(inquiry.source, target, tools)
    return Artefact(path=model.blob.path, signature=model.signature), model.blob.sha256
