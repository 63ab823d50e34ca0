"""The training loop, whatever the framework: epochs, learning rate, ranges, pruning, the best epoch, checkpoints."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.core.events import Emit, Event
from toolkit.core.ports import Array
from toolkit.training import checkpoints, shrinking
from toolkit.training.goals import Aim, worst
from toolkit.training.material import Indices, Part
from toolkit.training.trainee import Rounding, Trainee, Weight
from toolkit.training.values import EpochEntry, Plan, Tuned

SURVEYED = 512
"""Training samples that activation ranges are measured on."""
_SAID = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A training on its way: the network, its samples, its goals and where checkpoints go."""

    trainee: Trainee
    plan: Plan
    rounding: Rounding
    aim: Aim
    train: Part
    held_out: Part
    folder: Path
    emit: Emit

    @property
    def batch(self) -> int:
        """Samples a step: as the plan says, or what the model takes."""
        return self.trainee.batch or min(self.plan.batch, len(self.train))


def run(course: Course, tuned: Tuned) -> Tuned:
    """Train from where ``tuned`` says, to the end, and leave the trainee in the state of the best epoch.

    Raises:
        ModelError: the loss became infinite or not a number; the last good checkpoint stays.
        OutputError: a checkpoint cannot be written.
    """
    plan = course.plan
    if not tuned.history:
        _begin(course)
        tuned = _noted(course, tuned, _measured(course, 0, 0.0, None))
    else:
        last = tuned.history[-1].epoch
        course.trainee.restore(checkpoints.load(course.folder, last))
        course.emit(
            Event(subject=f"epoch {last}", phase="noted", message="was done before: training goes on from there")
        )
    for epoch in range(tuned.history[-1].epoch + 1, plan.epochs + 1):
        if _is_stuck(tuned, plan):
            break
        _prepare(course, epoch)
        loss = _epoch(course, epoch)
        tuned = _noted(course, tuned, _measured(course, epoch, _rate(plan, epoch / plan.epochs), loss))
    course.trainee.restore(checkpoints.load(course.folder, tuned.best_epoch))
    return tuned


def score(course: Course, symmetric: bool | None) -> tuple[float, float | None]:
    """Return loss and score of held-back samples, ``symmetric`` the grid of activations or None for a float pass."""
    losses: list[float] = []
    hits: list[Array] = []
    for places in course.held_out.batches(course.batch):
        real = min(len(places), len(course.held_out) - int(places[0]))
        outputs = course.trainee.run(course.held_out.feeds(places), symmetric)
        kept = {name: values[:real] for name, values in outputs.items()}
        losses.append(course.aim.loss(kept, course.aim.targets(course.held_out, places[:real])) * real)
        if course.aim.metric:
            hits.append(course.aim.hits(kept, course.held_out, places[:real]))
    mean = float(np.concatenate(hits).mean()) if hits else None
    return sum(losses) / len(course.held_out), mean


def _begin(course: Course) -> None:
    if course.plan.clusters and not course.plan.sparsity:
        _cluster(course)
    _survey(course)


def _prepare(course: Course, epoch: int) -> None:
    """Do what stands at the start of an epoch: prune further, cluster once all is pruned, measure ranges anew."""
    plan, trainee = course.plan, course.trainee
    if plan.sparsity and epoch <= plan.ramp:
        wanted = shrinking.sparsity_at(epoch, plan.ramp, plan.sparsity)
        trainee.prune(shrinking.masks(_in_question(course), wanted))
    if plan.clusters and plan.sparsity and epoch == plan.ramp + 1:
        _cluster(course)
    if 1 < epoch <= plan.warm_up:
        _survey(course)


def _in_question(course: Course) -> dict[str, Weight]:
    """Return the weights of layers that the recipe does not keep in float."""
    floats = course.rounding.floats
    return {name: weight for name, weight in course.trainee.weights().items() if weight.layer not in floats}


def _cluster(course: Course) -> None:
    entries = course.plan.clusters
    chosen = {name: weight for name, weight in _in_question(course).items() if weight.values.size > entries}
    pruned = course.plan.sparsity > 0
    course.trainee.cluster(
        {name: shrinking.table_of(weight.values, entries, pruned=pruned) for name, weight in chosen.items()}
    )


def _survey(course: Course) -> None:
    if not (course.plan.rounds_activations and course.trainee.sites):
        return
    part, lows, highs = course.train, [], []
    count = min(len(part), SURVEYED)
    spread = np.linspace(0, len(part) - 1, count).astype(np.int64)
    for start in range(0, count, course.batch):
        places = spread[np.arange(start, start + course.batch) % count]
        low, high = course.trainee.survey(part.feeds(places), rounded=True)
        lows.append(low)
        highs.append(high)
    course.trainee.set_ranges(np.min(lows, axis=0), np.max(highs, axis=0))


def _epoch(course: Course, epoch: int) -> float:
    plan, size = course.plan, course.batch
    order: Indices = np.random.default_rng([plan.seed, epoch]).permutation(len(course.train))
    steps = max(1, len(order) // size)
    losses = []
    for step in range(steps):
        places = order[np.arange(step * size, (step + 1) * size) % len(order)]
        rate = _rate(plan, (epoch - 1 + step / steps) / plan.epochs)
        symmetric = plan.symmetric[(step + epoch) % len(plan.symmetric)]
        targets = course.aim.targets(course.train, places)
        loss = course.trainee.step(course.train.feeds(places), targets, rate, symmetric=symmetric)
        if not math.isfinite(loss):
            raise _diverged(course, epoch, step, loss)
        losses.append(loss)
        if step % max(1, steps // _SAID) == 0:
            said = f"loss {np.mean(losses):.4g}" if step else ""
            phase = f"epoch {epoch} of {plan.epochs}"
            course.emit(Event(subject="tune", phase=phase, message=said, done=step, total=steps))
    return float(np.mean(losses))


def _rate(plan: Plan, progress: float) -> float:
    """Return the learning rate: half a cosine from the plan's down to nothing (arXiv:1608.03983)."""
    return plan.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _diverged(course: Course, epoch: int, step: int, loss: float) -> ModelError:
    return ModelError(
        f"The loss became {loss} in epoch {epoch}, step {step + 1}.",
        hint=f"{course.folder} keeps the state after epoch {epoch - 1}. Run the same command with --resume and a lower "
        f"learning rate, such as --lr {course.plan.rate / 10:.2g}; it was {course.plan.rate:g}.",
    )


def _measured(course: Course, epoch: int, rate: float, loss: float | None) -> EpochEntry:
    """Measure the simulated build on each grid of the targets; the worst counts."""
    found = [score(course, symmetric) for symmetric in dict.fromkeys(course.plan.symmetric)]
    held_out = worst([one[0] for one in found])
    if epoch and not math.isfinite(held_out):
        raise _diverged(course, epoch, 0, held_out)
    scores = [one[1] for one in found if one[1] is not None]
    return EpochEntry(
        epoch=epoch,
        rate=rate,
        loss=loss,
        held_out_loss=held_out,
        score=min(scores) if scores else None,
        sparsity=shrinking.zero_share(_in_question(course)) if course.plan.sparsity else 0.0,
    )


def _noted(course: Course, tuned: Tuned, entry: EpochEntry) -> Tuned:
    history = (*tuned.history, entry)
    best = min(_eligible(history, course.plan), key=lambda one: one.held_out_loss)
    tuned = dataclasses.replace(tuned, history=history, best_epoch=best.epoch)
    checkpoints.write(course.folder, entry.epoch, course.trainee.state(), tuned)
    course.emit(Event(subject=f"epoch {entry.epoch}", phase="noted", message=_said_of(entry, course.aim.metric)))
    return tuned


def _said_of(entry: EpochEntry, metric: str) -> str:
    words = [] if entry.loss is None else [f"loss {entry.loss:.4g}"]
    words.append(f"held-out loss {entry.held_out_loss:.4g}")
    if entry.score is not None:
        words.append(f"{metric} {entry.score:.4f}")
    return ", ".join(words) + (" (the model as it came, rounded)" if entry.epoch == 0 else "")


def _eligible(history: tuple[EpochEntry, ...], plan: Plan) -> tuple[EpochEntry, ...]:
    """Return the epochs that are as sparse and clustered as was asked; before there are any, the last one."""
    first = plan.ramp + (1 if plan.clusters else 0) if plan.sparsity else 0
    return tuple(entry for entry in history if entry.epoch >= first) or history[-1:]


def _is_stuck(tuned: Tuned, plan: Plan) -> bool:
    first = _eligible(tuned.history, plan)[0].epoch
    return tuned.history[-1].epoch - max(first, tuned.best_epoch, plan.warm_up) >= plan.patience
