"""The labels of a model in the languages of its users: a CSV with the column ``label`` and one per language tag."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.core.errors import DataError

ROWS_MAX: Final = 200_000
LABEL_MAX: Final = 1000
_BYTES_MAX: Final = 64 << 20
_TAG: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of a model, class 0 first, and by language tag the same in other words, as many in the same order."""

    names: tuple[str, ...]
    localised: dict[str, tuple[str, ...]]


def read_labels(path: Path) -> Labels:
    """Read labels and their translations; a row is a class, in the order of the model's classes.

    The file is UTF-8, with or without a byte order mark. A language that has a column must have every label.

    Raises:
        DataError: it cannot be read, has no column ``label``, a column that is no language tag or comes twice, or a
            cell is empty, too long or of more than one line; the label and the language are named.
    """
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise DataError(f"{path} is larger than {_BYTES_MAX >> 20} MB.")
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the labels in {path}: {error}.", hint="It has to be a CSV in UTF-8.") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2 or len(rows) > ROWS_MAX:
        raise DataError(
            f"{path} holds {max(len(rows) - 1, 0)} labels.", hint="A header row comes first, then a class a row."
        )
    header = _header(path, rows[0])
    columns: dict[str, list[str]] = {name: [] for name in header}
    for number, row in enumerate(rows[1:]):
        _take(path, row, number, columns)
    return Labels(
        names=tuple(columns.pop("label")),
        localised={tag: tuple(cells) for tag, cells in sorted(columns.items())},
    )


def _header(path: Path, row: list[str]) -> list[str]:
    header = [cell.strip() for cell in row]
    if "label" not in header:
        raise DataError(f"{path} has no column `label`.", hint=f"Its first row is: {', '.join(header)[:200]}.")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DataError(f"{path} has two columns {doubled[0]!r}.")
    for name in header:
        if name != "label" and not _TAG.fullmatch(name):
            raise DataError(
                f"The column {name[:60]!r} of {path} is no language tag.",
                hint="Such are de, pt-BR, sr-Latn and zh-Hans.",
            )
    return header


def _take(path: Path, row: list[str], number: int, columns: dict[str, list[str]]) -> None:
    if len(row) != len(columns):
        raise DataError(f"Class {number} of {path} has {len(row)} cells; there are {len(columns)} columns.")
    cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True)}
    for name, cell in cells.items():
        where = f"class {number}" if name == "label" else f"class {number} ({cells['label'][:60]!r}) in {name}"
        if not cell:
            raise DataError(f"The label of {where} is missing in {path}.", hint="A language has all labels or none.")
        if len(cell) > LABEL_MAX or _CONTROL.search(cell):
            raise DataError(f"The label of {where} in {path} is too long or has more than one line.")
        columns[name].append(cell)
