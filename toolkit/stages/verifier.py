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

from toolkit.core import manifest as manifests
from toolkit.core import metrics, store
from toolkit.core.artifacts import Blob, DataRef, Score, SourceModel, TensorError, Verdict
from toolkit.core.errors import DataError, ModelError
from toolkit.core.events import Event
from toolkit.core.manifest import BuildEntry, DataEntry, ErrorEntry, Manifest
from toolkit.core.metrics import Budget
from toolkit.core.tools import Tools
from toolkit.stages import data, importer, packager, scorer, work
from toolkit.stages.comparing import Result, Standard, measure_outputs, score_of
from toolkit.stages.executing import execute, remember
from toolkit.stages.order import made_by, source_of, target_of
from toolkit.stages.parallel import Failure, each
from toolkit.stages.recording import open_rows, pieces
from toolkit.stages.requests import VerifyRequest
from toolkit.stages.tapping import Layers
from toolkit.stages.work import Execution

NOT_HELD_OUT = "Verified on the calibration data, which is not held out: scores may flatter the calibrated builds"
_JOBS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A folder of builds with the float model and the data they are held against."""

    request: VerifyRequest
    manifest: Manifest
    source: SourceModel
    data: DataRef
    metric: str | None
    note: str = ""

    @property
    def users_metric(self) -> bool:
        """Whether the metric is a function of the user's, whose score is never taken from the cache."""
        return ":" in (self.metric or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one build did. ``output`` is the one the metric reads, empty where it gets all.

    ``values`` is an ``.npz`` with the metric's ``float_values`` and ``values`` [n].
    """

    errors: tuple[TensorError, ...]
    fault: str
    metric_fault: str
    metric: str
    output: str
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
        OutputError: the verdicts could not be written into the folder.
    """
    metric = scorer.metric_name(request.metric)
    found = manifests.read(request.folder)
    if not found.builds:
        raise ModelError(f"{request.folder} holds no builds.", hint="Run `palmtop quantize` first.")
    store.check_writable(request.folder, "The verdicts go into its build.json: make room and rights for it.")
    source = _source(request, found, tools)
    location, limit = _data(request, found)
    ref = data.refer(location, source.signature, found.preprocess, limit)
    importer.look_through(ref, source.signature, tools)
    note = _doubt(ref, found, source)
    if note:
        tools.emit(Event(subject="verification", phase="noted", message=f"{note}.", level="warning"))
    return Inquiry(request=request, manifest=found, source=source, data=ref, metric=metric, note=note)


def _source(request: VerifyRequest, found: Manifest, tools: Tools) -> SourceModel:
    named = Path(found.source.path)
    places = [request.model] if request.model is not None else [named, request.folder / named]
    path = next((place for place in places if importer.is_there(place)), None)
    if path is None:
        raise ModelError(
            f"The float model of {request.folder} is not at {places[0]} any more.", hint="Say where with --model."
        )
    if importer.source_blob(path, found.source.format, dict(found.source.shapes), tools).sha256 != found.source.sha256:
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


def _doubt(ref: DataRef, found: Manifest, source: SourceModel) -> str:
    """Say if the builds' ranges were learned from this data; another number of its samples does not hide that."""
    learned = found.calibration
    if learned is None or not learned.method:
        return ""
    same = ref.sha256 == learned.sha256
    if not same and ref.format == learned.format:
        part = data.refer(ref.location, source.signature, found.preprocess, learned.samples)
        same = part.sha256 == learned.sha256
    return NOT_HELD_OUT if same else ""


def examine(inquiry: Inquiry, tools: Tools) -> Examined:
    """Run the float model and every build over the data, and measure how far they are apart.

    Raises:
        DataError: the labels do not fit the model.
        ModelError: the float model itself gives NaN or infinity.
    """
    builds = inquiry.manifest.builds
    known = [tools.store.find("verify/2", _inputs(inquiry, build), Measured) for build in builds]
    intact = not inquiry.users_metric and all(packager.is_intact(inquiry.request.folder, build) for build in builds)
    if intact and all(found is not None for found in known):
        return Examined(inquiry=inquiry, outcomes=tuple(found for found in known if found is not None))
    with _scratch(tools) as scratch:
        reference = _execute_source(inquiry, scratch, tools)
        _check_reference(inquiry, reference)
        task = scorer.task_of(inquiry.metric, inquiry.request.output, reference)
        float_values = None if task is None else score_of(task, reference, scratch / "float.npy", tools)

        def measure(build: BuildEntry) -> Measured:
            standard = Standard(reference=reference, task=task, float_values=float_values)
            with store.discarded(scratch / build.id) as outputs:  # those of all builds together may fill a disk
                return _measure(inquiry, build, standard, outputs, tools)

        outcomes = each(builds, measure, _JOBS)
    return Examined(inquiry=inquiry, outcomes=tuple(outcomes))


@contextmanager
def _scratch(tools: Tools) -> Iterator[Path]:
    """Yield a folder for outputs beside the cache, where there is room, gone afterwards."""
    with store.writing_to(tools.store.root):
        tools.store.root.mkdir(parents=True, exist_ok=True)
        store.sweep(tools.store.root, "outputs-*")
        folder = tempfile.TemporaryDirectory(dir=tools.store.root, prefix="outputs-", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def _inputs(inquiry: Inquiry, build: BuildEntry) -> dict[str, Any]:
    return {
        **_common_inputs(inquiry),
        "build": build.sha256,
        "signature": build.signature,
        "target": build.target,
        "made_by": made_by(source_of(inquiry.source.format), target_of(build.target)),
    }


def _common_inputs(inquiry: Inquiry) -> dict[str, Any]:
    return {
        "source": inquiry.source.blob.sha256,
        "format": inquiry.source.format,
        "shapes": inquiry.source.shapes,
        "data": inquiry.data.sha256,
        "labelled": inquiry.data.labelled,
        "preprocess": inquiry.data.preprocess,
        "metric": None if inquiry.users_metric else [inquiry.metric, inquiry.request.output],
        "made_by": made_by(source_of(inquiry.source.format)),
    }


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
    if inquiry.users_metric:
        execution = remember(job, subject, {**_common_inputs(inquiry), "build": None}, tools)
    else:
        execution = execute(job, subject, tools)
    tools.emit(Event(subject=subject, phase="done"))
    return execution


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


def _measure(inquiry: Inquiry, build: BuildEntry, standard: Standard, scratch: Path, tools: Tools) -> Measured:
    if not packager.is_intact(inquiry.request.folder, build):
        raise ModelError(
            f"{build.path} is missing or was changed since it was built.",
            hint="Build it again with `palmtop quantize`.",
        )
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
    inputs, subject = _inputs(inquiry, build), f"{build.target}/{build.recipe}"
    if not inquiry.users_metric:

        def produce(folder: Path) -> Measured:
            return _kept(measure_outputs(standard, execute(job, subject, tools), scratch, tools), standard, folder)

        return tools.store.memo("verify/2", inputs, Measured, produce)
    with store.writing_to(scratch):
        scratch.mkdir()
    made = measure_outputs(standard, remember(job, subject, inputs, tools), scratch, tools)
    scores = [store.sha256_of(path) for path in (standard.float_values, made.values) if path is not None]
    content = {**inputs, "scores": scores, "fault": made.fault, "metric_fault": made.metric_fault}
    return tools.store.memo("verify/2", content, Measured, lambda folder: _kept(made, standard, folder))


def _kept(made: Result, standard: Standard, folder: Path) -> Measured:
    values = None
    if made.values is not None and standard.float_values is not None:
        values = folder / "values.npz"
        with store.writing_to(values):
            np.savez(values, float_values=np.load(standard.float_values), values=np.load(made.values))
    golden = None if made.golden is None else store.copy_blob(store.blob_of(made.golden), folder / "golden.npz")
    return Measured(
        errors=made.errors,
        fault=made.fault,
        metric_fault=made.metric_fault,
        metric="" if standard.task is None else standard.task.metric,
        output="" if standard.task is None else standard.task.output,
        values=None if values is None else store.blob_of(values),
        golden=golden,
    )


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
        note=inquiry.note,
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
    """Judge by the score where there is one, but not past an output that it does not read and that is broken.

    Such an output fails the build below ``SQNR_FAIL_DB``; below ``SQNR_PASS_DB`` the score's verdict stays and the
    reason names it. A function of the user's gets all outputs and is taken to judge them all.
    """
    if outcome.fault:
        return "fail", f"Against the float model {outcome.fault}."
    if outcome.metric_fault:
        return "fail", f"The metric failed on this build's outputs: {outcome.metric_fault}"
    if score is None:
        return metrics.judge_errors(outcome.errors, samples)
    unread = [error for error in outcome.errors if outcome.output and error.output != outcome.output]
    worst = min(unread, key=lambda error: error.sqnr_db, default=None)
    if worst is None or worst.sqnr_db >= metrics.SQNR_PASS_DB:
        return score.verdict, ""
    figure = f"{worst.sqnr_db:.1f} dB SQNR at output {worst.output!r}, which {score.metric} does not read"
    if worst.sqnr_db < metrics.SQNR_FAIL_DB:
        return "fail", f"{figure}: below {metrics.SQNR_FAIL_DB:.0f} dB noise drowns the output."
    return score.verdict, f"{figure}: only a metric that reads it can tell whether that is enough."


def store_verdicts(judged: Judged, tools: Tools) -> Manifest:
    """Write the golden files and then ``build.json``, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    for inner, blob in judged.golden:
        packager.copy_into(blob, judged.folder, inner)
    manifests.write(judged.folder, judged.manifest)
    return judged.manifest
