"""The folder a demo works in: its models, their data and ``demo.json``, put there once and found again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from toolkit.core import codec, store
from toolkit.core.artifacts import Blob
from toolkit.core.errors import OutputError, SettingsError
from toolkit.core.tools import Tools
from toolkit.demos._prepared import prepared
from toolkit.demos._project import DemoModel, DemoProject

FILE = "demo.json"


def lay_out(name: str, out: Path, tools: Tools) -> DemoProject:
    """Return a demo whose files lie in ``out``: those of an earlier run, or copies of what is prepared now.

    Each model has a folder ``model``, in ``out`` or, where there are several models, in a folder of its name.

    Raises:
        SettingsError: there is no demo of that name; the nearest is offered.
        OutputError: ``out`` holds something else, or what an earlier run put there has changed.
        ToolMissing: a package of the extra ``demo`` is not installed.
    """
    if (out / FILE).is_file():
        return _earlier(name, out)
    with store.staged_folder(out) as stage:
        made = prepared(name, tools)
        there = dataclasses.replace(
            made, models=tuple(_copied(model, folder_of(model, made, stage)) for model in made.models)
        )
        local = _moved(there, lambda path: path.relative_to(stage))
        store.write_atomic(stage / FILE, codec.pretty(local))
    return _moved(local, lambda path: out / path)


def folder_of(model: DemoModel, project: DemoProject, out: Path) -> Path:
    """Return where a model's builds and report go: ``out``, or a folder in it where there are several models."""
    return out if len(project.models) == 1 else out / model.name


def _earlier(name: str, out: Path) -> DemoProject:
    path = out / FILE
    try:
        local = codec.structure(json.loads(path.read_text(encoding="utf-8")), DemoProject, what=str(path))
        files = [blob for model in local.models for blob in (model.model, model.calibration, model.labelled)]
        damaged = [blob.path for blob in files if not _is_there(blob, out)]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, SettingsError) as error:
        raise OutputError(f"Cannot read {path}: {error}", hint="Choose another folder with -o.") from error
    if local.name != name:
        raise OutputError(f"{out} holds the demo {local.name!r}.", hint="Choose another folder with -o.")
    if damaged or not local.models:
        said = ", ".join(map(str, damaged)) or "its models"
        raise OutputError(
            f"{out} holds a demo of which {said} is missing or changed.",
            hint="Choose another folder with -o, or remove this one.",
        )
    return _moved(local, lambda path: out / path)


def _is_there(blob: Blob, out: Path) -> bool:
    path = out / blob.path
    inside = path.resolve().is_relative_to(out.resolve())
    return inside and path.exists() and store.sha256_of(path) == blob.sha256


def _copied(model: DemoModel, folder: Path) -> DemoModel:
    return _with_blobs(model, lambda blob: store.copy_blob(blob, folder / "model" / blob.path.name))


def _moved(project: DemoProject, turn: Callable[[Path], Path]) -> DemoProject:
    def move(blob: Blob) -> Blob:
        return dataclasses.replace(blob, path=turn(blob.path))

    return dataclasses.replace(project, models=tuple(_with_blobs(model, move) for model in project.models))


def _with_blobs(model: DemoModel, turn: Callable[[Blob], Blob]) -> DemoModel:
    return dataclasses.replace(
        model, model=turn(model.model), calibration=turn(model.calibration), labelled=turn(model.labelled)
    )
