"""From builds to verdicts: every build executed by its own runtime and held against the source model itself.

Both run over the same samples with the same preprocessing. Errors of the source or of the data end the verification;
a build that crashes, or whose output is not finite, fails alone. Figures of an unchanged build on unchanged data come
from the cache, so another budget is a matter of milliseconds.

``--samples`` takes a part that is balanced over the classes, so the score is then that of the balanced part.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import isolation, metrics, store
from toolkit.core import manifest as manifests
from toolkit.core.artifacts import Blob, DataRef, Score, SourceModel, TensorError, Verdict
from toolkit.core.errors import DataError, ModelError
from toolkit.core.events import Event
from toolkit.core.manifest import BuildEntry, DataEntry, ErrorEntry, Manifest
from toolkit.core.metrics import Budget, ErrorMeter
from toolkit.core.tools import Tools
from toolkit.stages import data, importer, packager, scorer, work
from toolkit.stages.order import made_by, source_of, target_of
from toolkit.stages.parallel import Failure, each
from toolkit.stages.recording import open_rows, pieces
from toolkit.stages.requests import VerifyRequest
from toolkit.stages.scorer import Task
from toolkit.stages.tapping import Layers
from toolkit.stages.work import Execution

EXECUTE_S = 4 * 3600
SCORE_S = 3600
_JOBS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A folder of builds with the float model and the data they are held against."""

    request: VerifyRequest
    manifest: Manifest
    source: SourceModel
    data: DataRef
    metric: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one build did. ``values`` is an ``.npz`` with the metric's ``float_values`` and ``values`` [n]."""

    errors: tuple[TensorError, ...]
    fault: str
    metric: str
    values: Blob | None
    golden: Blob | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """Every build of the folder with what it did, or why it did nothing; ``layers`` are one a build, if traced."""

    inquiry: Inquiry
    outcomes: tuple[Measured | Failure, ...]
    layers: tuple[Layers, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The manifest to be, and the golden files that belong to it."""

    folder: Path
    manifest: Manifest
    golden: tuple[tuple[str, Blob], ...]


def open_folder(request: VerifyRequest, tools: Tools) -> Inquiry:
    """Read the folder, find its float model, and look through the data.

    Raises:
        ModelError: the folder holds no builds, or the float model is not the one they were made from.
        DataError: there is no data, or it cannot be used.
    """
    metric = scorer.metric_name(request.metric)
    found = manifests.read(request.folder)
    if not found.builds:
        raise ModelError(f"{request.folder} holds no builds.", hint="Run `palmtop quantize` first.")
    source = _source(request, found, tools)
    location, limit = _data(request, found)
    ref = data.refer(location, source.signature, found.preprocess, limit)
    importer.look_through(ref, source.signature, tools)
    return Inquiry(request=request, manifest=found, source=source, data=ref, metric=metric)


def _source(request: VerifyRequest, found: Manifest, tools: Tools) -> SourceModel:
    named = Path(found.source.path)
    places = [request.model] if request.model is not None else [named, request.folder / named]
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise ModelError(
            f"The float model of {request.folder} is not at {places[0]} any more.", hint="Say where with --model."
        )
    if store.sha256_of(path) != found.source.sha256:
        raise ModelError(
            f"{path} is not the model that {request.folder} was built from: its content differs.",
            hint="Say where that one lies with --model, or quantize again.",
        )
    return importer.read_source(path, dict(found.source.shapes), tools)


def _data(request: VerifyRequest, found: Manifest) -> tuple[str, int | None]:
    if request.data is not None:
        return request.data, request.samples
    if found.calibration is None:
        raise DataError("There is no data to verify with.", hint="Give samples, best with labels, with -d DATA.")
    return found.calibration.data, request.samples or found.calibration.samples


def examine(inquiry: Inquiry, tools: Tools) -> Examined:
    """Run the float model and every build over the data, and measure how far they are apart.

    Raises:
        DataError: the labels do not fit the model.
        ModelError: the float model itself gives NaN or infinity.
    """
    builds = inquiry.manifest.builds
    known = [tools.store.find("verify/1", _inputs(inquiry, build), Measured) for build in builds]
    intact = all(packager.is_intact(inquiry.request.folder, build) for build in builds)
    if intact and all(found is not None for found in known):
        return Examined(inquiry=inquiry, outcomes=tuple(found for found in known if found is not None))
    with _scratch(tools) as scratch:
        reference = _execute_source(inquiry, scratch, tools)
        _check_reference(inquiry, reference)
        task = scorer.task_of(inquiry.metric, inquiry.request.output, reference)
        float_values = None if task is None else _score(task, reference, scratch / "float.npy", tools)

        def measure(build: BuildEntry) -> Measured:
            compared = _Compared(reference=reference, task=task, float_values=float_values)
            return _measure(inquiry, build, compared, scratch / build.id, tools)

        outcomes = each(builds, measure, _JOBS)
    return Examined(inquiry=inquiry, outcomes=tuple(outcomes))


@contextmanager
def _scratch(tools: Tools) -> Iterator[Path]:
    """Yield a folder for outputs beside the cache, where there is room, gone afterwards."""
    with store.writing_to(tools.store.root):
        tools.store.root.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=tools.store.root, prefix="outputs-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    reference: Execution
    task: Task | None
    float_values: Path | None


def _inputs(inquiry: Inquiry, build: BuildEntry) -> dict[str, Any]:
    return {
        "build": build.sha256,
        "signature": build.signature,
        "target": build.target,
        "source": inquiry.source.blob.sha256,
        "format": inquiry.source.format,
        "shapes": inquiry.source.shapes,
        "data": inquiry.data.sha256,
        "labelled": inquiry.data.labelled,
        "preprocess": inquiry.data.preprocess,
        "metric": _metric_identity(inquiry.metric),
        "output": inquiry.request.output,
        "made_by": made_by(source_of(inquiry.source.format), target_of(build.target)),
    }


def _metric_identity(metric: str | None) -> list[str | None]:
    """Return the metric's name and, for a function of the user's, the content of its module where it can be found."""
    module = (metric or "").partition(":")[0] if ":" in (metric or "") else ""
    file = Path(*module.split(".")).with_suffix(".py") if module else None
    return [metric, store.sha256_of(file) if file is not None and file.is_file() else None]


def _execute_source(inquiry: Inquiry, scratch: Path, tools: Tools) -> Execution:
    source = inquiry.source
    subject = f"{source.format}/float"
    job = work.ExecutionJob(
        room="sources",
        name=source.format,
        model=source.blob.path.absolute(),
        shapes=dict(source.shapes),
        artefact=source.signature,
        source=source.signature,
        data=inquiry.data,
        out=scratch / "source",
    )
    execution = _execute(job, subject, tools)
    tools.emit(Event(subject=subject, phase="done"))
    return execution


def _execute(job: work.ExecutionJob, subject: str, tools: Tools) -> Execution:
    def tell(event: Event) -> None:
        tools.emit(Event(subject=subject, phase="verify", done=event.done, total=event.total))

    with store.writing_to(job.out):
        job.out.mkdir()
    tools.emit(Event(subject=subject, phase="verify", total=job.data.count))
    return isolation.isolate(tools, EXECUTE_S, work.execute, job, tell)


def _check_reference(inquiry: Inquiry, reference: Execution) -> None:
    for recorded in reference.outputs:
        rows = open_rows(recorded.path)
        for piece in pieces(rows):
            finite = np.isfinite(np.asarray(rows[piece], np.float64)).reshape(len(rows[piece]), -1).all(axis=1)
            if not finite.all():
                sample = piece.start + int(np.argmin(finite))
                raise ModelError(
                    f"The float model {inquiry.source.blob.path} itself gives NaN or infinity: output "
                    f"{recorded.name!r}, sample {sample} of {inquiry.data.location}.",
                    hint="Mend the model or take the sample out; nothing can be held against such an output.",
                )


def _score(task: Task, execution: Execution, out: Path, tools: Tools) -> Path:
    if ":" in task.metric:
        isolation.isolate(tools, SCORE_S, scorer.score_to, task, execution, out)
    else:
        scorer.score_to(task, execution, out)
    return out


def _measure(inquiry: Inquiry, build: BuildEntry, compared: _Compared, scratch: Path, tools: Tools) -> Measured:
    if not packager.is_intact(inquiry.request.folder, build):
        raise ModelError(
            f"{build.path} is missing or was changed since it was built.",
            hint="Build it again with `palmtop quantize`.",
        )

    def produce(folder: Path) -> Measured:
        job = work.ExecutionJob(
            room="targets",
            name=build.target,
            model=(inquiry.request.folder / build.path).absolute(),
            shapes={},
            artefact=build.signature,
            source=inquiry.source.signature,
            data=inquiry.data,
            out=scratch,
        )
        execution = _execute(job, f"{build.target}/{build.recipe}", tools)
        errors, fault = compare(compared.reference, execution)
        values = None
        if compared.task is not None and compared.float_values is not None and not fault:
            own = _score(compared.task, execution, scratch / "values.npy", tools)
            values = folder / "values.npz"
            with store.writing_to(values):
                np.savez(values, float_values=np.load(compared.float_values), values=np.load(own))
        return Measured(
            errors=errors,
            fault=fault,
            metric="" if compared.task is None else compared.task.metric,
            values=None if values is None else store.blob_of(values),
            golden=_keep(execution.golden, folder / "golden.npz"),
        )

    return tools.store.memo("verify/1", _inputs(inquiry, build), Measured, produce)


def _keep(golden: Path | None, to: Path) -> Blob | None:
    return None if golden is None else store.copy_blob(store.blob_of(golden), to)


def compare(reference: Execution, execution: Execution) -> tuple[tuple[TensorError, ...], str]:
    """Return the errors of every output, in the order of the source's outputs, and what is wrong beyond them."""
    own = {recorded.name: recorded.path for recorded in execution.outputs}
    errors, faults = [], []
    for recorded in reference.outputs:
        expected = open_rows(recorded.path)
        if recorded.name not in own:
            faults.append(f"the output {recorded.name!r} is missing")
            continue
        values = open_rows(own[recorded.name])
        if values.shape != expected.shape:
            faults.append(f"the output {recorded.name!r} is {list(values.shape[1:])}, not {list(expected.shape[1:])}")
            continue
        meter = ErrorMeter(output=recorded.name)
        for piece in pieces(expected):
            meter.add(expected[piece], values[piece])
        errors.append(meter.result())
        if meter.broken:
            faults.append(
                f"the output {recorded.name!r} holds NaN or infinity for {meter.broken} of {meter.samples} samples, "
                f"first for sample {meter.first_broken}"
            )
    return tuple(errors), "; ".join(faults)


def judge(examined: Examined, tools: Tools) -> Judged:
    """Turn what every build did into figures, intervals and verdicts."""
    inquiry = examined.inquiry
    pairs = tuple(zip(inquiry.manifest.builds, examined.outcomes, strict=True))
    layers = examined.layers or (Layers(),) * len(pairs)
    builds = tuple(
        dataclasses.replace(_judged(build, outcome, inquiry), layer_errors=found.errors, layer_errors_note=found.note)
        for (build, outcome), found in zip(pairs, layers, strict=True)
    )
    for build in builds:
        phase = "failed" if build.verdict == "fail" else "done"
        tools.emit(Event(subject=f"{build.target}/{build.recipe}", phase=phase, message=build.verdict_reason))
    metrics_used = {outcome.metric for outcome in examined.outcomes if isinstance(outcome, Measured)} - {""}
    verification = DataEntry(
        data=inquiry.data.location,
        format=inquiry.data.format,
        sha256=inquiry.data.sha256,
        samples=inquiry.data.count,
        method=", ".join(sorted(metrics_used)),
    )
    return Judged(
        folder=inquiry.request.folder,
        manifest=dataclasses.replace(inquiry.manifest, builds=builds, verification=verification),
        golden=tuple(
            (f"golden/{build.id}.npz", outcome.golden)
            for build, outcome in pairs
            if isinstance(outcome, Measured) and outcome.golden is not None
        ),
    )


def _judged(build: BuildEntry, outcome: Measured | Failure, inquiry: Inquiry) -> BuildEntry:
    if isinstance(outcome, Failure):
        log = f" Its whole output: {outcome.log}" if outcome.log else ""
        return dataclasses.replace(
            build,
            tensor_errors={},
            score=None,
            golden=None,
            golden_sha256=None,
            verdict="fail",
            verdict_reason=f"It did not run: {outcome.error}{log}",
        )
    score = _scored(outcome, inquiry.request)
    verdict, reason = _verdict(outcome, score, inquiry.data.count)
    golden = outcome.golden
    return dataclasses.replace(
        build,
        tensor_errors={
            error.output: ErrorEntry(sqnr_db=error.sqnr_db, cosine=error.cosine, max_abs=error.max_abs)
            for error in outcome.errors
        },
        score=score,
        golden=None if golden is None else f"golden/{build.id}.npz",
        golden_sha256=None if golden is None else golden.sha256,
        verdict=verdict,
        verdict_reason=reason,
    )


def _scored(outcome: Measured, request: VerifyRequest) -> Score | None:
    if outcome.values is None:
        return None
    with np.load(outcome.values.path, allow_pickle=False) as arrays:
        float_values, values = arrays["float_values"], arrays["values"]
    budget = Budget(max_drop=request.max_drop, confidence=request.confidence, seed=request.seed)
    return metrics.score(outcome.metric, float_values, values, budget)


def _verdict(outcome: Measured, score: Score | None, samples: int) -> tuple[Verdict, str]:
    if outcome.fault:
        return "fail", f"Against the float model {outcome.fault}."
    if score is not None:
        return score.verdict, ""
    return metrics.judge_errors(outcome.errors, samples)


def store_verdicts(judged: Judged, tools: Tools) -> Manifest:
    """Write the golden files and then ``build.json``, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    for inner, blob in judged.golden:
        packager.copy_into(blob, judged.folder, inner)
    manifests.write(judged.folder, judged.manifest)
    return judged.manifest
