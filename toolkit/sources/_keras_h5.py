"""Keras models in HDF5 (``.h5``, ``.hdf5``), as Keras 2 wrote them: their first bytes, and their configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolkit.sources.base import TOO_BIG, cannot_read, one_line

SUFFIXES = (".h5", ".hdf5")
LIMIT_BYTES = 2 << 30
MAGIC = b"\x89HDF\r\n\x1a\n"

_END_AT = {0: 40, 1: 44, 2: 28, 3: 28}
"""Where each version of the superblock keeps the file's length (HDF5 file format specification, section II.A)."""
_CALLS = ("math.", "nn.", "__operators__.")
_BARE_CALLS = ("cast", "concat", "expand_dims", "identity", "ones_like", "pad", "reshape", "shape", "split", "squeeze",
               "stack", "strided_slice", "tile", "transpose", "unstack", "where", "zeros_like")  # fmt: skip


def fault(path: Path) -> str | None:
    """Look at the superblock: None when it may be an HDF5 file of full length, else what is wrong."""
    with path.open("rb") as file:
        head = file.read(96)
    if not head.startswith(MAGIC):
        return "it is not an HDF5 file"
    place = _END_AT.get(head[8]) if len(head) == 96 else None
    if place is None:
        return "it is a damaged HDF5 file"
    length, size = int.from_bytes(head[place : place + 8], "little"), path.stat().st_size
    if size > LIMIT_BYTES:
        return f"it is larger {TOO_BIG}, the most that mobile formats hold"
    return None if length <= size else f"it is cut short: it needs {length:,} bytes and has {size:,}"


def config_of(path: Path, hint: str) -> Any:
    """Return the parsed configuration of the model.

    Raises:
        ModelError: the file is damaged, or holds weights alone.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise cannot_read(path, f"it is a damaged HDF5 file ({one_line(error)})", "Copy the file again.") from error
    if text is None:
        raise cannot_read(path, "it holds weights without the model they belong to", hint)
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise cannot_read(path, f"its model_config is damaged ({one_line(error)})", hint) from error


def check_call(path: Path, item: dict[str, Any]) -> None:
    """Refuse a layer that calls a TensorFlow function other than arithmetic; any name in TensorFlow could stand there.

    Raises:
        ModelError: the function is not a known one.
    """
    config = item.get("config")
    name = str(config.get("function", "")) if isinstance(config, dict) else ""
    if item.get("class_name") == "SlicingOpLambda" or name in _BARE_CALLS or name.startswith(_CALLS):
        return
    raise cannot_read(
        path,
        f"a layer calls the TensorFlow function {name[:80]!r}, and palmtop lets a file call arithmetic alone",
        "Replace it by a built-in layer and save the model again.",
    )


def load_old(path: Path) -> Any:
    """Load a file that Keras 3 cannot read with Keras 2 (the package tf-keras), if it is installed.

    Raises:
        ImportError: it is not.
    """
    import tf_keras

    return tf_keras.models.load_model(path, compile=False)
