"""From a request to a tuned model: look at everything first, then train in a child process, folder by folder."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from toolkit.core import codec, discovery, isolation, pins, preprocess, store
from toolkit.core.artifacts import DataRef, SourceModel
from toolkit.core.errors import DataError, FolderTaken, ModelError, OutputError, SettingsError
from toolkit.core.events import Event
from toolkit.core.recipe import Recipe, load_recipe
from toolkit.core.tools import Tools
from toolkit.stages import data, importer
from toolkit.stages.order import TARGETS, made_by, palmtop_version, source_of, target_of
from toolkit.training import checkpoints, elsewhere, work
from toolkit.training.values import FILE, Plan, TrainingJob, Tuned, TuneRequest

TRAIN_S = 14 * 24 * 3600
"""Deadline in seconds: a guard against a hang; an epoch's checkpoint is what an interruption costs."""
CONVERT_S = 3600
_MOST_CLUSTERS = 256


def tune(request: TuneRequest, tools: Tools) -> Tuned:
    """Train a model for a recipe and write it to ``request.out``, or go on where that folder stopped.

    Raises:
        ModelError: the model cannot be trained, or the loss diverged.
        DataError: the data cannot be used.
        SettingsError: a setting is not valid or contradicts another.
        OutputError: the output folder holds something else or cannot be written.
    """
    preprocess.check(request.preprocess)
    plan = plan_of(request)
    tools.emit(Event(subject="tune", phase="import"))
    source = _source(request, tools)
    if isinstance(source, str):
        return _converted(request, source, tools)
    if request.data is None:
        raise DataError("There is no data to train on.", hint="Give samples with -d DATA; labels are not needed.")
    if source.format not in work.SUFFIXES:
        raise ModelError(
            f"palmtop trains Keras and PyTorch models, and {request.model} is a {source.format} model.",
            hint="Tune the model it was exported from: a .keras, a .pt2, or MODULE:FUNCTION.",
        )
    train = _data(request.data, request.samples, source, request, tools)
    val = _data(request.val, None, source, request, tools) if request.val is not None else None
    key = _key(source, train, val, plan, tools)
    found = _known(request, plan, key)
    if found is not None and found.finished:
        return found
    if found is not None and found.plan is not None:
        plan = plan.going_on_from(found.plan)
    return _trained(request, _job(request, source, (train, val), plan, key), tools)


def _source(request: TuneRequest, tools: Tools) -> SourceModel | str:
    """Read the model, or say which kind of quantization it was trained with elsewhere."""
    kind = elsewhere.recognise(request.model)
    if kind is not None:
        return kind
    try:
        return importer.read_source(request.model, request.shapes, tools)
    except ModelError:
        is_code = not request.model.exists() and importer.is_there(request.model)
        if is_code and isolation.isolate(tools, importer.READ_S, elsewhere.is_prepared, request.model.absolute()):
            return elsewhere.PREPARED
        raise


def _converted(request: TuneRequest, kind: str, tools: Tools) -> Tuned:
    """Turn a model that was trained with quantization elsewhere into a float one that keeps its ranges."""
    out, source = request.out, request.model
    sha256 = store.sha256_of(source) if source.is_file() else ""
    inputs = {"model": sha256 or str(source), "kind": kind, "shapes": request.shapes, "code": _own_code()}
    key = tools.store.key("convert-trained/1", inputs)
    found = checkpoints.read(out) if out.is_dir() else None
    if found is not None and sha256 and found.key == key and _is_intact(out, found):
        return found
    tools.emit(Event(subject="tune", phase="convert", message=elsewhere.TOOLS[kind]))
    with store.staged_folder(out) as stage:
        model = stage / f"{importer.name_of(source)}{elsewhere.SUFFIXES[kind]}"
        made = isolation.isolate(
            tools, CONVERT_S, elsewhere.convert, kind, source.absolute(), request.shapes, model.absolute()
        )
        kept = f"Trained elsewhere with {elsewhere.TOOLS[kind]}: converted, {made.ranges} activation ranges kept."
        unused = (
            "" if request.data is None else "It was not trained further: give the result to `palmtop tune` for that."
        )
        tuned = Tuned(
            palmtop=palmtop_version(),
            key=key,
            source=str(source),
            source_sha256=sha256,
            format=kind,
            finished=True,
            note=" ".join(filter(None, (kept, *made.notes, unused))),
            model=model.name,
            sha256=store.sha256_of(model),
            ranges=pins.beside(model).name,
        )
        store.write_atomic(stage / FILE, codec.pretty(tuned))
    tools.emit(Event(subject="tune", phase="done", message=tuned.model))
    return tuned


def _own_code() -> list[str]:
    """Return the hashes of this room's modules: an epoch of other code is no epoch of this training."""
    return [store.sha256_of(file) for file in sorted(Path(__file__).parent.rglob("*.py"))]


def plan_of(request: TuneRequest) -> Plan:
    """Check the numbers of a request and turn them into a plan.

    Raises:
        SettingsError: a number is out of bounds, a name unknown, or there is nothing to train for.
    """
    recipe = load_recipe(request.recipe)
    clusters = request.clusters
    if recipe.scheme == "lut":
        if clusters not in (0, 2**recipe.weight_bits):
            raise SettingsError(
                f"The recipe {recipe.name} has {2**recipe.weight_bits} values a table; --clusters asks for {clusters}.",
                hint="Leave --clusters out.",
            )
        clusters = 2**recipe.weight_bits
    _check_recipe(recipe, request, clusters)
    _check_numbers(request, clusters)
    targets = tuple(dict.fromkeys(request.targets)) or _expressing(recipe)
    symmetric = [recipe.activation_bits in getattr(target_of(one), "SYMMETRIC_ACTIVATION_BITS", ()) for one in targets]
    return Plan(
        recipe=recipe,
        targets=targets,
        symmetric=tuple(dict.fromkeys(symmetric)) if recipe.needs_data else (False,),
        epochs=request.epochs,
        rate=request.rate,
        batch=request.batch,
        seed=request.seed,
        teacher=request.teacher,
        output=request.output,
        ranges=request.ranges,
        sparsity=request.sparsity,
        clusters=clusters,
        patience=request.patience,
    )


def _expressing(recipe: Recipe) -> tuple[str, ...]:
    """Return the targets that can express a recipe; all of them where none can, which a build then says."""
    names = discovery.names(TARGETS)
    return tuple(name for name in names if target_of(name).not_expressible(recipe) is None) or names


def _check_recipe(recipe: Recipe, request: TuneRequest, clusters: int) -> None:
    for target in request.targets:
        reason = target_of(target).not_expressible(recipe)
        if reason is not None:
            raise SettingsError(f"The recipe {recipe.name} is not expressible on {target}: {reason}.")
    if recipe.weight_bits >= 16 and recipe.activation_bits >= 16 and not (request.sparsity or clusters):
        raise SettingsError(
            f"The recipe {recipe.name} rounds nothing that training could make up for.",
            hint="Choose one such as static-int8 or weight-int4, or ask for --sparsity or --clusters.",
        )
    if recipe.scheme == "affine" and recipe.weight_bits < 16:
        fault = "block" if recipe.granularity == "block" else "" if recipe.symmetric else "asymmetric"
        if fault:
            raise SettingsError(
                f"The recipe {recipe.name} has {fault} scales of weights, which palmtop does not train on.",
                hint="Train with symmetric scales a channel or tensor, such as weight-int4; the build may have others.",
            )


def _check_numbers(request: TuneRequest, clusters: int) -> None:
    bounds = (
        (request.epochs >= 1, f"--epochs is {request.epochs}: one at least"),
        (0 < request.rate < 1, f"--lr is {request.rate}: more than 0 and less than 1"),
        (request.batch >= 1, f"--batch is {request.batch}: one at least"),
        (request.patience >= 1, f"--patience is {request.patience}: one at least"),
        (request.seed >= 0, f"--seed is {request.seed}: not below 0"),
        (0 <= request.sparsity < 1, f"--sparsity is {request.sparsity}: from 0 to less than 1"),
        (clusters == 0 or 2 <= clusters <= _MOST_CLUSTERS, f"--clusters is {clusters}: 2 to {_MOST_CLUSTERS}"),
        (not (request.sparsity and clusters) or request.epochs > 1,
         "pruning and clustering follow one another: --epochs is 2 at least"),
    )  # fmt: skip
    for fine, words in bounds:
        if not fine:
            raise SettingsError(f"{words[0].upper()}{words[1:]}.")


def _data(location: str, limit: int | None, source: SourceModel, request: TuneRequest, tools: Tools) -> DataRef:
    ref = data.refer(location, source.signature, request.preprocess, limit)
    importer.look_through(ref, source.signature, tools)
    return ref


def _key(source: SourceModel, train: DataRef, val: DataRef | None, plan: Plan, tools: Tools) -> str:
    """Name all that a checkpoint depends on, but the learning rate and the number of epochs, which may change."""
    inputs = {
        "source": source.blob.sha256,
        "shapes": source.shapes,
        "plan": dataclasses.replace(plan, rate=0.0, epochs=0, paced_by=0, patience=0, targets=()),
        "data": [[ref.sha256, ref.preprocess] for ref in (train, val) if ref is not None],
        "made_by": made_by(source_of(source.format)),
        "code": _own_code(),
    }
    return tools.store.key("tune/1", inputs)


def _known(request: TuneRequest, plan: Plan, key: str) -> Tuned | None:
    """Return what the output folder holds of this very training, None where it is new.

    Raises:
        FolderTaken: it holds another training, or this one with another learning rate or number of epochs.
        OutputError: it holds something else.
    """
    out = request.out
    if out.is_file():
        raise OutputError(f"{out} is a file, not a folder.", hint="Choose another with -o.")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if out.is_dir() and {item.name for item in out.iterdir()} <= {checkpoints.FOLDER, work.ROWS}:
        return None  # ended before its first checkpoint
    found = checkpoints.read(out) if out.is_dir() else None
    if found is None:
        raise OutputError(f"The output folder {out} is not empty.", hint="Choose another with -o.")
    if found.key != key or found.plan is None:
        raise FolderTaken(
            f"The output folder {out} holds another training: {_difference(found, request, plan)}.",
            hint="Choose another with -o; palmtop never overwrites one.",
        )
    numbers = {(one.rate, one.epochs, one.patience) for one in (found.plan, plan)}
    if len(numbers) > 1 and not request.resume:
        raise FolderTaken(
            f"The output folder {out} holds this training with --lr {found.plan.rate:g}, --epochs {found.plan.epochs} "
            f"and --patience {found.plan.patience}.",
            hint="Add --resume to go on from its last epoch with the new numbers, or choose another folder with -o.",
        )
    if len(numbers) == 1 and found.finished and not _is_intact(out, found):
        raise OutputError(
            f"The output folder {out} has this training, but {found.model} or one beside it is missing or was changed.",
            hint="Choose another with -o, or remove the folder.",
        )
    return found if len(numbers) == 1 else dataclasses.replace(found, finished=False)


_NAMES = {"recipe": "recipe", "symmetric": "--target", "batch": "--batch", "seed": "--seed", "teacher": "--labels",
          "output": "--output", "ranges": "--ranges", "sparsity": "--sparsity", "clusters": "--clusters"}  # fmt: skip


def _difference(found: Tuned, request: TuneRequest, plan: Plan) -> str:
    """Say in which way a folder's training is another, as far as its record tells."""
    if found.plan is None:
        return f"what came of {found.source}, which was trained elsewhere"
    others = [words for name, words in _NAMES.items() if getattr(found.plan, name) != getattr(plan, name)]
    if others:
        return f"it was started with another {', '.join(others)}"
    if found.source != str(request.model):
        return f"it is of {found.source}"
    return "the model, the data or how it is preprocessed changed since, or palmtop did"


def _is_intact(out: Path, found: Tuned) -> bool:
    path = out / found.model
    whole = all((out / name).is_file() for name in (found.ranges, found.state) if name)
    return whole and path.is_file() and store.sha256_of(path) == found.sha256


def _job(
    request: TuneRequest, source: SourceModel, refs: tuple[DataRef, DataRef | None], plan: Plan, key: str
) -> TrainingJob:
    return TrainingJob(
        model=source.blob.path.absolute(),
        source=str(request.model),
        source_sha256=source.blob.sha256,
        format=source.format,
        shapes=dict(source.shapes),
        signature=source.signature,
        data=_absolute(refs[0]),
        val=_absolute(refs[1]) if refs[1] is not None else None,
        plan=plan,
        key=key,
        name=source.name,
        out=request.out.absolute(),
    )


def _absolute(ref: DataRef) -> DataRef:
    place = Path(ref.location)
    return dataclasses.replace(ref, location=str(place.absolute())) if place.exists() else ref


def _trained(request: TuneRequest, job: TrainingJob, tools: Tools) -> Tuned:
    with store.writing_to(job.out):
        (job.out / checkpoints.FOLDER).mkdir(parents=True, exist_ok=True)
    store.check_writable(job.out)
    try:
        made = isolation.isolate(tools, TRAIN_S, work.train, job, tools.emit)
    except KeyboardInterrupt as error:
        if (job.out / FILE).is_file():
            error.add_note(f"run the same command again to resume; {request.out} keeps every finished epoch")
        raise
    finally:
        shutil.rmtree(job.out / work.ROWS, ignore_errors=True)
        _clear_unused(job.out)
    store.write_atomic(job.out / FILE, codec.pretty(made))
    tools.emit(Event(subject="tune", phase="done", message=made.model))
    return made


def _clear_unused(out: Path) -> None:
    """Remove what an attempt left that never came to an epoch, so that another command may take the folder."""
    left = out / checkpoints.FOLDER
    if left.is_dir() and not any(left.iterdir()):
        left.rmdir()
        if not any(out.iterdir()):
            out.rmdir()
