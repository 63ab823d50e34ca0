"""The folder a user gets: ``build.json`` and the artefacts, whole or not at all, and never over something else."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from toolkit.core import manifest as manifests
from toolkit.core import store
from toolkit.core.artifacts import Blob, QuantizedModel, ToolVersion
from toolkit.core.errors import FolderTaken, ModelError, OutputError, PalmtopError, SettingsError
from toolkit.core.manifest import BuildEntry, DataEntry, Manifest, SourceEntry
from toolkit.core.tools import Tools
from toolkit.stages.calibration_report import joined
from toolkit.stages.order import Built, Order, host_toolchain, news, palmtop_version, source_of, target_of

_COPIES_PER_BUILD = 3
"""How many times the source's size a build may take: the float model, the build in the cache, and its copy."""


def check_place(out: Path, model: Path, builds: int, tools: Tools) -> None:
    """Find out before minutes of work whether the output folder and the cache can be written.

    Raises:
        OutputError: something else lies there, the place is not writable, or there is too little room.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"The output folder {out} is a file.", hint="Choose another with -o.")
    if out.is_dir() and any(out.iterdir()) and not (out / manifests.FILE).is_file():
        raise taken(out)
    needed = store.size_of(model) * max(1, builds) * _COPIES_PER_BUILD if model.exists() else 0
    for place in (out, tools.store.root):
        nearest = _nearest(place)
        with store.writing_to(place):
            shutil.rmtree(tempfile.mkdtemp(dir=nearest, prefix=".palmtop-"))
            free = shutil.disk_usage(nearest).free
        if free < needed:
            raise OutputError(
                f"Only {free / 1e6:,.0f} MB are free at {place}; the builds may need {needed / 1e6:,.0f} MB.",
                hint="Free space there, choose another folder with -o, or another cache with PALMTOP_CACHE.",
            )


def _nearest(place: Path) -> Path:
    """Return the folder itself, or the first above it that exists."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())


def taken(out: Path) -> OutputError:
    """Make the error for a folder that holds something else."""
    return OutputError(
        f"The output folder {out} is not empty.", hint="Choose another with -o; palmtop never overwrites one."
    )


def already_there(order: Order) -> Manifest | None:
    """Return the manifest of the output folder if it was made of these very inputs and is intact, else None.

    Raises:
        OutputError: the folder holds something else.
    """
    out = order.request.out
    if not out.is_dir() or not any(out.iterdir()):
        return None
    try:
        found = manifests.read(out)
    except ModelError as error:
        raise taken(out) from error
    if found.inputs_key != order.key:
        raise FolderTaken(
            f"The output folder {out} holds builds of another model, data, setting or palmtop.",
            hint="Choose another with -o; palmtop never overwrites one.",
        )
    changed = [build.path for build in found.builds if not is_intact(out, build)]
    if changed:
        raise OutputError(
            f"The output folder {out} holds these builds, but {', '.join(changed)} is missing or was changed.",
            hint="Choose another with -o, or remove the folder.",
        )
    return found


def is_intact(folder: Path, build: BuildEntry) -> bool:
    """Whether an artefact is still what its manifest says."""
    path = folder / build.path
    return path.exists() and store.sha256_of(path) == build.sha256


def package(built: Built, tools: Tools) -> Manifest:
    """Write the output folder: all builds that were made, or an error when there are none.

    A folder that an earlier run left with failed builds gains those that succeeded now; its verified ones stay.

    Raises:
        ModelError: not one build was made, and at least one was tried; every reason is named.
        SettingsError: no target can express any of the recipes.
        OutputError: the folder cannot be written.
    """
    if not built.models:
        raise _nothing(built)
    order = built.order
    before = already_there(order)
    made = _manifest(built)
    if before is None:
        with store.staged_folder(order.request.out) as stage:
            _copy(built.models, stage)
            manifests.write(stage, made)
    else:
        known = {build.id for build in before.builds}
        _copy((model for model in built.models if model.id not in known), order.request.out)
        made = _joined(before, made, [build.id for build in order.builds])
        manifests.write(order.request.out, made)
    done = {model.id for model in built.models}
    news(tools, (build for build in order.builds if build.id in done), "done")
    return made


def _joined(before: Manifest, made: Manifest, order: list[str]) -> Manifest:
    """Add new builds to the ones a folder already holds, which stay even where this run could not make them again."""
    builds = {build.id: build for build in (*made.builds, *before.builds)}
    calibration = made.calibration
    if calibration is not None and before.calibration is not None:
        methods = {*calibration.method.split(", "), *before.calibration.method.split(", ")} - {""}
        report = joined(one for one in (before.calibration.report, calibration.report) if one is not None)
        calibration = dataclasses.replace(calibration, method=", ".join(sorted(methods)), report=report)
    return dataclasses.replace(
        made,
        calibration=calibration,
        verification=before.verification,
        builds=tuple(builds[name] for name in order if name in builds),
        failed=tuple(one for one in made.failed if f"{one.target}-{one.recipe}" not in builds),
    )


def _nothing(built: Built) -> PalmtopError:
    model = built.order.request.model
    refused = [f"{one.recipe} on {one.target} is not expressible: {one.reason}" for one in built.order.not_expressible]
    if not built.failed:
        return SettingsError(
            f"No target can express the recipes: {'; '.join(refused) or 'none was asked for'}.",
            hint="Leave -r out to get the usual recipes.",
        )
    reasons = [f"{one.recipe} on {one.target}: {one.error.rstrip('.')}" for one in built.failed]
    logs = sorted({one.log for one in built.failed if one.log})
    return ModelError(
        f"No build of {model} could be made: {'; '.join(reasons + refused)}.",
        hint=f"Whole output of the child processes: {', '.join(logs)}" if logs else "",
    )


def _file_name(model: QuantizedModel) -> str:
    return f"{model.id}{target_of(model.base.base.target).SUFFIX}"


def _copy(models: Iterable[QuantizedModel], folder: Path) -> None:
    for model in models:
        name = _file_name(model)
        half = Path(f".{name}.partial")
        with store.writing_to(folder):
            _remove(folder / half)  # of a run that was killed
        store.copy_blob(model.blob, folder / half)
        with store.writing_to(folder):
            _remove(folder / name)  # of a run that was killed before it wrote its manifest
            (folder / half).rename(folder / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _manifest(built: Built) -> Manifest:
    order = built.order
    source = order.source
    return Manifest(
        palmtop=palmtop_version(),
        source=SourceEntry(
            name=source.name,
            path=str(order.request.model),
            sha256=source.blob.sha256,
            format=source.format,
            signature=source.signature,
            shapes=dict(source.shapes),
        ),
        preprocess=order.request.preprocess,
        calibration=_data_entry(built),
        toolchain=_toolchain(order),
        builds=tuple(_entry(model) for model in built.models),
        not_expressible=order.not_expressible,
        failed=built.failed,
        inputs_key=order.key,
    )


def _data_entry(built: Built) -> DataEntry | None:
    data = built.order.data
    if data is None:
        return None
    methods = sorted({model.base.method for model in built.models} - {""})
    return DataEntry(
        data=data.location,
        format=data.format,
        sha256=data.sha256,
        samples=data.count,
        method=", ".join(methods),
        report=joined(model.base.report for model in built.models if model.base.report is not None),
    )


def _entry(model: QuantizedModel) -> BuildEntry:
    return BuildEntry(
        id=model.id,
        target=model.base.base.target,
        recipe=model.recipe.name,
        path=_file_name(model),
        sha256=model.blob.sha256,
        size_bytes=model.blob.size_bytes,
        signature=model.signature,
        kept_float=model.kept_float,
        requirements=model.requirements,
        toolchain=model.base.base.toolchain,
        activation_mode=model.recipe.activation_mode,
        deflated_bytes=model.deflated_bytes,
        census=model.census,
        care=model.care,
    )


def _toolchain(order: Order) -> tuple[ToolVersion, ...]:
    """Name everything that took part, each once: palmtop and the platform, the source's libraries, the targets'."""
    targets = [target_of(name) for name in dict.fromkeys(order.request.targets)]
    own = order.source.toolchain or source_of(order.source.format).toolchain()
    tools = [*host_toolchain(), *own, *(tool for module in targets for tool in module.toolchain())]
    return tuple({tool.name: tool for tool in tools}.values())


def copy_into(blob: Blob, folder: Path, inner: str) -> None:
    """Put a file into a folder of builds, whole or not at all."""
    store.write_atomic(folder / inner, blob.path.read_bytes())
