"""Bring coremltools in, in a child process, without what it would drag along or leave behind."""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_OPTIONAL = ("tensorflow", "torch", "torchvision", "sklearn", "xgboost", "libsvm")


def coremltools(*, tensorflow: bool) -> ModuleType:
    """Import coremltools, with its TensorFlow front end or without any front end.

    coremltools imports every framework it finds, which costs ten seconds and a gigabyte. While it is imported, those
    that are not wanted are marked as absent in ``sys.modules`` (None makes their import fail, as Python documents).
    """
    hidden = [name for name in _OPTIONAL if name not in sys.modules and not (tensorflow and name == "tensorflow")]
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        return importlib.import_module("coremltools")
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Let coremltools put its temporary packages where they vanish: it cleans up only at a normal exit."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="palmtop-coreml-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
