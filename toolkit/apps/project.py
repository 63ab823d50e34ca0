"""A project as files: everything an app of a build consists of, made in memory first and then written at once."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.apps import contract, identifiers, record, spec, strings, values
from toolkit.apps.contract import Contract, ModelFile
from toolkit.apps.identifiers import Platform
from toolkit.apps.record import Answers, FileEntry, Record
from toolkit.apps.render import TemplateError
from toolkit.apps.tree import Flavour, Kind, Made, Tree, checked_path, rendered
from toolkit.core import codec, store
from toolkit.core.errors import SettingsError
from toolkit.core.events import Event
from toolkit.core.tools import Tools

_ENGINES: Final[dict[Platform, dict[str, tuple[str, ...]]]] = {
    "android": {"tflite": ("litert",), "onnx": ("onnx",)},
    "ios": {"coreml": ("coreml", "coreml+onnx"), "onnx": ("coreml+onnx",)},
}
"""By platform and target the engines that execute such a build, the usual one first."""
_FILE_MODE: Final = 0o644
_PROGRAM_MODE: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for; None: told from the build."""

    platform: Platform
    build: contract.Request
    name: str | None = None
    id: str | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of a project: its ``content``, or the file ``source`` that it is a copy of.

    A ``fixed`` one is in the project already and stays as it is there.
    """

    path: str
    kind: Kind
    sha256: str
    content: bytes = b""
    source: Path | None = None
    executable: bool = False
    fixed: bool = False

    def read(self) -> bytes:
        """Return the whole file."""
        return self.content if self.source is None else self.source.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All files of a project by path, sorted, and what is recorded of them. ``notes`` are for the user to read."""

    record: Record
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def engine_for(platform: Platform, target: str, wanted: str | None) -> str:
    """Return the engine that executes a target's builds on a platform.

    Raises:
        SettingsError: there is none, or the wanted one does not.

    >>> engine_for("ios", "onnx", None)
    'coreml+onnx'
    """
    engines = _ENGINES[platform].get(target)
    if engines is None:
        known = ", ".join(sorted(_ENGINES[platform]))
        raise SettingsError(
            f"Apps for {platform} have no engine for {target} builds.",
            hint=f"Choose the target {known.replace(', ', ' or ')}.",
        )
    if wanted is not None and wanted not in engines:
        raise SettingsError(
            f"The engine {wanted!r} does not execute {target} builds on {platform}.",
            hint=f"It takes {' or '.join(engines)}.",
        )
    return wanted or engines[0]


def design(tree: Tree, wish: Wish) -> Project:
    """Make a project in memory.

    Raises:
        SettingsError, ModelError, DataError: what the user gave cannot be an app, and why.
        TemplateError: the tree is wrong.
    """
    engine = engine_for(wish.platform, wish.build.target, wish.engine)
    made = contract.make(wish.build)
    name = identifiers.display_name(wish.name if wish.name is not None else made.model.build.source)
    product = identifiers.product_name(name)
    answers = Answers(
        platform=wish.platform,
        engine=engine,
        name=name,
        id=identifiers.app_id(wish.id or identifiers.default_id(product, wish.platform), wish.platform),
        product=product,
        target=wish.build.target,
        recipe=wish.build.recipe,
        task=wish.build.task,
    )
    return assemble(tree, answers, made)


def assemble(tree: Tree, answers: Answers, made: Contract) -> Project:
    """Render a tree for a build: the templates, the strings and the model folder.

    Raises:
        TemplateError: the tree is wrong, or does not have the engine.
        SettingsError: a value cannot stand where a template puts it.
    """
    texts = code_items(tree, answers, made.model)
    items = {item.path: item for item in texts}
    place = flavoured(tree.description.model_folder, answers)
    for file in made.files:
        for item in _model_items(place, file):
            if item.path in items:
                raise TemplateError(f"{tree.root} holds {item.path}, where the model's files go.")
            items[item.path] = item
    ordered = tuple(items[path] for path in sorted(items))
    return Project(record=recorded(tree, answers, ordered), items=ordered, notes=made.notes)


def recorded(tree: Tree, answers: Answers, items: tuple[Item, ...]) -> Record:
    """Return what ``scaffold.json`` says of these files."""
    return Record(
        palmtop=values.palmtop_version(),
        template_version=tree.description.version,
        answers=answers,
        files=tuple(FileEntry(path=item.path, sha256=item.sha256, kind=item.kind) for item in items),
    )


def code_items(tree: Tree, answers: Answers, model: spec.ModelSpec) -> list[Item]:
    """Return every file but those of the model folder."""
    if answers.engine not in tree.description.engines:
        raise TemplateError(f"{tree.root} has no engine {answers.engine!r}.")
    flavour = Flavour(engine=answers.engine, task=model.task, package=answers.id, product=answers.product)
    texts = strings.load()
    strings.lint(texts)
    made = rendered(tree, flavour, values.for_templates(tree, answers, model, texts))
    return [_item(one) for one in (*made, *_string_files(tree, answers, texts))]


def _string_files(tree: Tree, answers: Answers, texts: strings.Strings) -> list[Made]:
    place = tree.description.strings
    files: dict[str, str] = {}
    if place.android is not None:
        for language in texts.languages:
            folder = strings.android_folder(language)
            files[f"{place.android}/{folder}/strings.xml"] = strings.android(texts, language)
    if place.xcstrings is not None:
        files[place.xcstrings] = strings.xcstrings(texts)
    return [
        Made(path=flavoured(path, answers), content=text.encode("utf-8"), kind="managed")
        for path, text in files.items()
    ]


def flavoured(path: str, answers: Answers) -> str:
    """Return a path of ``tree.toml`` as it is in a project.

    Raises:
        TemplateError: it would leave the project.
    """
    words = {"__product__": answers.product, "__package_path__": answers.id.replace(".", "/")}
    for word, meaning in words.items():
        path = path.replace(word, meaning)
    return checked_path(path)


def _item(made: Made) -> Item:
    return Item(
        path=made.path,
        kind=made.kind,
        sha256=record.sha256(made.content),
        content=made.content,
        executable=made.executable,
    )


def _model_items(place: str, file: ModelFile) -> list[Item]:
    path = checked_path(f"{place}/{file.name}")
    if file.source is None:
        return [Item(path=path, kind="model", sha256=record.sha256(file.content), content=file.content)]
    if file.source.is_file():
        return [Item(path=path, kind="model", sha256=store.sha256_of(file.source), source=file.source)]
    inner = sorted(one for one in file.source.rglob("*") if one.is_file())
    home = file.source.resolve()
    if any(not one.resolve().is_relative_to(home) for one in inner):
        raise SettingsError(f"A link in {file.source} leads out of it.", hint="Build it again.")
    return [
        Item(
            path=checked_path(f"{path}/{one.relative_to(file.source).as_posix()}"),
            kind="model",
            sha256=store.sha256_of(one),
            source=one,
        )
        for one in inner
    ]


def create(project: Project, out: Path, tools: Tools) -> None:
    """Write a new project, whole or not at all.

    Raises:
        OutputError: the folder is not empty or cannot be written.
    """
    with store.staged_folder(out) as stage:
        for done, item in enumerate(project.items):
            tools.emit(Event(subject=out.name, phase="write", message=item.path, done=done, total=len(project.items)))
            _write(item, stage / item.path)
            if keeps_base(item):
                _write(item, stage / record.BASE / item.path)
        store.write_atomic(stage / record.FILE, codec.pretty(project.record))
    tools.emit(Event(subject=out.name, phase="done", message=f"{len(project.items)} files"))


def keeps_base(item: Item) -> bool:
    """Say whether a later update may have to merge the file."""
    return item.kind == "managed" and b"\0" not in item.content


def _write(item: Item, path: Path) -> None:
    """Write one file into a folder that nobody sees yet."""
    with store.writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.source is None:
            path.write_bytes(item.content)
        else:
            shutil.copyfile(item.source, path)
        path.chmod(_PROGRAM_MODE if item.executable else _FILE_MODE)


def place(item: Item, path: Path) -> None:
    """Write one file with its mode, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    if item.source is None:
        store.write_atomic(path, item.content)
    else:
        _copied(item.source, path)
    path.chmod(_PROGRAM_MODE if item.executable else _FILE_MODE)


def _copied(source: Path, path: Path) -> None:
    with store.writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            shutil.copyfile(source, half)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
