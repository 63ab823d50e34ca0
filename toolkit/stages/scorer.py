"""From outputs and labels to one number a sample: top-1, top-5, or a function of the user's."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import metrics
from toolkit.core.errors import DataError, SettingsError, unknown_name
from toolkit.stages.recording import open_rows, pieces
from toolkit.stages.work import Execution

_TOP = {"top1": 1, "top5": 5}
_ALIASES = {"accuracy": "top1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to score: the metric's name, and the output it reads (empty for a user's function, which gets all)."""

    metric: str
    output: str


def metric_name(asked: str | None) -> str | None:
    """Return the metric's own name; None stays None.

    Raises:
        SettingsError: it is neither a known name nor of the form ``package.module:function``.
    """
    if asked is None or ":" in asked:
        return asked
    name = _ALIASES.get(asked, asked)
    if name not in _TOP:
        raise unknown_name("metric", asked, [*_TOP, *_ALIASES, "package.module:function"])
    return name


def task_of(metric: str | None, output: str | None, reference: Execution) -> Task | None:
    """Decide what is scored on this data: None without labels and without a metric.

    Raises:
        DataError: there are no labels, they are not class numbers, or no output, or more than one, fits them.
    """
    if metric is not None and ":" in metric:
        return Task(metric=metric, output="")
    if reference.labels is None:
        if metric is None:
            return None
        raise DataError(f"The metric {metric} needs labels, and the data has none.", hint="Give labelled data with -d.")
    labels = open_rows(reference.labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise DataError(
            f"The labels are {labels.dtype} {list(labels.shape)}, not one class number a sample.",
            hint="Store whole numbers from 0 on (argmax of one-hot labels), or give --metric package.module:function.",
        )
    return Task(metric=metric or "top1", output=_output(output, reference, labels, _TOP[metric or "top1"]))


def _output(asked: str | None, reference: Execution, labels: NDArray[Any], k: int) -> str:
    widths = {}
    for recorded in reference.outputs:
        rows = open_rows(recorded.path)
        if rows.dtype.kind == "f" and rows.ndim > 1 and math.prod(rows.shape[1:]) == rows.shape[-1]:
            widths[recorded.name] = rows.shape[-1]
    said = ", ".join(f"{name} ({width} wide)" for name, width in widths.items()) or "none"
    if asked is not None and asked not in widths:
        raise DataError(f"The metric cannot read the output {asked!r}.", hint=f"Outputs of one score a class: {said}.")
    low, high = int(labels.min()), int(labels.max())
    fitting = [
        name
        for name, width in widths.items()
        if low >= 0 and high < max(width, 2) and (k == 1 or width > k) and asked in (None, name)
    ]
    wide = [name for name in fitting if widths[name] > 1]
    chosen = wide or fitting
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise DataError(f"More than one output fits the labels: {', '.join(chosen)}.", hint="Name one with --output.")
    needs = f", and top-{k} more than {k} classes" if k > 1 else ""
    raise DataError(
        f"The labels reach from {low} to {high}; the outputs of one score a class are: {said}{needs}.",
        hint="Labels count from 0 to the number of classes less one. Name the right output with --output.",
    )


def score(task: Task, execution: Execution) -> NDArray[np.float64]:
    """Return the metric's value of every sample [n]. A user's function must run in a child process."""
    if ":" in task.metric:
        return _by_function(task.metric, execution)
    assert execution.labels is not None
    path = next(recorded.path for recorded in execution.outputs if recorded.name == task.output)
    rows = open_rows(path)
    labels = np.asarray(open_rows(execution.labels), np.int64)
    hits = [
        metrics.top_k_hits(np.asarray(rows[piece]).reshape(len(labels[piece]), -1), labels[piece], _TOP[task.metric])
        for piece in pieces(rows)
    ]
    return np.concatenate(hits)


def score_to(task: Task, execution: Execution, out: Path) -> None:
    """Write the values of every sample to an ``.npy``: the job of a child process that runs a user's function."""
    np.save(out, score(task, execution))


def _by_function(name: str, execution: Execution) -> NDArray[np.float64]:
    """Call ``f(outputs, label) -> float`` for each sample.

    ``outputs`` are arrays by the source model's output names, as the model returns one sample (batch axis of 1);
    ``label`` is an ``int``, an array, or None for data without labels.
    """
    function = function_of(name)
    outputs = {recorded.name: open_rows(recorded.path) for recorded in execution.outputs}
    labels = None if execution.labels is None else open_rows(execution.labels)
    values = np.empty(execution.samples, np.float64)
    for index in range(execution.samples):
        label = None if labels is None else _plain(labels[index])
        given = {output: np.array(rows[index]) for output, rows in outputs.items()}
        try:
            values[index] = float(function(given, label))
        except Exception as error:  # whatever a user's function raises is the user's to see
            raise SettingsError(
                f"The metric {name} failed on sample {index}: {type(error).__name__}: {error}.",
                hint="It is called as f(outputs: dict of arrays, label) and returns a number.",
            ) from error
        if not math.isfinite(values[index]):
            raise SettingsError(f"The metric {name} gave {values[index]} on sample {index}, not a finite number.")
    return values


def _plain(label: Any) -> Any:
    return int(label) if np.ndim(label) == 0 and np.asarray(label).dtype.kind in "iub" else np.array(label)


def function_of(name: str) -> Callable[..., Any]:
    """Return the function of the user's that a metric ``package.module:function`` names. Runs the user's code.

    Raises:
        SettingsError: it cannot be imported, or is no function.
    """
    module, _, attribute = name.partition(":")
    sys.path.append(str(Path.cwd()))  # last, so that no file there stands in for a library
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"Cannot load the metric {name!r}: {error}.",
            hint="Give package.module:function; the module is looked for in the current folder and the environment.",
        ) from error
    if not callable(found):
        raise SettingsError(f"The metric {name!r} is not a function.")
    named: Callable[..., Any] = found
    return named
