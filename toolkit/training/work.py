"""What the child process does: load the model into its framework, train it, and write what came of it."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.core import pins, store
from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError, PalmtopError, SettingsError
from toolkit.core.events import Emit, Event
from toolkit.core.layers import choose
from toolkit.core.ports import Feeds
from toolkit.core.probe import SAME_MODEL, probe_feeds, relative_error
from toolkit.core.recipe import Recipe
from toolkit.stages.order import palmtop_version, source_of
from toolkit.stages.work import room_at
from toolkit.training import checkpoints, goals, loop, material, shrinking
from toolkit.training.loop import Course
from toolkit.training.trainee import Rounding, Trainee, Weight
from toolkit.training.values import Plan, TrainingJob, Tuned

SUFFIXES = {"keras": ".keras", "pytorch": ".pt2"}
"""The formats that can be trained, and what the result is saved as."""
ROWS = ".rows"


def train(job: TrainingJob, emit: Emit) -> Tuned:
    """Train a model and write it, its weights and its ranges to ``job.out``, or go on where a run before stopped.

    Raises:
        ModelError: the model cannot be trained, or the loss diverged.
        DataError: the data does not fit.
        SettingsError: a pattern of the recipe matches no layer, or the recipe keeps all of them in float.
    """
    emit(Event(subject="tune", phase="load"))
    trainee = _checked_trainee(job)
    _check_weights(job, trainee)
    with room_at(job.out), _rows(job.out) as rows:
        course, tuned = _course(job, trainee, rows, emit)
        before = trainee.weights()
        tuned = loop.run(course, tuned)
        after = trainee.weights()
        tuned = dataclasses.replace(
            tuned,
            finished=True,
            weights=shrinking.weight_bytes(before, after, course.rounding),
            left_alone=_left_alone(job.plan, after, course.rounding),
        )
        return _written(job, trainee, tuned)


def _checked_trainee(job: TrainingJob) -> Trainee:
    try:
        trainee = _trainee(job)
        _check_same(job, trainee)
    except (PalmtopError, MemoryError):
        raise
    except Exception as error:  # whatever a layer raises when it is run in a way that it was not written for
        raise ModelError(
            f"The model cannot be trained: {type(error).__name__}: {' '.join(str(error).split())[:300]}.",
            hint="It holds something that palmtop's training cannot run; please report it with the model's layers.",
        ) from error
    return trainee


def _check_weights(job: TrainingJob, trainee: Trainee) -> None:
    weights = trainee.weights()
    if not weights:
        raise ModelError(
            f"{job.source} has no layer whose weights are rounded, so there is nothing to train.",
            hint="Build it with `palmtop quantize`: what is rounded of it, such as activations, has no weights.",
        )
    floats = rounding_of(job.plan.recipe, trainee).floats
    if all(weight.layer in floats for weight in weights.values()):
        raise SettingsError(
            f"The recipe {job.plan.recipe.name} keeps every layer of {job.source} that has weights in float.",
            hint="Choose one that rounds some: training makes up for that alone.",
        )


def _trainee(job: TrainingJob) -> Trainee:
    loaded: Any = source_of(job.format).load(job.model, job.shapes)
    if job.format == "pytorch":
        from toolkit.training.torch_net import TorchNet

        return TorchNet(loaded, job.signature, job.plan.seed)
    from toolkit.training.keras_net import KerasNet

    return KerasNet(loaded, job.signature, job.plan.seed)


@contextmanager
def _rows(out: Path) -> Iterator[Path]:
    folder = out / ROWS
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _course(job: TrainingJob, trainee: Trainee, rows: Path, emit: Emit) -> tuple[Course, Tuned]:
    plan = job.plan
    batch = trainee.batch or plan.batch

    def run(feeds: Feeds) -> dict[str, Any]:
        return trainee.run(feeds, None)

    whole = material.lay_out(job.data, job.signature, rows / "train", emit)
    whole = material.with_outputs(whole, run, batch, rows / "train", emit)
    train, held_out, note = material.split(whole) if job.val is None else (whole, whole, "")
    if job.val is not None:
        held_out = material.lay_out(job.val, job.signature, rows / "val", emit)
        held_out = material.with_outputs(held_out, run, batch, rows / "val", emit)
    aim = goals.aim(plan, train, job.signature)
    if aim.metric == "top1" and held_out.labels is None:
        aim = dataclasses.replace(aim, metric="agreement") if not aim.by_labels else aim
    rounding = rounding_of(plan.recipe, trainee)
    trainee.arrange(rounding, aim.goals, learned=plan.ranges == "learned")
    course = Course(trainee=trainee, plan=plan, rounding=rounding, aim=aim, train=train, held_out=held_out,
                    folder=job.out, emit=emit)  # fmt: skip
    known = checkpoints.read(job.out)
    if known is None:
        known = Tuned(palmtop=palmtop_version(), key=job.key, source=job.source, source_sha256=job.source_sha256,
                      format=job.format, finished=False)  # fmt: skip
    return course, dataclasses.replace(
        known,
        plan=plan,
        note=note,
        finished=False,
        train_samples=len(train),
        held_out_samples=len(held_out),
        metric=aim.metric,
        float_score=loop.score(course, None)[1],
    )


def rounding_of(recipe: Recipe, trainee: Trainee) -> Rounding:
    """Resolve a recipe on the layers of a network.

    Raises:
        SettingsError: a pattern matches none of its layers.
    """
    choice = choose(recipe, trainee.layers, "source")
    affine = recipe.scheme == "affine"
    return Rounding(
        weight_bits=recipe.weight_bits if affine else 32,
        activation_bits=recipe.activation_bits if recipe.activation_mode == "static" else 32,
        per_channel=recipe.granularity == "channel",
        floats=frozenset(choice.floats),
        weight_overrides={name: over.weight_bits for name, over in choice.overrides.items() if over.weight_bits},
        entries=0 if affine else 2**recipe.weight_bits,
    )


def _check_same(job: TrainingJob, trainee: Trainee) -> None:
    """Hold a float pass of the trainee against the model as its own framework runs it."""
    session = source_of(job.format).open_session(job.model, job.shapes)
    feeds = probe_feeds(session.signature)
    expected = session.run(feeds)
    session.close()
    output, error = relative_error(expected, trainee.run(feeds, None))
    if not error <= SAME_MODEL or math.isnan(error):
        raise ModelError(
            f"palmtop's training form of the model computes something else: its output {output!r} is {error:.2g} off.",
            hint="It may hold a layer that palmtop's training does not know; please report it.",
        )


def _left_alone(plan: Plan, weights: dict[str, Weight], rounding: Rounding) -> dict[str, str]:
    if not plan.sparsity:
        return {}
    found = {name: shrinking.prunable(weight) for name, weight in weights.items()}
    found |= {name: "the recipe keeps it" for name, weight in weights.items() if weight.layer in rounding.floats}
    return {name: why for name, why in found.items() if why}


def _written(job: TrainingJob, trainee: Trainee, tuned: Tuned) -> Tuned:
    path = job.out / f"{job.name}{SUFFIXES[job.format]}"
    ranges = pins.beside(path)
    feeds = probe_feeds(job.signature)
    expected = trainee.run(feeds, None)
    if job.plan.rounds_activations:
        low, high = trainee.ranges()
        values = trainee.trace(feeds)
        pins.write(
            ranges,
            [
                pins.Pin(
                    site=site,
                    low=float(low[place]),
                    high=float(high[place]),
                    fingerprint=pins.fingerprint(values[site]),
                )
                for place, site in enumerate(trainee.sites)
                if trainee.is_rounded(site)
            ],
        )
    beside = trainee.save(path)
    _check_saved(job, path, expected)
    return dataclasses.replace(
        tuned,
        model=path.name,
        sha256=store.sha256_of(path),
        state=beside[0].name if beside else "",
        ranges=ranges.name if job.plan.rounds_activations else "",
    )


def _check_saved(job: TrainingJob, path: Path, expected: Feeds) -> None:
    session = source_of(job.format).open_session(path, _sizes(job.signature))
    output, error = relative_error(expected, session.run(probe_feeds(session.signature)))
    session.close()
    if not error <= SAME_MODEL:
        raise ModelError(f"The saved model computes something else: {output!r} is {error:.2g} off.",
                         hint="Please report it with the model.")  # fmt: skip


def _sizes(signature: Signature) -> dict[str, tuple[int, ...]]:
    return {spec.name: spec.shape for spec in signature.inputs}
