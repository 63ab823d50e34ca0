"""The statistics of a calibration pass as a file, so that one more range method needs no further run of the model.

An ``.npz``: arrays of one row a tensor, and for what differs in length all tensors end to end with their lengths.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import OutputError
from toolkit.ranges.base import Seen

_WHOLE = ("samples", "elements", "zeros", "at_low", "at_high", "first")
_REAL = ("low", "high", "average_low", "average_high", "width")
_LONG = ("counts", "history", "still_channels", "still_values")


def save(seen: Sequence[Seen], path: Path) -> None:
    """Write the statistics of all tensors."""
    names = json.dumps([one.tensor for one in seen]).encode()
    arrays: dict[str, Any] = {
        "names": np.frombuffer(names, np.uint8),
        "whole": np.array([[getattr(one, field) for field in _WHOLE] for one in seen], np.int64),
        "real": np.array([[getattr(one, field) for field in _REAL] for one in seen], np.float64),
    }
    for field in _LONG:
        parts = [getattr(one, field) for one in seen]
        arrays[field] = np.concatenate(parts)
        arrays[f"{field}_length"] = np.array([len(part) for part in parts], np.int64)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load(path: Path) -> tuple[Seen, ...]:
    """Read the statistics of all tensors.

    Raises:
        OutputError: the file is gone or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = json.loads(arrays["names"].tobytes())
            whole, real = arrays["whole"].tolist(), arrays["real"].tolist()
            long = {field: _parts(arrays[field], arrays[f"{field}_length"]) for field in _LONG}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise OutputError(f"Cannot read the cached {path}: {error}.", hint="Remove it and run again.") from error
    return tuple(
        Seen(
            tensor=name,
            **dict(zip(_WHOLE, whole[row], strict=True)),
            **dict(zip(_REAL, real[row], strict=True)),
            **{field: parts[row] for field, parts in long.items()},
        )
        for row, name in enumerate(names)
    )


def _parts(joined: Any, lengths: Any) -> list[Any]:
    return np.split(joined, np.cumsum(lengths)[:-1])
