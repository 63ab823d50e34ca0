"""How far a build's recorded outputs are from the float model's, and what a metric says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.core import isolation
from toolkit.core.artifacts import TensorError
from toolkit.core.errors import ChildFailed, SettingsError
from toolkit.core.metrics import ErrorMeter
from toolkit.core.tools import Tools
from toolkit.stages import scorer
from toolkit.stages.parallel import failure_of
from toolkit.stages.recording import open_rows, pieces
from toolkit.stages.scorer import Task
from toolkit.stages.work import Execution

SCORE_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """What builds are held against: the float model's outputs, the task if any, and its values on it."""

    reference: Execution
    task: Task | None
    float_values: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is known of a build that ran; ``values`` is an ``.npy`` of the metric's value of every sample."""

    errors: tuple[TensorError, ...]
    fault: str
    metric_fault: str
    values: Path | None
    golden: Path | None


def measure_outputs(standard: Standard, execution: Execution, scratch: Path, tools: Tools) -> Result:
    """Measure a build's outputs; a metric that fails on them is told in ``metric_fault``."""
    errors, fault = compare(standard.reference, execution)
    values, metric_fault = None, ""
    if standard.task is not None and not fault:
        try:
            values = score_of(standard.task, execution, scratch / "values.npy", tools)
        except (SettingsError, ChildFailed) as error:  # of the user's function, on this build's outputs
            failure = failure_of(error)
            metric_fault = f"{failure.error} Its whole output: {failure.log}" if failure.log else failure.error
    return Result(errors=errors, fault=fault, metric_fault=metric_fault, values=values, golden=execution.golden)


def score_of(task: Task, execution: Execution, out: Path, tools: Tools) -> Path:
    """Write the metric's value of every sample to an ``.npy``, a user's function in a child process."""
    if ":" in task.metric:
        isolation.isolate(tools, SCORE_S, scorer.score_to, task, execution, out)
    else:
        scorer.score_to(task, execution, out)
    return out


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
