"""What an existing project would be if it were created now: of the same answers, with a newer template or build."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from toolkit.apps import contract, labels, project, spec
from toolkit.apps.contract import Request
from toolkit.apps.project import Item, Project
from toolkit.apps.record import Answers, Record
from toolkit.apps.strings import Labels
from toolkit.apps.tree import Tree, checked_path
from toolkit.core.errors import BadInput, PalmtopError


def renew(tree: Tree, app: Path, before: Record, newer: Request | None) -> Project:
    """Design the project again.

    Args:
        tree: the template tree of today.
        app: the project's folder.
        before: its record.
        newer: where newer builds lie and what the user said of them, or None: the model stays.

    Raises:
        BadInput: the project is of a newer template, or its own model folder is damaged.
        ModelError, DataError, SettingsError: the newer build does not fit.
    """
    answers = before.answers
    if _parts(before.template_version) > _parts(tree.description.version):
        raise BadInput(
            f"{app} is of template {before.template_version}; this palmtop has {tree.description.version}.",
            hint="Update palmtop.",
        )
    place = app / _model_folder(tree, answers)
    model = contract.read_model(place / spec.FILE)
    if newer is None:
        return _same_model(tree, answers, before, model, app)
    request = dataclasses.replace(
        newer,
        target=answers.target,
        recipe=answers.recipe,
        task=answers.task or model.task,  # the screens of its task are the user's by now
        known=_labels_of(place, model),
        vocab=newer.vocab or _vocabulary(place, model),
    )
    return project.assemble(tree, answers, contract.make(request))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _model_folder(tree: Tree, answers: Answers) -> str:
    return project.flavoured(tree.description.model_folder, answers)


def _same_model(tree: Tree, answers: Answers, before: Record, model: spec.ModelSpec, app: Path) -> Project:
    """The model's files stay whatever they are now: the record goes on with what it says of them."""
    items = project.code_items(tree, answers, model)
    ordered = tuple(sorted(items, key=lambda item: item.path))
    made = project.recorded(tree, answers, ordered)
    return Project(record=made, items=(*ordered, *_unmoved(before, app)))


def _unmoved(before: Record, app: Path) -> tuple[Item, ...]:
    kept = [entry for entry in before.files if entry.kind == "model"]
    return tuple(
        Item(path=entry.path, kind="model", sha256=entry.sha256, source=app / entry.path, fixed=True) for entry in kept
    )


def _labels_of(place: Path, model: spec.ModelSpec) -> Labels | None:
    if model.labels is None:
        return None
    localised = {}
    for language in model.labels.languages:
        localised[language] = labels.read_lines(_checked(place, f"labels-{language}.txt"), "labels")
    return Labels(names=labels.read_lines(_checked(place, model.labels.file), "labels"), localised=localised)


def _vocabulary(place: Path, model: spec.ModelSpec) -> Path | None:
    if model.text is None or model.text.vocabulary is None:
        return None
    return _checked(place, model.text.vocabulary)


def _checked(place: Path, name: str) -> Path:
    try:
        path = place / checked_path(name)
    except PalmtopError as error:
        raise BadInput(f"{place / spec.FILE} names the file {name[:60]!r}.", hint="Do not trust it.") from error
    if not path.resolve().is_relative_to(place.resolve()):
        raise BadInput(f"{path} is a link that leads out of the project.")
    return path
