"""From a model file and a request to an order of builds, and from the source to each target's float model."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from toolkit.core import discovery, isolation, preprocess, store
from toolkit.core.artifacts import Blob, DataRef, FloatModel, Requirements, Signature, SourceModel, ToolVersion
from toolkit.core.errors import ChildFailed, DataError, ModelError, SettingsError
from toolkit.core.events import Event
from toolkit.core.manifest import FailedBuild, NotExpressible
from toolkit.core.recipe import Recipe, load_recipe
from toolkit.core.tools import Tools
from toolkit.sources.base import TOO_BIG
from toolkit.stages import care, data, work
from toolkit.stages.exporting import export, form_of, read_and_export
from toolkit.stages.order import (
    RANGES,
    SOURCES,
    Build,
    Converted,
    Order,
    failed,
    made_by,
    news,
    share_of,
    source_of,
    target_of,
)
from toolkit.stages.parallel import Failure, each, needs_of
from toolkit.stages.requests import QuantizeRequest

READ_S, SCAN_S, CONVERT_S = 600, 3600, 3600
"""Deadlines in seconds: generous guards against a hang, not expectations of how long the work takes."""

_NO_MODEL = "Check the path. A function that returns a PyTorch model is named MODULE:FUNCTION or FILE.py:FUNCTION."
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scanned:
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exported:
    blob: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Converted:
    blob: Blob
    made: work.FloatArtefact


def is_there(path: Path) -> bool:
    """Whether a path is a file or folder, or names a model in another way, as ``MODULE:FUNCTION`` does."""
    if path.exists():
        return True
    modules = (source_of(name) for name in discovery.names(SOURCES))
    return any(module.takes(path) for module in modules if hasattr(module, "takes"))


def recognise(path: Path) -> str:
    """Return the name of the source format of a file, by its ending and its first bytes, or of what else it names.

    Raises:
        ModelError: it is missing or empty, no format has its ending, or its content is not what the ending says.
    """
    known = {name: source_of(name) for name in discovery.names(SOURCES)}
    for name, module in known.items():
        if hasattr(module, "takes") and module.takes(path):
            wrong_inside = module.recognises(path)
            if wrong_inside is not None:
                raise ModelError(f"{path} is not a model for {name}: {wrong_inside}.", hint="Check what it names.")
            return name
    if not path.exists():
        raise ModelError(f"There is no model {path}.", hint=_NO_MODEL)
    by_suffix = [name for name, module in known.items() if path.suffix.lower() in module.SUFFIXES]
    wrong = {name: known[name].recognises(path) for name in by_suffix}
    for name, reason in wrong.items():
        if reason is None:
            return name
    looks_like = [name for name, module in known.items() if name not in wrong and module.recognises(path) is None]
    guess = ""
    if looks_like:
        guess = f"It looks like a model for {looks_like[0]}: rename it to end in {known[looks_like[0]].SUFFIXES[0]}. "
    endings = ", ".join(f"{suffix} ({name})" for name, module in known.items() for suffix in module.SUFFIXES)
    if wrong:
        name, reason = next(iter(wrong.items()))
        if TOO_BIG in str(reason):
            raise ModelError(
                f"The model {path} is too big: {reason}.",
                hint="Choose a smaller one, or export the parts of it that are to run on the phone one by one.",
            )
        raise ModelError(f"{path} is not a model for {name}: {reason}.", hint=f"{guess}Models end in: {endings}.")
    raise ModelError(f"No model format ends in {path.suffix!r}: {path}.", hint=f"{guess}Models end in: {endings}.")


def read_source(
    path: Path, shapes: dict[str, tuple[int, ...]], tools: Tools, targets: Iterable[str] = ()
) -> SourceModel:
    """Recognise and read the user's model, in a child process unless the cache has its signature.

    Where builds for ``targets`` are to follow, that process exports the model too: loading takes longest.

    Raises:
        ModelError: it cannot be read, or palmtop does not support what is in it.
    """
    name = recognise(path)
    blob = source_blob(path, name, shapes, tools)
    inputs = {"source": blob.sha256, "format": name, "shapes": shapes, "made_by": made_by(source_of(name))}
    forms = [form for target in targets if (form := form_of(name, target))]

    def produce(folder: Path) -> work.SourceFacts:
        if forms:
            with contextlib.suppress(ChildFailed):  # in the export, if the model can be read alone
                return read_and_export(name, blob, shapes, folder / forms[0], tools)
        return isolation.isolate(tools, READ_S, work.read, name, blob.path.absolute(), shapes)

    facts = tools.store.memo("read/2", inputs, work.SourceFacts, produce)
    _say_who_read(path, source_of(name).toolchain(), facts.toolchain, tools)
    return SourceModel(
        name=name_of(path),
        format=name,
        blob=blob,
        signature=facts.signature,
        shapes=tuple(sorted(shapes.items())),
        toolchain=facts.toolchain,
    )


def _say_who_read(path: Path, usual: tuple[ToolVersion, ...], found: tuple[ToolVersion, ...], tools: Tools) -> None:
    """Warn where the format's first library could not read the model and another one did."""
    if usual and found and usual[0].name not in {library.name for library in found}:
        said = f"{path.name} was read by {found[0].name} {found[0].version}, as {usual[0].name} cannot read it"
        tools.emit(Event(subject="", phase="noted", message=said, level="warning"))


def source_blob(path: Path, source: str, shapes: dict[str, tuple[int, ...]], tools: Tools) -> Blob:
    """Return a model with the hash of everything its content lies in, so that new weights beside it are seen.

    A model of one file has that file's hash. Where a format names more (``files`` of :class:`.ports.Source`), the hash
    covers theirs and their paths relative to the model; renaming or moving the whole does not change it. What the
    user's code makes is written to the cache first (``freeze``) and has the hash of what was made.

    Raises:
        ModelError: the user's code fails, or gives no model.
    """
    module = source_of(source)
    if not path.exists() and hasattr(module, "freeze"):
        return _frozen(path, source, shapes, tools)
    first, *beside = module.files(path) if hasattr(module, "files") else (path,)
    if first == path and not beside:
        return store.blob_of(path)
    folder = first.resolve().parent
    chosen = "" if path.exists() else path.name.rpartition(":")[2]
    digest = hashlib.sha256((chosen + store.sha256_of(first)).encode())
    for file in sorted(set(beside) - {first}):
        digest.update(f"\0{Path(os.path.relpath(file, folder)).as_posix()}\0{store.sha256_of(file)}".encode())
    size = sum(store.size_of(file) for file in {first, *beside})
    return Blob(path=path, sha256=digest.hexdigest(), size_bytes=size)


def _frozen(path: Path, source: str, shapes: dict[str, tuple[int, ...]], tools: Tools) -> Blob:
    """Run the user's code once, in a child process, and keep the model it makes under the hash of its content."""
    with tempfile.TemporaryDirectory(prefix="palmtop-") as scratch:
        file = Path(scratch) / f"frozen{source_of(source).SUFFIXES[0]}"
        content = isolation.isolate(tools, READ_S, work.freeze, source, path.absolute(), shapes, file)

        def produce(folder: Path) -> _Exported:
            return _Exported(blob=store.copy_blob(store.blob_of(file), folder / file.name))

        inputs = {"content": content, "made_by": made_by(source_of(source))}
        kept = tools.store.memo("freeze/1", inputs, _Exported, produce).blob
    return Blob(path=kept.path, sha256=content, size_bytes=kept.size_bytes)


def name_of(path: Path) -> str:
    """Return the model's name: the file's, the folder's, or both words of ``MODULE:FUNCTION``."""
    if path.exists():
        return path.stem
    return path.name.replace(".py:", "-").replace(":", "-")


def import_model(request: QuantizeRequest, tools: Tools) -> Order:
    """Read the model, look through the data, and plan a build for every target x recipe.

    Raises:
        ModelError: the model cannot be used.
        DataError: the data cannot, or there is none and a build needs it.
        SettingsError: a target, recipe or preprocessing is not valid.
    """
    preprocess.check(request.preprocess)
    recipes = _recipes(request.recipes)
    targets = tuple(dict.fromkeys(request.targets))
    for target in targets:
        target_of(target)
    source = read_source(request.model, request.shapes, tools, targets)
    builds, refused = _plan(source, targets, recipes)
    ref = None
    if request.data is not None:
        ref = data.refer(request.data, source.signature, request.preprocess, request.samples)
        look_through(ref, source.signature, tools)
    hungry = [build for build in builds if build.recipe.needs_data]
    if hungry and ref is None:
        raise DataError(
            f"The recipe {hungry[0].recipe.name!r} learns activation ranges from data, and none is given.",
            hint="Give samples with -d DATA, or choose recipes that need none, such as -r weight-int8.",
        )
    news(tools, builds, "import")
    return Order(
        request=request,
        source=source,
        data=ref,
        builds=builds,
        not_expressible=refused,
        key=_key(source, targets, recipes, ref, tools),
    )


def look_through(ref: DataRef, signature: Signature, tools: Tools) -> None:
    """Read every sample once, in a child process, unless equal data has been seen to be sound.

    Raises:
        DataError: a sample is damaged or holds NaN or infinity.
    """
    inputs = {"data": ref.sha256, "preprocess": ref.preprocess, "inputs": signature.inputs, "made_by": made_by()}

    def produce(_: Path) -> _Scanned:
        return _Scanned(samples=isolation.isolate(tools, SCAN_S, data.scan, ref, signature))

    tools.store.memo("scan/1", inputs, _Scanned, produce)


def _recipes(names: Iterable[str]) -> tuple[Recipe, ...]:
    recipes = tuple(load_recipe(name) for name in dict.fromkeys(names))
    for name, count in Counter(recipe.name for recipe in recipes).items():
        if count > 1:
            raise SettingsError(f"Two recipes are named {name!r}.", hint="Rename one of the files.")
        if not _PLAIN_NAME.fullmatch(name):
            raise SettingsError(
                f"A recipe cannot be named {name!r}.", hint="Use letters, digits, dots, dashes and underscores."
            )
    known = discovery.names(RANGES)
    for recipe in recipes:
        if recipe.needs_data and recipe.range_method not in known:
            raise SettingsError(
                f"The recipe {recipe.name!r} asks for ranges by {recipe.range_method!r}.",
                hint=f"This palmtop offers: {', '.join(known)}.",
            )
    return recipes


def _plan(
    source: SourceModel, targets: Iterable[str], recipes: Iterable[Recipe]
) -> tuple[tuple[Build, ...], tuple[NotExpressible, ...]]:
    builds, refused = [], []
    for target in targets:
        module, form = target_of(target), form_of(source.format, target)
        for recipe in recipes:
            reason = module.not_expressible(recipe)
            reason = reason or care.obstacle(recipe, module)
            if form is None:
                reason = f"it does not convert from {source.format} models"
            if reason is not None or form is None:
                refused.append(NotExpressible(target=target, recipe=recipe.name, reason=reason or ""))
            else:
                builds.append(Build(target=target, recipe=recipe, form=form))
    return tuple(builds), tuple(refused)


def _key(
    source: SourceModel, targets: tuple[str, ...], recipes: tuple[Recipe, ...], ref: DataRef | None, tools: Tools
) -> str:
    modules = [source_of(source.format), *(target_of(target) for target in targets)]
    inputs = {
        "source": source.blob.sha256,
        "format": source.format,
        "shapes": source.shapes,
        "targets": targets,
        "recipes": recipes,
        "data": None if ref is None else [ref.sha256, ref.preprocess],
        "made_by": made_by(*modules),
    }
    return tools.store.key("build.json", inputs)


def convert(order: Order, tools: Tools, then: Callable[[FloatModel], Failure | None] = lambda _: None) -> Converted:
    """Export the source in the forms that are needed and convert it for every target, each once for all recipes.

    ``then`` does more with each float model as soon as it is there, in the thread that converted it, or says why not.
    """
    by_target = _grouped(order.builds)
    forms = {target: builds[0].form for target, builds in by_target.items()}
    wanted = tuple(dict.fromkeys(forms.values()))
    news(tools, order.builds, "convert")
    jobs, need = order.request.jobs, needs_of("convert", order.source.blob)
    exported = dict(
        zip(
            wanted,
            each(wanted, lambda form: export(order.source, form, tools), jobs, [need] * len(wanted)),
            strict=True,
        )
    )

    def convert_for(target: str) -> tuple[FloatModel, Requirements] | Failure:
        form = exported[forms[target]]
        if isinstance(form, Failure):
            return form
        made = _convert(order.source, target, forms[target], form, tools)
        fault = then(made[0])
        if fault is not None:
            faults[target] = fault
        return made

    targets = tuple(by_target)
    models, requirements = {}, {}
    faults: dict[str, Failure] = {}
    gone: list[FailedBuild] = []
    shares = [share_of(target, "convert") for target in targets]
    outcomes = each(targets, convert_for, jobs, [need] * len(targets), shares=shares)
    for target, outcome in zip(targets, outcomes, strict=True):
        if isinstance(outcome, Failure):
            gone += failed(tools, by_target[target], outcome)
        else:
            models[target], requirements[target] = outcome
    return Converted(order=order, models=models, requirements=requirements, failed=tuple(gone), faults=faults)


def float_model(source: SourceModel, target: str, tools: Tools) -> FloatModel:
    """Return the float artefact of one target, from the cache if it was converted before.

    Raises:
        ModelError: the source cannot be converted for the target.
        ChildFailed: the converter crashed.
    """
    form = form_of(source.format, target)
    if form is None:
        raise ModelError(f"The target {target} does not convert from {source.format} models.")
    return _convert(source, target, form, export(source, form, tools), tools)[0]


def _grouped(builds: Iterable[Build]) -> dict[str, list[Build]]:
    groups: dict[str, list[Build]] = {}
    for build in builds:
        groups.setdefault(build.target, []).append(build)
    return groups


def _convert(
    source: SourceModel, target: str, form: str, exported: Blob, tools: Tools
) -> tuple[FloatModel, Requirements]:
    module = target_of(target)
    inputs = {
        "exported": exported.sha256,
        "form": form,
        "signature": source.signature,
        "target": target,
        "made_by": made_by(module),
    }

    def produce(folder: Path) -> _Converted:
        out = folder / f"float{module.SUFFIX}"
        made = isolation.isolate(tools, CONVERT_S, work.convert, target, form, exported.path, source.signature, out)
        return _Converted(blob=store.blob_of(out), made=made)

    found = tools.store.memo("convert/1", inputs, _Converted, produce)
    model = FloatModel(
        source=source,
        target=target,
        blob=found.blob,
        signature=found.made.signature,
        toolchain=tuple(module.toolchain()),
    )
    return model, found.made.requirements
