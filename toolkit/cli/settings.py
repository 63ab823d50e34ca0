"""``palmtop.toml``: the settings of a project, found upward from the current folder and read strictly.

Each table is a frozen value here; an unknown table or key is an error that offers the nearest. A path is meant from the
folder that holds the file, whatever the current folder is. ``toolkit.cli.options.setting`` gives options their defaults
from here, so this file and the options cannot disagree.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.core import codec
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import SettingsError

FILE = "palmtop.toml"

PLACES = ("model.path", "data.calibration", "data.labelled", "quantize.out")
"""The keys that hold a path, or for data also ``package.module:function``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """``[model]``: the trained model, and sizes for inputs with unknown axes (``shapes = {x = [1, 224, 224, 3]}``)."""

    path: str | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """``[data]``: samples to calibrate on, labelled samples to verify with, and the most to calibrate on."""

    calibration: str | None = None
    labelled: str | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeSettings:
    """``[quantize]``: which builds, where to, how many at once. No targets or recipes means the usual ones."""

    targets: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    out: str | None = None
    jobs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """``[verify]``: the task metric, the output it reads, the drop allowed and the confidence of its interval."""

    metric: str | None = None
    output: str | None = None
    max_drop: float = 0.01
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """``[bench]``: the measuring plan and the devices (none: all that are attached)."""

    plan: str = "quick"
    device: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All tables of ``palmtop.toml``."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    preprocess: Preprocess = field(default_factory=Preprocess)
    quantize: QuantizeSettings = field(default_factory=QuantizeSettings)
    verify: VerifySettings = field(default_factory=VerifySettings)
    bench: BenchSettings = field(default_factory=BenchSettings)


def find(start: Path) -> Path | None:
    """Return the nearest ``palmtop.toml`` in a folder or above it."""
    return next((folder / FILE for folder in (start, *start.parents) if (folder / FILE).is_file()), None)


def load(start: Path | None = None) -> Settings:
    """Return the settings that hold in a folder (the current one unless given); without a file, the defaults.

    Raises:
        SettingsError: the file cannot be read, or holds an unknown key or a value of the wrong type.
    """
    path = find(start or Path.cwd())
    return Settings() if path is None else read(path)


def read(path: Path) -> Settings:
    """Read one ``palmtop.toml``, its paths made absolute.

    Raises:
        SettingsError: it cannot be read, or holds an unknown key or a value of the wrong type.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"Cannot read {path}: {error}.", hint="It must be a TOML file; correct or remove it."
        ) from error
    settings = codec.structure(plain, Settings, what=f"file {path}")
    for key in PLACES:
        table, _, name = key.partition(".")
        tied = _from_folder(path.parent, value_of(settings, key))
        settings = dataclasses.replace(
            settings, **{table: dataclasses.replace(getattr(settings, table), **{name: tied})}
        )
    return settings


def value_of(settings: Settings, key: str) -> Any:
    """Return the value of ``table.key``.

    >>> value_of(Settings(), "verify.max_drop")
    0.01
    """
    table, _, name = key.partition(".")
    return getattr(getattr(settings, table), name)


def all_keys() -> tuple[str, ...]:
    """Return every key as ``table.key``, in the order of the file."""
    return tuple(
        f"{table.name}.{entry.name}"
        for table in dataclasses.fields(Settings)
        for entry in dataclasses.fields(getattr(Settings(), table.name))
    )


def _from_folder(folder: Path, place: str | None) -> str | None:
    if place is None or (":" in place and not (folder / place).exists()):
        return place  # package.module:function
    return str(folder / Path(place).expanduser())
