"""What a child process does for a build's accuracy beyond quantizing it: nothing is kept that does not measurably help.

Every step is tried in the runtime that ships, on the first samples of the calibration data, against the float artefact
of the same target; what was tried, what it brought and whether it was kept goes into ``build.json``.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery, signature, store
from toolkit.core.artifacts import CareStep, DataRef, Signature, TensorSpec
from toolkit.core.equalization import equalise
from toolkit.core.errors import DataError, ModelError
from toolkit.core.events import silent
from toolkit.core.linear import LinearLayer, mean_shift, mean_taps
from toolkit.core.metrics import ErrorMeter
from toolkit.core.ports import Array, Feeds
from toolkit.core.recipe import Recipe
from toolkit.stages import calibrating, calibrator, statistics, work
from toolkit.stages.calibrating import CHANNEL_AXIS
from toolkit.stages.order import RANGES, target_of

SAMPLES = 32
"""How many samples a step is learned from and judged by, at most."""
BEST_DB = 120.0
"""Outputs that agree better than this count as this much, so that one exact output does not outweigh the others."""
NO_DATA = "there is no calibration data to learn it from"
TRAINED = "the model was trained to be rounded"
PINNED = "the ranges that the model was trained with belong to its weights as they are"
NO_LINK = "no two layers in a row pass factors on"
BIAS_CORRECTION, EQUALISATION = "bias correction", "equalisation"
NO_LAYER = "no layer has an integer weight and a bias that could take it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CareJob:
    """Quantize ``model``, a float artefact of ``target``, by ``recipe`` to ``out``, and take care of its accuracy.

    ``artefact`` and ``source`` are the float artefact's and the source model's signatures. ``data`` is None where the
    user gave none; ``trained`` says that the model was trained with the rounding in mind and brought its ranges along.
    """

    target: str
    model: Path
    artefact: Signature
    source: Signature
    recipe: Recipe
    ranges: Path | None
    data: DataRef | None
    out: Path
    trained: bool = False


def wanted(recipe: Recipe, target: Any) -> bool:
    """Whether a recipe asks for any step that a target has, so that the build depends on the data."""
    return not recipe.is_float and (_may_correct(recipe, target) or _may_equalise(recipe, target))


def _may_correct(recipe: Recipe, target: Any) -> bool:
    return recipe.bias_correction is not False and hasattr(target, "correct_biases")


def _may_equalise(recipe: Recipe, target: Any) -> bool:
    """Whether to try it. Weights with a scale a channel have no need of it, so there it wants to be asked for."""
    asked = recipe.equalize is True or (recipe.equalize == "auto" and recipe.granularity == "tensor")
    return asked and hasattr(target, "rewrite")


def obstacle(recipe: Recipe, target: Any) -> str | None:
    """Say why a target's builds cannot have a step that a recipe insists on; cheap."""
    if recipe.bias_correction is True and not hasattr(target, "correct_biases"):
        return "palmtop cannot change the biases of this target's builds"
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
            except (ModelError, DataError) as error:  # such as activations inside a loop, which cannot be seen
                step = _without(job, EQUALISATION, job.recipe.equalize, error.message.rstrip("."))
            steps.append(step)
        if _may_correct(job.recipe, module):
            try:
                _refuse_trained(job, job.recipe.bias_correction)
                step = _bias_correction(job, basis, made.signature, scratch)
            except (ModelError, DataError) as error:
                step = _without(job, BIAS_CORRECTION, job.recipe.bias_correction, error.message.rstrip("."))
            steps.append(step)
    return replace(made, care=tuple(steps))


def words(step: CareStep) -> str:
    """Say in a sentence what became of a step."""
    if step.reason:
        return f"No {step.step}: {step.reason}."
    gain = f"{step.before_db:.1f} to {step.after_db:.1f} dB"
    return f"{step.step.capitalize()} of {step.layers} layers {'kept' if step.kept else 'dropped'}: {gain}."


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
    samples = min(SAMPLES, job.data.count)
    step = CareStep(
        step=EQUALISATION, kept=kept, layers=len(changed), samples=samples, before_db=before, after_db=after
    )
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
        module.tap(job.model, _bound_feeds(job, everything=True), observe)
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
    grid = calibrator.grid_of(job.recipe, target_of(job.target))
    chosen = calibrator.ranges_of(method, statistics.load(known), grid)
    store.write_atomic(out, json.dumps({tensor: [held.low, held.high] for tensor, held in chosen.items()}))
    return out


def _bias_correction(job: CareJob, basis: Path, build: Signature, scratch: Path) -> CareStep:
    """Correct the biases of a build that was made from ``basis``, the float artefact or its equalised form."""
    module = target_of(job.target)
    if job.data is None:
        raise ModelError(NO_DATA)
    shifts = _shifts(module, replace(job, model=basis))
    if not shifts:
        raise ModelError(NO_LAYER)
    corrected = scratch / f"corrected{job.out.suffix}"
    module.correct_biases(job.out, shifts, corrected)
    before, after = closeness(job, {job.out: build, corrected: build})
    kept = job.recipe.bias_correction is True or after > before
    if kept:
        _take(corrected, job.out)
    samples = min(SAMPLES, job.data.count)
    return CareStep(
        step=BIAS_CORRECTION, kept=kept, layers=len(shifts), samples=samples, before_db=before, after_db=after
    )


def _take(made: Path, place: Path) -> None:
    """Move a build to where another lies; some builds are folders, which nothing replaces in one step."""
    if place.is_dir():
        shutil.rmtree(place)
    made.replace(place)


def _shifts(module: Any, job: CareJob) -> dict[str, Array]:
    """Return what to add to each bias; layers whose weights the build holds as they were need nothing."""
    floats = {layer.name: layer for layer in module.linear_layers(job.model)}
    pairs = [(floats[layer.name], layer) for layer in module.linear_layers(job.out) if layer.name in floats]
    changed = [pair for pair in pairs if _is_rounded(*pair)]
    taps = _mean_taps(module, job, [layer for layer, _ in changed]) if changed else {}
    return {layer.name: mean_shift(layer, made, taps[layer.name]) for layer, made in changed if layer.name in taps}


def _is_rounded(layer: LinearLayer, made: LinearLayer) -> bool:
    same = made.weight.shape == layer.weight.shape
    return made.bias is not None and same and not np.array_equal(made.weight, layer.weight)


def _mean_taps(module: Any, job: CareJob, layers: list[LinearLayer]) -> dict[str, Array]:
    """Run the float artefact over some samples; of each only the means are kept."""
    readers: dict[str, list[LinearLayer]] = {}
    for layer in layers:
        readers.setdefault(layer.source, []).append(layer)
    sums: dict[str, Array] = {}
    count = 0

    def observe(tensor: str, values: Array) -> None:
        for layer in readers.get(tensor, ()):
            sums[layer.name] = sums.get(layer.name, 0.0) + mean_taps(layer, values)

    def samples() -> Iterator[Feeds]:
        nonlocal count
        for feeds in _bound_feeds(job):
            yield feeds
            count += 1

    module.tap(job.model, samples(), observe)
    return {name: total / count for name, total in sums.items() if np.isfinite(total).all()}


def _bound_feeds(job: CareJob, *, everything: bool = False) -> Iterator[Feeds]:
    """Yield samples as the float artefact takes them."""
    for feeds in _feeds(job, everything=everything):
        yield signature.bind(feeds, job.artefact)


def _feeds(job: CareJob, *, everything: bool = False) -> Iterator[Feeds]:
    assert job.data is not None, "steps that need data ask first"
    left = job.data.count if everything else SAMPLES
    for batch in work.batches_of(job.data, job.source):
        yield batch.feeds
        left -= len(batch.samples)
        if left <= 0:
            return


def closeness(job: CareJob, builds: Mapping[Path, Signature]) -> tuple[float, ...]:
    """Return how close each build comes to the float artefact: the mean SQNR of its outputs in dB, some samples long.

    All run side by side in the runtime that ships, so that memory is that of one sample.
    """
    module = target_of(job.target)
    meters: dict[Path, dict[str, ErrorMeter]] = {path: {} for path in builds}
    with ExitStack() as stack:
        sessions = {path: stack.enter_context(closing(module.open_session(path, 0))) for path in (job.model, *builds)}
        for feeds in _feeds(job):
            wanted_outputs = _answers(sessions[job.model], feeds, job.artefact)
            for path, made in builds.items():
                found = _answers(sessions[path], feeds, bound(made, job.artefact))
                for name, values in wanted_outputs.items():
                    usable = np.isfinite(values)
                    meter = meters[path].setdefault(name, ErrorMeter(output=name))
                    meter.add(values[usable][None], np.asarray(found[name])[usable][None])
    return tuple(_mean_db(list(found.values())) for found in meters.values())


def _answers(session: Any, feeds: Feeds, own: Signature) -> dict[str, Array]:
    return signature.unbind(session.run(signature.bind(feeds, own)), own)


def _mean_db(meters: list[ErrorMeter]) -> float:
    found = [meter.result().sqnr_db for meter in meters]
    return math.fsum(max(-BEST_DB, min(BEST_DB, one)) for one in found) / max(1, len(found))


def bound(made: Signature, base: Signature) -> Signature:
    """Carry over from the float model which tensor of the source each tensor stands for, and in what axis order.

    Raises:
        ModelError: the quantizer added or dropped inputs or outputs.
    """
    return Signature(
        inputs=_bound(made.inputs, base.inputs, "inputs"), outputs=_bound(made.outputs, base.outputs, "outputs")
    )


def _bound(made: tuple[TensorSpec, ...], base: tuple[TensorSpec, ...], what: str) -> tuple[TensorSpec, ...]:
    if len(made) != len(base):
        raise ModelError(f"Quantization turned {len(base)} {what} into {len(made)}.")
    by_name = {spec.name: spec for spec in base}
    same = by_name.keys() == {spec.name for spec in made}
    pairs = [(spec, by_name[spec.name] if same else base[place]) for place, spec in enumerate(made)]
    return tuple(
        replace(spec, source_name=origin.source_name or origin.name, perm=origin.perm) for spec, origin in pairs
    )
