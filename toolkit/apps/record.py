"""``.palmtop/scaffold.json``: what palmtop wrote into a project, so that an update knows what the user changed.

The file lies in the user's repository and may come from anyone: every path and name in it is checked when it is read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from toolkit.apps import identifiers, spec
from toolkit.apps.identifiers import Platform
from toolkit.apps.tree import Kind, checked_path
from toolkit.core import codec
from toolkit.core.errors import BadInput, PalmtopError, SettingsError

FOLDER: Final = ".palmtop"
FILE: Final = f"{FOLDER}/scaffold.json"
BASE: Final = f"{FOLDER}/base"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the project was made of. ``recipe`` and ``task`` are None where they were told from the build."""

    platform: Platform
    engine: str
    name: str
    id: str
    product: str
    target: str
    recipe: str | None
    task: spec.Task | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file as palmtop last wrote or offered it."""

    path: str
    sha256: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The whole of ``scaffold.json``; ``files`` are sorted by path."""

    schema: Literal[1] = 1
    palmtop: str
    template_version: str
    answers: Answers
    files: tuple[FileEntry, ...]


def sha256(content: bytes) -> str:
    """Return the hash that stands for a file's content."""
    return hashlib.sha256(content).hexdigest()


def read(app: Path) -> Record:
    """Read the record of a project.

    Raises:
        BadInput: it is no project of palmtop's, was made by a newer one, or its record is damaged or leads outside.
    """
    path = app / FILE
    if not path.is_file():
        raise BadInput(
            f"{app} is no app that palmtop made: there is no {FILE}.", hint="`palmtop app create` makes one."
        )
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise BadInput(f"{path} is of schema {schema}; this palmtop reads up to {SCHEMA}.", hint="Update palmtop.")
        record = codec.structure(plain, Record, what=str(path))
        _check(record)
    except (OSError, ValueError, RecursionError, SettingsError) as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="Restore it from your repository.") from error
    return record


def _check(record: Record) -> None:
    answers = record.answers
    identifiers.app_id(answers.id, answers.platform)
    identifiers.check_product(answers.product)
    if identifiers.display_name(answers.name) != answers.name:
        raise SettingsError(f"The name {answers.name[:60]!r} is not one that palmtop wrote.")
    for entry in record.files:
        try:
            checked_path(entry.path)
        except PalmtopError as error:
            raise SettingsError(error.message) from error
        if entry.path.split("/")[0].lower() == FOLDER:
            raise SettingsError(f"The path {entry.path!r} is palmtop's own.")
