"""Template trees: which files a flavour of an app has, where they go, and what each is.

``docs/apps.md`` is the contract: ``tree.toml`` says what is seed, what only some flavours have, where the model and the
strings go. A tree comes with palmtop or is somebody's own folder; both are read strictly, no path leaves the project.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from toolkit.apps import render
from toolkit.apps.identifiers import Platform
from toolkit.apps.render import TemplateError
from toolkit.core import codec, resources
from toolkit.core.errors import SettingsError

Kind = Literal["managed", "seed", "model"]
"""What an update does with a file: rewrite or merge it, leave it alone, or have it follow the build."""

DESCRIPTION: Final = "tree.toml"
VERSIONS: Final = "versions.toml"
_SUFFIX: Final = ".j2"
_DOT: Final = "dot_"
_PART: Final = re.compile(r"__[a-z_]+__")
_SAFE_PART: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+@ -]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Files that only some flavours have; an empty condition holds for all."""

    paths: tuple[str, ...]
    engine: tuple[str, ...] = ()
    task: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StringsPlace:
    """Where localised strings go: a ``res`` folder or one String Catalog."""

    android: str | None = None
    xcstrings: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlace:
    """How the built app is measured; ``{package}`` and ``{product}`` stand for the app's.

    ``also`` are builds of the same app for other kinds of device, used where they exist.
    """

    variant: str
    package: str
    artefact: str
    runner: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlace:
    """What to ask Gradle or xcodebuild for, by variant: a task, or a configuration."""

    default_variant: str
    variants: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The whole of ``tree.toml``."""

    schema: Literal[1]
    platform: Platform
    version: str
    engines: tuple[str, ...]
    model_folder: str
    bench: BenchPlace
    build: BuildPlace
    seed: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()
    strings: StringsPlace = field(default_factory=StringsPlace)
    when: tuple[When, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A template tree; ``names`` are its files' paths as they lie there, sorted."""

    root: Path
    description: Description
    versions: dict[str, Any]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """Which app of a tree, and what its path parts become."""

    engine: str
    task: str
    package: str
    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One text or binary file of a project; ``path`` is relative, with ``/``."""

    path: str
    content: bytes
    kind: Kind
    executable: bool = False


def shipped(platform: Platform) -> Tree:
    """Return the tree that comes with palmtop.

    Raises:
        TemplateError: it is damaged.
    """
    return read(resources.folder("templates") / platform)


def read(root: Path) -> Tree:
    """Read a template tree.

    Raises:
        TemplateError: there is none, its description is wrong, or a pattern in it fits no file.
    """
    try:
        with (root / DESCRIPTION).open("rb") as file:
            description = codec.structure(tomllib.load(file), Description, what=f"{DESCRIPTION} of {root}")
        with (root / VERSIONS).open("rb") as file:
            versions = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, SettingsError) as error:
        raise TemplateError(f"The template tree {root} cannot be read: {error}") from error
    files = (path for path in root.rglob("*") if path.is_file())
    names = sorted(path.relative_to(root).as_posix() for path in files)
    found = Tree(
        root=root,
        description=description,
        versions=versions,
        names=tuple(name for name in names if name not in (DESCRIPTION, VERSIONS)),
    )
    _check_patterns(found)
    return found


def _check_patterns(tree: Tree) -> None:
    described = tree.description
    patterns = [*described.seed, *described.executable, *(path for when in described.when for path in when.paths)]
    for pattern in patterns:
        if not any(matches(pattern, name.removesuffix(_SUFFIX)) for name in tree.names):
            raise TemplateError(f"The pattern {pattern!r} of {tree.root / DESCRIPTION} fits no file.")
    engines = {engine for when in described.when for engine in when.engine}
    if unknown := sorted(engines - set(described.engines)):
        raise TemplateError(f"The engine {unknown[0]!r} of {tree.root / DESCRIPTION} is none of its engines.")


def matches(pattern: str, path: str) -> bool:
    """Say whether a path fits a pattern: ``*`` stays in a folder, ``**`` crosses folders.

    >>> matches("a/**", "a/b/c.kt"), matches("a/*.kt", "a/b/c.kt"), matches("**/c.kt", "c.kt")
    (True, False, True)
    """
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.fullmatch("".join(words.get(part, re.escape(part)) for part in parts), path) is not None


def project_path(name: str, flavour: Flavour) -> str:
    """Return where a file of the tree goes in a project.

    Raises:
        TemplateError: a part is unknown, or the path would leave the project.

    >>> project_path("a/__package_path__/dot_x.j2", Flavour(engine="", task="", package="b.c", product="P"))
    'a/b/c/.x'
    """
    words = {"__package_path__": flavour.package.replace(".", "/"), "__product__": flavour.product}

    def word(found: re.Match[str]) -> str:
        if found.group() not in words:
            raise TemplateError(f"The path {name} holds {found.group()}, which stands for nothing.")
        return words[found.group()]

    parts = _PART.sub(word, name.removesuffix(_SUFFIX)).split("/")
    path = "/".join(f".{part.removeprefix(_DOT)}" if part.startswith(_DOT) else part for part in parts)
    return checked_path(path)


def checked_path(path: str) -> str:
    """Return a relative path that stays where it is put, on every system.

    Raises:
        TemplateError: it does not.
    """
    parts = PurePosixPath(path).parts
    if "/".join(parts) != path or ".." in parts or not all(_SAFE_PART.fullmatch(part) for part in parts) or not parts:
        raise TemplateError(f"The path {path[:120]!r} cannot be one of a project's.")
    return path


def rendered(tree: Tree, flavour: Flavour, values: Mapping[str, Any]) -> tuple[Made, ...]:
    """Return every file of a flavour, by path, without the model's and the strings.

    Raises:
        TemplateError: a template is wrong, or two files go to the same place.
        SettingsError: a value cannot stand where a template puts it.
    """
    made: dict[str, Made] = {}
    for name in tree.names:
        plain = name.removesuffix(_SUFFIX)
        if not _belongs(tree.description.when, plain, flavour):
            continue
        path = project_path(name, flavour)
        if path.lower() in {other.lower() for other in made}:
            raise TemplateError(f"Two files of {tree.root} go to {path}.")
        made[path] = Made(
            path=path,
            content=_content(tree.root / name, name, values),
            kind="seed" if _fits(tree.description.seed, plain) else "managed",
            executable=_fits(tree.description.executable, plain),
        )
    return tuple(made[path] for path in sorted(made))


def _content(source: Path, name: str, values: Mapping[str, Any]) -> bytes:
    if not name.endswith(_SUFFIX):
        return source.read_bytes()
    return render.render(source.read_text(encoding="utf-8"), values, name=name).encode("utf-8")


def _belongs(conditions: tuple[When, ...], path: str, flavour: Flavour) -> bool:
    """Every rule that names the file has to hold for it."""
    return all(
        (not when.engine or flavour.engine in when.engine) and (not when.task or flavour.task in when.task)
        for when in conditions
        if _fits(when.paths, path)
    )


def _fits(patterns: tuple[str, ...], path: str) -> bool:
    return any(matches(pattern, path) for pattern in patterns)
