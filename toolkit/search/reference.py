"""The float model on every sample of a search: what candidates are held against, and what the metric says of it."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import isolation
from toolkit.core.artifacts import Blob, DataRef, SourceModel
from toolkit.core.errors import DataError, ModelError
from toolkit.core.store import blob_of, sha256_of
from toolkit.core.tools import Tools
from toolkit.search.requests import AGREEMENT, SearchRequest
from toolkit.search.running import Standard, check_range
from toolkit.stages import scorer
from toolkit.stages.executing import remember
from toolkit.stages.order import made_by, source_of
from toolkit.stages.recording import open_rows, pieces
from toolkit.stages.scorer import Task
from toolkit.stages.work import Execution, ExecutionJob

SCORE_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """The metric's values, and what stands for labels where the metric has its own."""

    values: Blob
    labels: Blob | None


def metric_of(request: SearchRequest) -> str | None:
    """Return the metric's own name; None is top-1, if the data is labelled.

    Raises:
        SettingsError: it is unknown.
    """
    return AGREEMENT if request.metric == AGREEMENT else scorer.metric_name(request.metric)


def is_binary(request: SearchRequest, standard: Standard) -> bool:
    """Whether the metric gives 0 or 1 and nothing between, as hits do; of a user's function the float model tells.

    One that gave it the same throughout may be a share that is full for it, and counts as no such metric.
    """
    if request.metric is None or ":" not in request.metric:
        return True
    seen = np.unique(np.asarray(open_rows(standard.values), np.float64))
    return bool(np.array_equal(seen, [0.0, 1.0]))


def code_of(metric: str | None) -> str:
    """Return the hash of the file that a ``module:function`` metric is in; empty where there is none to be found.

    Nothing of the user's runs: the file is looked for as an import would look, in the current folder last.
    """
    module, found, _ = (metric or "").partition(":")
    if not found:
        return ""
    places: Iterable[str] = [*sys.path, str(Path.cwd())]
    spec, whole = None, ""
    for part in module.split("."):
        whole = f"{whole}.{part}" if whole else part
        spec = PathFinder.find_spec(whole, list(places))
        if spec is None:
            return ""
        places = spec.submodule_search_locations or ()
    return sha256_of(Path(spec.origin)) if spec is not None and spec.origin and Path(spec.origin).is_file() else ""


def standard_of(request: SearchRequest, source: SourceModel, data: DataRef, tools: Tools) -> Standard:
    """Run the float model over the data, unless that was done before, and score it.

    Raises:
        DataError: the data has no labels and the metric needs them, or they do not fit.
        ModelError: the float model itself gives NaN or infinity.
        SettingsError: the metric fails on the float model's outputs, or leaves its range.
    """
    metric = metric_of(request)
    _check_labels(metric, data)
    execution = _executed(source, data, tools)
    _check_finite(execution, data)
    task = _task(metric, request.output, execution)
    inputs = {
        "outputs": [blob_of(one.path).sha256 for one in execution.outputs],
        "labels": None if execution.labels is None else blob_of(execution.labels).sha256,
        "metric": [metric, task.output],
        "made_by": made_by(),
    }

    def produce(folder: Path) -> _Scored:
        return _scored(metric == AGREEMENT, task, execution, folder, tools)

    if ":" in task.metric:  # a function of the user's may have changed
        inputs["called"] = tools.clock.utc().isoformat()
    found = tools.store.memo("search-reference/1", inputs, _Scored, produce)
    values = open_rows(found.values.path)
    check_range(np.asarray(values), metric or task.metric, request.metric_range)
    labels = execution.labels if found.labels is None else found.labels.path
    return Standard(task=task, outputs=execution.outputs, labels=labels, values=found.values.path)


def _check_labels(metric: str | None, data: DataRef) -> None:
    if not data.labelled and (metric is None or (metric != AGREEMENT and ":" not in metric)):
        raise DataError(
            f"The metric {metric or 'top1'} needs labels, and {data.location} has none.",
            hint="Give labelled samples, or --metric agreement: how often a build's first class is the float model's.",
        )


def _executed(source: SourceModel, data: DataRef, tools: Tools) -> Execution:
    job = ExecutionJob(
        room="sources",
        name=source.format,
        model=source.blob.path.absolute(),
        shapes=dict(source.shapes),
        artefact=source.signature,
        source=source.signature,
        data=data,
        out=Path(),
    )
    inputs: dict[str, Any] = {
        "source": source.blob.sha256,
        "format": source.format,
        "shapes": source.shapes,
        "data": [data.sha256, data.labelled, data.preprocess],
        "made_by": made_by(source_of(source.format)),
    }
    return remember(job, f"{source.format}/float", inputs, tools)


def _check_finite(execution: Execution, data: DataRef) -> None:
    for recorded in execution.outputs:
        rows = open_rows(recorded.path)
        for piece in pieces(rows):
            good = np.isfinite(np.asarray(rows[piece], np.float64)).reshape(len(rows[piece]), -1).all(axis=1)
            if not good.all():
                raise ModelError(
                    f"The float model itself gives NaN or infinity: output {recorded.name!r}, sample "
                    f"{piece.start + int(np.argmin(good))} of {data.location}.",
                    hint="Mend the model or take the sample out; nothing can be held against such an output.",
                )


def _task(metric: str | None, output: str | None, execution: Execution) -> Task:
    if metric == AGREEMENT:
        return Task(metric="top1", output=_scores(output, execution))
    task = scorer.task_of(metric, output, execution)
    assert task is not None, "labels are there, or the metric does without"
    return task


def _scores(asked: str | None, execution: Execution) -> str:
    """Return the output whose largest value is the first class."""
    widths = {}
    for recorded in execution.outputs:
        shape = open_rows(recorded.path).shape
        if len(shape) > 1 and math.prod(shape[1:]) == shape[-1] > 1:
            widths[recorded.name] = shape[-1]
    said = ", ".join(f"{name} ({width} wide)" for name, width in widths.items()) or "none"
    if asked is not None and asked not in widths:
        raise DataError(f"Agreement cannot be read from the output {asked!r}.", hint=f"Outputs of scores: {said}.")
    names = [asked] if asked is not None else list(widths)
    if len(names) != 1:
        raise DataError(
            f"Agreement needs one output of a score for each class; the model has: {said}.",
            hint="Name one with --output, or give --metric package.module:function.",
        )
    return names[0]


def _scored(agreement: bool, task: Task, execution: Execution, folder: Path, tools: Tools) -> _Scored:
    labels = None
    if agreement:
        rows = open_rows(next(one.path for one in execution.outputs if one.name == task.output))
        first = [np.asarray(rows[piece]).reshape(len(rows[piece]), -1).argmax(axis=1) for piece in pieces(rows)]
        labels = folder / "labels.npy"
        np.save(labels, np.concatenate(first))
        execution = dataclasses.replace(execution, labels=labels)
    out = folder / "values.npy"
    if ":" in task.metric:
        isolation.isolate(tools, SCORE_S, scorer.score_to, task, execution, out)
    else:
        scorer.score_to(task, execution, out)
    return _Scored(values=blob_of(out), labels=None if labels is None else blob_of(labels))
