"""What a child process does for a build's accuracy beyond quantizing it: nothing is kept that does not measurably help.

Every step is tried on calibration samples that it did not learn from, against the float artefact of the same target;
what was tried, what it brought and whether it was kept goes into ``build.json``.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery, store
from toolkit.core.artifacts import CareStep, Signature
from toolkit.core.equalization import equalise
from toolkit.core.errors import ChildFailed, DataError, ModelError
from toolkit.core.events import silent
from toolkit.core.ports import Array
from toolkit.core.recipe import Recipe
from toolkit.stages import calibrating, calibrator, statistics, work
from toolkit.stages.calibrating import CHANNEL_AXIS
from toolkit.stages.care_job import NO_DATA, CareJob, bound_samples_of, glanced_at, judged_by, step_of
from toolkit.stages.closeness import Levels, closeness
from toolkit.stages.order import RANGES, target_of
from toolkit.stages.trials import Trial, Workshop, adaptively_rounded, corrected

_COARSE = 8
_LOST_DB, _CLOSE_DB = 1.0, 25.0
"""A build whose weights are not what spoils most is rounded as it is below the one and above the other."""
TRAINED = "the model was trained to be rounded"
PINNED = "the ranges that the model was trained with belong to its weights as they are"
NO_LINK = "no two layers in a row pass factors on"
CARE = "accuracy care"
BIAS_CORRECTION, EQUALISATION, ROUNDING = "bias correction", "equalisation", "adaptive rounding"


def wanted(recipe: Recipe, target: Any) -> bool:
    """Whether a recipe asks for any step that a target has, so that the build depends on the data."""
    tried = (_may_correct, _may_equalise, _may_round)
    return not recipe.is_float and any(may(recipe, target) for may in tried)


def may_do_without(recipe: Recipe, target: Any) -> bool:
    """Whether care is wanted of a recipe but none of its steps is insisted on."""
    settings = (recipe.bias_correction, recipe.adaptive_rounding, recipe.equalize)
    return wanted(recipe, target) and all(setting is not True for setting in settings)


def without(recipe: Recipe) -> Recipe:
    """Return the recipe without any care."""
    return replace(recipe, bias_correction=False, adaptive_rounding=False, equalize=False)


def lost(error: ChildFailed) -> CareStep:
    """Return what stands in a build's record for all steps where the process that took them ended."""
    return CareStep(step=CARE, kept=False, reason=f"{error.message.rstrip('.')}; built without any")


def _may_correct(recipe: Recipe, target: Any) -> bool:
    return recipe.bias_correction is not False and hasattr(target, "correct_biases")


def _may_equalise(recipe: Recipe, target: Any) -> bool:
    """Whether to try it. Weights with a scale a channel have no need of it, so there it wants to be asked for."""
    asked = recipe.equalize is True or (recipe.equalize == "auto" and recipe.granularity == "tensor")
    return asked and hasattr(target, "rewrite")


def _may_round(recipe: Recipe, target: Any) -> bool:
    """Whether to try it, perhaps only once it is seen that the build needs it."""
    return recipe.adaptive_rounding is not False and recipe.scheme == "affine" and hasattr(target, "reweigh")


def _is_due(recipe: Recipe, level_db: float) -> bool:
    """Whether to round otherwise after all that came before brought a build to so many dB of float.

    Beside activations of 8 bits, rounding 8-bit weights of a channel spoils little: there it wants a build that is far
    from float, but not so far that weights can hardly be why, since it takes longer than all other steps.
    """
    coarse = recipe.activation_mode == "static" and recipe.activation_bits == _COARSE <= recipe.weight_bits
    rarely = coarse and recipe.granularity == "channel" and recipe.adaptive_rounding == "auto"
    return not rarely or _LOST_DB < level_db < _CLOSE_DB


def obstacle(recipe: Recipe, target: Any) -> str | None:
    """Say why a target's builds cannot have a step that a recipe insists on; cheap."""
    if recipe.bias_correction is True and not hasattr(target, "correct_biases"):
        return "palmtop cannot change the biases of this target's builds"
    if recipe.adaptive_rounding is True and not hasattr(target, "reweigh"):
        return "palmtop cannot change the integer weights of this target's builds"
    if recipe.equalize is True and not hasattr(target, "rewrite"):
        return "palmtop cannot equalise the layers of this target's models"
    return None


def quantize(job: CareJob) -> work.QuantizedArtefact:
    """Write the build, its biases corrected where the recipe allows and that brings its outputs closer to float.

    Raises:
        ModelError: the toolchain cannot quantize the model, or the recipe insists on a step that cannot be taken.
    """
    made = work.quantize(job.target, job.model, job.recipe, job.ranges, job.out)
    if wanted(job.recipe, target_of(job.target)):
        made = _cared_for(job, made)
    return replace(made, deflated_bytes=store.deflated_size_of(job.out))


def _cared_for(job: CareJob, made: work.QuantizedArtefact) -> work.QuantizedArtefact:
    module, steps, basis = target_of(job.target), [], job.model
    with tempfile.TemporaryDirectory(prefix=".care-", dir=job.out.parent) as folder:
        scratch = Path(folder)
        if _may_equalise(job.recipe, module):
            try:
                _refuse_trained(job, job.recipe.equalize)
                made, basis, step = _equalisation(job, made, scratch)
            except Exception as error:
                step = _without(job, EQUALISATION, job.recipe.equalize, _reason(error))
            steps.append(step)
        steps += _weights_and_biases(job, basis, made.signature, scratch)
    return replace(made, care=tuple(steps))


def words(step: CareStep) -> str:
    """Say in a sentence what became of a step."""
    if step.reason:
        return f"No {step.step}: {step.reason}."
    gain = f"{step.before_db:.1f} to {step.after_db:.1f} dB"
    return f"{step.step.capitalize()} of {step.layers} layers {'kept' if step.kept else 'dropped'}: {gain}."


def _reason(error: Exception) -> str:
    """Return why a step was not taken; what nobody foresaw goes to the log in full."""
    if isinstance(error, (ModelError, DataError)):
        return error.message.rstrip(".")
    traceback.print_exception(error)
    return f"it failed with {type(error).__name__}: {error}".rstrip(".: ")


def _without(job: CareJob, step: str, setting: object, reason: str) -> CareStep:
    """Return a step that could not be tried.

    Raises:
        ModelError: the recipe insists on it.
    """
    if setting is True:
        raise ModelError(
            f"The recipe {job.recipe.name} asks for {step}, but {reason}.",
            hint='Give samples with -d DATA, or let the recipe say "auto" in place of true.',
        )
    return CareStep(step=step, kept=False, reason=reason)


def _refuse_trained(job: CareJob, setting: object) -> None:
    """Leave a model alone that learned to be rounded: closer to its float weights is not better.

    Raises:
        ModelError: it did, and the recipe does not insist.
    """
    if job.trained and setting == "auto":
        raise ModelError(TRAINED)


def _equalisation(
    job: CareJob, plain: work.QuantizedArtefact, scratch: Path
) -> tuple[work.QuantizedArtefact, Path, CareStep]:
    """Build once more from an equalised float artefact; return the better build, what it was made from, and why."""
    module = target_of(job.target)
    if job.trained and job.ranges is not None:
        raise ModelError(PINNED)
    if job.data is None:
        raise ModelError(NO_DATA)
    layers = {layer.name: layer for layer in module.linear_layers(job.model)}
    links = module.links(job.model)
    changed = equalise(layers, links, _largest(module, job, {one.tensor for one in links if math.isfinite(one.cap)}))
    if not changed:
        raise ModelError(NO_LINK)
    basis, out = (scratch / f"{name}{job.out.suffix}" for name in ("equalised", "build"))
    module.rewrite(job.model, changed.values(), basis)
    ranges = _ranges_again(replace(job, model=basis), scratch) if job.ranges is not None else None
    made = work.quantize(job.target, basis, job.recipe, ranges, out)
    before, after = closeness(job, {job.out: plain.signature, out: made.signature})
    kept = job.recipe.equalize is True or after > before
    if kept:
        _take(out, job.out)
    step = step_of(job, EQUALISATION, kept, len(changed), (before, after), judged_by(job))
    return (made, basis, step) if kept else (plain, job.model, step)


def _largest(module: Any, job: CareJob, tensors: set[str]) -> dict[str, Array]:
    """Return the largest value of each channel of some tensors over all samples."""
    found: dict[str, Array] = {}
    axis = getattr(module, "CHANNEL_AXIS", CHANNEL_AXIS)

    def observe(tensor: str, values: Array) -> None:
        if tensor in tensors:
            largest = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).max(axis=1)
            found[tensor] = np.maximum(found.get(tensor, largest), largest)

    if tensors:
        module.tap(job.model, bound_samples_of(job, "all"), observe)
    return found


def _ranges_again(job: CareJob, scratch: Path) -> Path:
    """Calibrate the equalised float artefact as the calibrator does: its tensors have other values."""
    assert job.data is not None, "steps that need data ask first"
    known, out = scratch / "statistics.npz", scratch / "ranges.json"
    calibrating.calibrate(
        calibrating.CalibrationJob(
            target=job.target, model=job.model, artefact=job.artefact, source=job.source, data=job.data, out=known
        ),
        silent,
    )
    method = discovery.load(RANGES, job.recipe.range_method)
    module = target_of(job.target)
    grid, limit = calibrator.grid_of(job.recipe, module), calibrator.limit_of(module)
    chosen = calibrator.ranges_of(method, statistics.load(known), grid, limit)
    store.write_atomic(out, json.dumps({tensor: [held.low, held.high] for tensor, held in chosen.items()}))
    return out


def _weights_and_biases(job: CareJob, basis: Path, build: Signature, scratch: Path) -> list[CareStep]:
    """Try other biases, and other integers with biases to go with them; ``job.out`` becomes the best of the builds.

    Args:
        job: what is being made; its build is there.
        basis: what it was made from, the float artefact or its equalised form.
        build: the signature of the build.
        scratch: a folder.
    """
    module, recipe = target_of(job.target), job.recipe
    wishes = [_Wish(BIAS_CORRECTION, recipe.bias_correction, corrected)] if _may_correct(recipe, module) else []
    correct = bool(wishes) and not (job.trained and recipe.bias_correction == "auto")
    own = replace(job, model=basis)
    workshop = Workshop(own, scratch, correct=correct)
    if _may_round(recipe, module):
        wishes.append(_Wish(ROUNDING, recipe.adaptive_rounding, adaptively_rounded))
    levels, best, steps = Levels(own, build), job.out, []
    for wish in wishes:
        try:
            _refuse_trained(job, wish.setting)
            if wish.step == ROUNDING and not _is_due(recipe, *levels.of(best)):
                continue
            trial = wish.make(workshop)
            before, after = levels.of(best, trial.build)
        except Exception as error:
            steps.append(_without(job, wish.step, wish.setting, _reason(error)))
            continue
        kept = wish.setting is True or after > before
        steps.append(step_of(job, wish.step, kept, trial.layers, (before, after), glanced_at(job)))
        best = trial.build if kept else best
    if best != job.out:
        _take(best, job.out)
    return steps


@dataclass(frozen=True, slots=True)
class _Wish:
    """A step that a recipe has a word on, and what takes it."""

    step: str
    setting: object
    make: Callable[[Workshop], Trial]


def _take(made: Path, place: Path) -> None:
    """Move a build to where another lies; some builds are folders, which nothing replaces in one step."""
    if place.is_dir():
        shutil.rmtree(place)
    made.replace(place)
