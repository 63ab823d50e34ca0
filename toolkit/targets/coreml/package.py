"""Open an ``.mlpackage`` folder that may come from anywhere: nothing outside it is ever read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.core.errors import ModelError

_MANIFEST_BYTES = 1 << 20
_CONVERT = "Convert the model to an ML Program (`.mlpackage`), for instance with `palmtop quantize`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An opened package: its folder, and the file with the model's specification."""

    root: Path
    specification: Path

    def weight_file(self, name: str) -> Path:
        """Return the file that the program calls ``name``, such as ``@model_path/weights/weight.bin``.

        Raises:
            ModelError: it is missing, or lies outside the package.
        """
        inner = name.removeprefix("@model_path/")
        path = _inside(self.root, self.specification.parent, inner)
        if not path.is_file():
            raise ModelError(f"{self.root} lacks its weights {inner!r}.", hint="Copy the package again, all of it.")
        return path


def open_package(path: Path) -> Package:
    """Read the manifest of a package.

    Raises:
        ModelError: it is an older or compiled format, is no package, or is damaged; the message says which.
    """
    _refuse_other_formats(path)
    items, root_item = _read_manifest(path / "Manifest.json")
    if root_item not in items:
        raise ModelError(f"{path}: the manifest does not say which item is the model.", hint="The package is damaged.")
    specification = _inside(path, path / "Data", items[root_item])
    if not specification.is_file():
        raise ModelError(f"{path} lacks its model {items[root_item]!r}.", hint="Copy the package again, all of it.")
    return Package(root=path, specification=specification)


def _refuse_other_formats(path: Path) -> None:
    if not path.exists():
        raise ModelError(f"There is no {path}.", hint="Check the path.")
    if path.suffix == ".mlmodelc" or (path / "coremldata.bin").exists():
        raise ModelError(f"{path} is a compiled Core ML model, which only Apple's runtime reads.", hint=_CONVERT)
    if path.suffix == ".mlmodel":
        raise ModelError(f"{path} is an old-format Core ML model, not an ML Program.", hint=_CONVERT)
    if not path.is_dir() or not (path / "Manifest.json").is_file():
        raise ModelError(f"{path} is no Core ML package: it holds no Manifest.json.", hint=_CONVERT)


def _read_manifest(path: Path) -> tuple[dict[str, str], str]:
    if path.stat().st_size > _MANIFEST_BYTES:
        raise ModelError(f"{path} is too large for a manifest.", hint="The package is damaged.")
    try:
        plain: Any = json.loads(path.read_text(encoding="utf-8"))
        items = {str(key): str(entry["path"]) for key, entry in plain["itemInfoEntries"].items()}
        return items, str(plain["rootModelIdentifier"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not a manifest of a Core ML package.", hint="The package is damaged.") from error


def _inside(root: Path, base: Path, inner: str) -> Path:
    pure = PurePosixPath(inner)
    path = base / pure
    leaves = pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in inner
    if leaves or not path.resolve().is_relative_to(root.resolve()):
        raise ModelError(f"{root} names the path {inner!r}, which leaves the package.", hint="Do not trust this file.")
    return path
