"""The labels of an app: from a file, from a CSV with languages, or from the data that the build was verified with."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from toolkit.apps.strings import Labels
from toolkit.core.errors import DataError
from toolkit.core.manifest import Manifest

MOST: Final = 100_000
LONGEST: Final = 200
_FILE_MAX: Final = 16 << 20


def read_lines(path: Path, what: str) -> tuple[str, ...]:
    """Read a text of one name a line.

    Raises:
        DataError: it cannot be read, is empty, or a line could not be shown on one line.
    """
    try:
        if path.stat().st_size > _FILE_MAX:
            raise DataError(f"The {what} {path} are larger than {_FILE_MAX >> 20} MiB.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The {what} {path} cannot be read: {error}.", hint="Give a UTF-8 text, one a line.") from error
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return check(tuple(lines), f"{what} {path}")


def check(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return names that can be written one a line and shown.

    Raises:
        DataError: there are none or too many, or one is empty, too long or holds control characters.
    """
    if not 0 < len(names) <= MOST:
        raise DataError(f"There are {len(names)} {what}; there may be 1 to {MOST:,}.")
    for number, name in enumerate(names, start=1):
        if not name.strip() or len(name) > LONGEST or any(_steers(letter) for letter in name):
            raise DataError(f"Number {number} of the {what} is empty, too long or holds control characters.")
    return names


def _steers(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u2029" or "\ud800" <= letter <= "\udfff"


def of_data(manifest: Manifest) -> Labels | None:
    """Return the class names of the data that a build was verified or calibrated with, where it is still there."""
    for entry in (manifest.verification, manifest.calibration):
        if entry is None:
            continue
        names = _npz_names(Path(entry.data)) if entry.format == "npz" else ()
        if entry.format == "image_folder":
            names = _folder_names(Path(entry.data))
        if names:
            return Labels(names=check(names, f"label names of {entry.data}"), localised={})
    return None


def _npz_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        with np.load(path, allow_pickle=False) as found:
            if "label_names" not in found.files:
                return ()
            names = found["label_names"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"The label names of {path} cannot be read: {error}.", hint="Give --labels FILE.") from error
    return tuple(str(name) for name in names.tolist()) if names.ndim == 1 and names.dtype.kind == "U" else ()


def _folder_names(path: Path) -> tuple[str, ...]:
    if not path.is_dir():
        return ()
    return tuple(sorted(item.name for item in path.iterdir() if item.is_dir() and not item.name.startswith(".")))
