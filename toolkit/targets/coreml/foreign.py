"""Bring coremltools in, in a child process, without what it would drag along or leave behind."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from toolkit.core.frameworks import absent, import_tensorflow

_OPTIONAL = ("tensorflow", "torch", "torchvision", "sklearn", "xgboost", "libsvm")


def coremltools(*, tensorflow: bool) -> ModuleType:
    """Import coremltools, with its TensorFlow front end or without any front end.

    coremltools imports every framework it finds, which costs ten seconds and a gigabyte.
    """
    if tensorflow:
        import_tensorflow(keras=False)
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with absent(_OPTIONAL):
        return importlib.import_module("coremltools")


@contextmanager
def unchecked() -> Iterator[None]:
    """Let coremltools not check a whole program again after each of its hundred passes, two fifths of their time.

    Conversions are executed and held against their form, and every package is read again by palmtop's own reader, which
    refuses a value that is used before it exists.
    """
    module = importlib.import_module("coremltools.converters.mil.mil.program")
    theirs = module.Program.validate
    module.Program.validate = lambda *_, **__: None
    try:
        yield
    finally:
        module.Program.validate = theirs


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
