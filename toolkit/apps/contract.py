"""From ``build.json`` to what an app is made of: ``model.json`` and the files beside it, all checked first."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.apps import goldens, kinds, labels, spec, strings
from toolkit.apps.strings import Labels
from toolkit.core import codec, store
from toolkit.core import manifest as manifests
from toolkit.core.errors import BadInput, DataError, ModelError, SettingsError, UsageError, unknown_name
from toolkit.core.manifest import BuildEntry, Manifest

MODEL_MAX_BYTES: Final = 150_000_000
"""Google Play's base modules and sensible downloads end about here; larger models travel as asset packs."""
_USUAL: Final = "static-int8"
_STEM: Final = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which build an app is for, and what the user said of it; None: told from the build.

    ``known`` are labels that the app has already: used where they fit and none are given.
    """

    folder: Path
    target: str
    recipe: str | None = None
    task: spec.Task | None = None
    labels: Path | None = None
    labels_csv: Path | None = None
    vocab: Path | None = None
    known: Labels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file of the model folder: written from ``content``, or copied from ``source`` (which may be a folder)."""

    name: str
    content: bytes = b""
    source: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What an app has to know and to carry; ``notes`` are for the user to read."""

    model: spec.ModelSpec
    files: tuple[ModelFile, ...]
    notes: tuple[str, ...]


def make(request: Request) -> Contract:
    """Choose the build and describe it.

    Raises:
        ModelError: the folder holds no such build, or one that is damaged, too large or without golden samples.
        DataError: labels or vocabulary cannot be read or do not fit.
        SettingsError: the build cannot be used for the task.
    """
    manifest = manifests.read(request.folder)
    build = choose(manifest, request)
    path = _intact(request.folder, build)
    samples = goldens.read(_golden_of(request.folder, build))
    reading = kinds.read(build.signature, manifest.preprocess, samples)
    found, notes = _labels(request, manifest, build)
    count = len(found.names) if found else None
    task = request.task or kinds.task_of(reading, count)
    kinds.check_task(task, reading, count)
    if request.vocab is not None and task != "text":
        raise UsageError("--vocab belongs to an app for text.", hint="Leave it out, or give --task text.")
    notes += _task_notes(request, task, reading, count)
    model, extra = _described(manifest, build, path, _Told(reading, samples, found, task, request))
    files = [ModelFile(name=model.file, source=path), *extra, *_label_files(found if model.labels else None)]
    files.append(ModelFile(name=spec.FILE, content=codec.pretty(model).encode("utf-8")))
    return Contract(model=model, files=tuple(sorted(files, key=lambda file: file.name)), notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Told:
    reading: kinds.Reading
    samples: goldens.Samples
    labels: Labels | None
    task: spec.Task
    request: Request


def choose(manifest: Manifest, request: Request) -> BuildEntry:
    """Return the build to ship: of the named recipe, else the usual one, else the smallest; none that failed.

    Raises:
        SettingsError: there is no such target or recipe among the builds.
        ModelError: every build of the target failed verification.
    """
    builds = [build for build in manifest.builds if build.target == request.target]
    if not builds:
        raise unknown_name("target", request.target, {build.target for build in manifest.builds})
    if request.recipe is not None:
        named = [build for build in builds if build.recipe == request.recipe]
        if not named:
            raise unknown_name(f"recipe of {request.target}", request.recipe, {build.recipe for build in builds})
        return named[0]
    good = [build for build in builds if build.verdict != "fail"]
    if not good:
        raise ModelError(
            f"Every {request.target} build of {request.folder} failed its verification.",
            hint="Build with another recipe, or name one with --recipe all the same.",
        )
    return min(good, key=lambda build: (build.recipe != _USUAL, build.recipe == "float32", build.size_bytes, build.id))


def _intact(folder: Path, build: BuildEntry) -> Path:
    path = folder / build.path
    if not path.exists():
        raise ModelError(f"The build {build.id} is missing: there is no {path}.", hint="Build it again.")
    if build.size_bytes > MODEL_MAX_BYTES or store.size_of(path) > MODEL_MAX_BYTES:
        raise ModelError(
            f"The build {build.id} is {store.size_of(path) / 1e6:,.0f} MB; an app carries at most "
            f"{MODEL_MAX_BYTES / 1e6:.0f} MB in itself.",
            hint="Deliver it apart from the app: a Play asset pack on Android, Background Assets on iOS; "
            "or choose a smaller recipe.",
        )
    if store.sha256_of(path) != build.sha256:
        raise ModelError(f"The build {build.id} was changed since it was built: {path}.", hint="Build it again.")
    return path


def _golden_of(folder: Path, build: BuildEntry) -> Path:
    if build.golden is None or not (folder / build.golden).is_file():
        raise ModelError(
            f"The build {build.id} has no golden samples, so an app of it could not check itself.",
            hint=f"Run `palmtop verify {folder}` first.",
        )
    path = folder / build.golden
    if build.golden_sha256 is not None and store.sha256_of(path) != build.golden_sha256:
        raise ModelError(f"The golden samples {path} were changed.", hint=f"Run `palmtop verify {folder}` again.")
    return path


def _labels(request: Request, manifest: Manifest, build: BuildEntry) -> tuple[Labels | None, list[str]]:
    if request.labels is not None and request.labels_csv is not None:
        raise UsageError("--labels and --labels-csv contradict each other.", hint="The CSV holds the labels too.")
    if request.labels is not None:
        return Labels(names=labels.read_lines(request.labels, "labels"), localised={}), []
    if request.labels_csv is not None:
        found = strings.read_labels(request.labels_csv)
        labels.check(found.names, f"labels of {request.labels_csv}")
        return found, []
    widths = {tensor.shape[-1] for tensor in build.signature.outputs if tensor.shape}
    if request.known is not None and len(request.known.names) in widths:
        return request.known, []
    known = labels.of_data(manifest)
    if known is None or len(known.names) not in widths:
        return None, []
    return known, [f"{len(known.names)} labels are those of the data that the build was verified with."]


def _task_notes(request: Request, task: spec.Task, reading: kinds.Reading, count: int | None) -> list[str]:
    if task == "detection":
        found = kinds.detection(reading)
        assert found is not None
        read_as = f"{found.box_format}, {found.box_units}"
        how = f"compare the app's with your model's, and correct {spec.FILE} where they differ"
        return [f"The boxes are read as {read_as}, which shapes do not tell: {how}."]
    if task == "text":
        how = "by white space and vocabulary" if request.vocab else "into the bytes of UTF-8"
        return [
            f"Texts are cut {how}, lower case, padded with 0: correct `text` in {spec.FILE} where your model differs."
        ]
    if task != "tensor" or request.task is not None:
        return []
    if reading.doubt:
        return [f"The app shows tensors, not pictures: {reading.doubt}. Declare the preprocessing and build again."]
    if count is None and any(tensor.kind == "image" for tensor in reading.inputs):
        return ["The app shows tensors: there are no labels. Give --labels FILE for an app that classifies."]
    return []


def _described(
    manifest: Manifest, build: BuildEntry, path: Path, told: _Told
) -> tuple[spec.ModelSpec, list[ModelFile]]:
    outputs, after = kinds.outputs_for(
        told.task, told.reading, len(told.labels.names) if told.labels else None, told.samples
    )
    golden, golden_content = goldens.pack(_in_order(build, told.samples))
    extra = [ModelFile(name=spec.GOLDEN, content=golden_content)]
    picture_golden = None
    if told.reading.picture is not None:
        picture_golden, content = goldens.picture(told.reading.picture, told.reading.inputs[0])
        extra.append(ModelFile(name=spec.PICTURE, content=content))
    if told.request.vocab is not None:
        words = labels.read_lines(told.request.vocab, "vocabulary")
        extra.append(ModelFile(name=spec.VOCABULARY, content=_lines(words)))
    shows_labels = told.labels is not None and after.kind != "tensor"
    model = spec.ModelSpec(
        palmtop=manifest.palmtop,
        build=spec.Build(id=build.id, target=build.target, recipe=build.recipe, source=manifest.source.name),
        file=f"{_STEM}{path.suffix}",
        sha256=build.sha256,
        size_bytes=build.size_bytes,
        task=told.task,
        inputs=told.reading.inputs,
        outputs=outputs,
        preprocess=told.reading.picture,
        postprocess=after,
        text=kinds.text_input(told.reading, vocabulary=told.request.vocab is not None) if told.task == "text" else None,
        labels=_labels_fact(told.labels) if shows_labels and told.labels else None,
        golden=golden,
        preprocess_golden=picture_golden,
        score=_score(build),
        requirements=spec.Needs(
            runtime=build.requirements.runtime,
            runtime_min=build.requirements.runtime_min,
            android_api_min=build.requirements.android_api_min,
            ios_min=build.requirements.ios_min,
        ),
    )
    return model, extra


def _in_order(build: BuildEntry, samples: goldens.Samples) -> goldens.Samples:
    """Bring the golden arrays into the order of the build's own tensors.

    Raises:
        ModelError: one is missing, or has another shape or dtype.
    """
    for tensor in build.signature.inputs:
        values = samples.inputs.get(tensor.name)
        shape = None if values is None else values.shape[1:]
        fits = shape is not None and len(shape) == len(tensor.shape)
        if shape is None or not fits or any(w not in (-1, s) for w, s in zip(tensor.shape, shape, strict=True)):
            raise ModelError(f"The golden samples of {build.id} do not fit its input {tensor.name!r}.")
    missing = [tensor.name for tensor in build.signature.outputs if tensor.name not in samples.outputs]
    if missing:
        raise ModelError(f"The golden samples of {build.id} lack its output {missing[0]!r}.")
    return goldens.Samples(
        inputs={tensor.name: samples.inputs[tensor.name] for tensor in build.signature.inputs},
        outputs={tensor.name: samples.outputs[tensor.name] for tensor in build.signature.outputs},
        count=samples.count,
    )


def _labels_fact(found: Labels) -> spec.LabelsFile:
    return spec.LabelsFile(file=spec.LABELS, count=len(found.names), languages=tuple(sorted(found.localised)))


def _label_files(found: Labels | None) -> list[ModelFile]:
    if found is None:
        return []
    files = [ModelFile(name=spec.LABELS, content=_lines(found.names))]
    for language, names in sorted(found.localised.items()):
        labels.check(names, f"labels in {language}")
        if len(names) != len(found.names):
            raise DataError(f"There are {len(names)} labels in {language} for {len(found.names)} classes.")
        files.append(ModelFile(name=f"labels-{language}.txt", content=_lines(names)))
    return files


def _lines(names: tuple[str, ...]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("utf-8")


def _score(build: BuildEntry) -> spec.ScoreFact | None:
    score = build.score
    if score is None or not all(map(math.isfinite, (score.float_value, score.value, score.drop))):
        return None
    return spec.ScoreFact(
        metric=score.metric, float_value=score.float_value, value=score.value, drop=score.drop, n=score.n
    )


def read_model(path: Path) -> spec.ModelSpec:
    """Read a ``model.json``.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    try:
        return codec.structure(json.loads(path.read_text(encoding="utf-8")), spec.ModelSpec, what=str(path))
    except (OSError, ValueError, RecursionError, SettingsError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from error
