"""Arrays of many samples on disk: written row by row and read in pieces, so that memory does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError
from toolkit.core.ports import Array

_PIECE_BYTES = 1 << 24


class RowWriter:
    """Writes an ``.npy`` of a known number of rows, one at a time; shape and dtype are those of the first."""

    def __init__(self, path: Path, name: str, count: int) -> None:
        self._path = path
        self._name = name
        self._count = count
        self._like: Array | None = None
        self._file = path.open("wb")

    def add(self, row: Array) -> None:
        """Append a row.

        Raises:
            ModelError: its shape or dtype is not that of the rows before.
        """
        plain = np.ascontiguousarray(row, np.float32 if row.dtype.kind == "V" else row.dtype)  # V: bfloat16 and kin
        if self._like is None:
            self._like = plain
            np.lib.format.write_array_header_2_0(  # type: ignore[no-untyped-call]
                self._file,
                {
                    "descr": plain.dtype.str,
                    "fortran_order": False,
                    "shape": (self._count, *plain.shape),
                },
            )
        if plain.shape != self._like.shape or plain.dtype != self._like.dtype:
            raise ModelError(
                f"The output {self._name!r} changes from {self._like.dtype} {list(self._like.shape)} to "
                f"{plain.dtype} {list(plain.shape)} between samples.",
                hint="Only outputs of one size can be compared.",
            )
        self._file.write(plain.tobytes())

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def open_rows(path: Path) -> NDArray[Any]:
    """Map an array of :class:`RowWriter` for reading."""
    rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return rows


def pieces(rows: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of the first axis of about 16 MB each."""
    row_bytes = max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)
    step = max(1, _PIECE_BYTES // row_bytes)
    for start in range(0, len(rows), step):
        yield slice(start, start + step)
