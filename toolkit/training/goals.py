"""What outputs are held against, and how well they do: numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature
from toolkit.core.errors import DataError
from toolkit.core.ports import Array, Feeds
from toolkit.training.material import Indices, Part
from toolkit.training.trainee import Goal
from toolkit.training.values import Plan

_LOOK = 256
"""Samples after which it is clear whether an output is a distribution, and how much it varies."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The goals of a training. ``scored`` is the output whose largest entry is the class; empty where none is."""

    goals: tuple[Goal, ...]
    by_labels: bool
    scored: str
    metric: str

    def targets(self, part: Part, places: Indices) -> dict[str, Array]:
        """Return what each goal's output should be for some samples, in float32."""
        teacher = part.teacher(places)
        if not self.by_labels:
            return {goal.output: np.asarray(teacher[goal.output], np.float32) for goal in self.goals}
        (goal,) = self.goals
        labels = part.labels_at(places)
        if goal.kind == "values":
            return {goal.output: np.asarray(labels, np.float32).reshape(teacher[goal.output].shape)}
        return {goal.output: np.eye(teacher[goal.output].shape[-1], dtype=np.float32)[labels]}

    def loss(self, outputs: Feeds, targets: Feeds) -> float:
        """Return the loss of some samples, as the frameworks compute it."""
        return float(np.mean([_loss(goal, outputs[goal.output], targets[goal.output]) for goal in self.goals]))

    def hits(self, outputs: Feeds, part: Part, places: Indices) -> Array:
        """Return for each sample whether the class is the label, or without labels the float model's class."""
        wanted = part.labels_at(places) if self.metric == "top1" else part.teacher(places)[self.scored].argmax(-1)
        return np.asarray(outputs[self.scored].argmax(-1) == wanted)


def aim(plan: Plan, part: Part, signature: Signature) -> Aim:
    """Choose the goals from the plan, the labels and a look at the float model's outputs.

    Raises:
        DataError: there are no labels, they fit no output or more than one, or no output can be trained on.
    """
    look = np.arange(min(len(part), _LOOK))
    outputs = {spec.name: part.teacher(look)[spec.name] for spec in signature.outputs}
    floats = {name: values for name, values in outputs.items() if values.dtype.kind == "f"}
    for name, values in floats.items():
        if not np.isfinite(values).all():
            raise DataError(
                f"The float model's output {name!r} is not finite on the training data.",
                hint="Is the preprocessing the one the model was trained with?",
            )
    classes = part.labels is not None and part.labels.ndim == 1 and part.labels.dtype.kind in "iub"
    if plan.teacher == "labels":
        return _labelled(plan, part, floats, classes=classes)
    if not floats:
        raise DataError("The model has no output of floats, so there is nothing to learn from it.")
    goals = tuple(_goal(name, values) for name, values in floats.items())
    scored = [name for name, values in floats.items() if values.ndim == 2 and values.shape[1] > 1]
    if len(scored) != 1 or plan.output not in (None, scored[0]):
        return Aim(goals, by_labels=False, scored="", metric="")
    if classes and part.labels is not None:
        classes = _are_classes(part.labels, floats[scored[0]].shape[1])
    return Aim(goals, by_labels=False, scored=scored[0], metric="top1" if classes else "agreement")


def _labelled(plan: Plan, part: Part, floats: Mapping[str, Array], *, classes: bool) -> Aim:
    if part.labels is None:
        raise DataError(
            "--labels trains on labels, and the data has none.",
            hint="Leave it out: the outputs of the float model serve as well (--distill).",
        )
    shape = part.labels.shape[1:]
    fitting = [
        name
        for name, values in floats.items()
        if plan.output in (None, name)
        and (values.ndim == 2 and values.shape[1] > 1 if classes else values.shape[1:] == shape)
    ]
    said = ", ".join(f"{name} {list(values.shape[1:])}" for name, values in floats.items())
    if len(fitting) != 1:
        what = "class numbers" if classes else f"of shape {list(shape)}"
        raise DataError(
            f"The labels are {what}, which fits {len(fitting)} of the model's outputs: {said}.",
            hint="Name the output with --output."
            if fitting
            else "Or leave --labels out and learn from the float model.",
        )
    (name,) = fitting
    if not classes:
        return Aim((_values(name, floats[name]),), by_labels=True, scored="", metric="")
    count = floats[name].shape[1]
    if not _are_classes(part.labels, count):
        reach = f"from {part.labels.min()} to {part.labels.max()}"
        raise DataError(
            f"The labels reach {reach}, and the output {name!r} has {count} classes.",
            hint="Labels count from 0.",
        )
    kind = "shares" if _is_distribution(floats[name]) else "scores"
    return Aim((Goal(output=name, kind=kind),), by_labels=True, scored=name, metric="top1")


def _are_classes(labels: Array, count: int) -> bool:
    return int(labels.min()) >= 0 and int(labels.max()) < count


def _goal(name: str, values: Array) -> Goal:
    return Goal(output=name, kind="shares") if _is_distribution(values) else _values(name, values)


def _values(name: str, values: Array) -> Goal:
    return Goal(output=name, kind="values", scale=max(float(np.var(values, dtype=np.float64)), 1e-12))


def _is_distribution(values: Array) -> bool:
    whole = values.ndim >= 2 and values.shape[-1] > 1 and values.min() >= 0
    return bool(whole and np.abs(values.sum(-1) - 1).max() < 1e-3)


def _loss(goal: Goal, output: Array, target: Array) -> float:
    wide: Any = np.asarray(output, np.float64)
    if goal.kind == "values":
        return float(np.mean((wide - target) ** 2)) / goal.scale
    if goal.kind == "scores":
        highest = wide.max(-1, keepdims=True)
        shares = wide - highest - np.log(np.exp(wide - highest).sum(-1, keepdims=True))
    else:
        shares = np.log(np.maximum(wide, 1e-7))
    return -float(np.mean((target * shares).sum(-1)))


def worst(values: Sequence[float]) -> float:
    """Return the largest loss; a number that is none counts as the largest."""
    return float("nan") if any(np.isnan(value) for value in values) else max(values)
