"""``MODULE:FUNCTION``: finds a Python function that the user named, runs it, and exports the model it returns.

The only code of a user that palmtop runs, in a child process, and only because the user named it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.core.errors import ModelError
from toolkit.sources.base import cannot_read, one_line

WHAT_TO_RETURN = (
    "Return `model, (example,)`: the torch.nn.Module and a tuple of example tensors (or a dictionary of them by the "
    "names of forward's arguments); or a module that has them as `example_inputs`."
)


class Place(NamedTuple):
    """Where a function is: its file, the folder that imports start from, the module's and the function's name."""

    file: Path
    folder: Path | None
    module: str
    function: str


def place_of(path: Path) -> Place | None:
    """Find ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION`` without importing anything: None where there is no such file."""
    stem, colon, function = path.name.rpartition(":")
    if not colon or not function.isidentifier() or path.exists():
        return None
    if stem.endswith(".py"):
        file = path.with_name(stem)
        return Place(file, file.parent, file.stem, function) if file.is_file() else None
    words = stem.split(".")
    if not all(word.isidentifier() for word in words):
        return None
    own = _file_of(path.parent, words)
    if own is not None:
        return Place(own, path.parent, stem, function)
    spec = importlib.machinery.PathFinder.find_spec(words[0], sys.path)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    if len(words) == 1:
        return Place(origin, None, stem, function) if origin.suffix == ".py" else None
    found = _file_of(origin.parent, words[1:])
    return Place(found, None, stem, function) if found is not None else None


def call(place: Place) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Import the module, call the function with PyTorch seeded, and return the model with its example inputs.

    Raises:
        ModelError: the code cannot be imported, raises, or returns something else.
    """
    import torch

    if place.folder is not None:
        sys.path.insert(0, str(place.folder.resolve()))  # after PyTorch, which no file of the user's may stand in for
    torch.manual_seed(0)
    what = f"{place.file}:{place.function}"
    try:
        module = importlib.import_module(place.module)
        function = getattr(module, place.function, None)
        if not callable(function):
            raise ModelError(f"{place.file} has no function {place.function!r}.", hint="Check its name.")
        made = function()
    except ModelError:
        raise
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        line = next((frame.lineno for frame in reversed(traceback.extract_tb(error.__traceback__))
                     if Path(frame.filename).resolve() == place.file.resolve()), None)  # fmt: skip
        where = f" at line {line}" if line else ""
        raise ModelError(
            f"The function {what} failed{where}: {type(error).__name__}: {one_line(error)}.",
            hint="Run it in Python by itself first; it is called without arguments.",
        ) from error
    return _unpacked(what, made)


def exported(path: Path, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace a module by ``torch.export``.

    Raises:
        ModelError: it cannot be traced.
    """
    import torch

    try:
        return torch.export.export(model, args, kwargs, strict=False)
    except Exception as error:  # tracing runs the model's own code
        raise cannot_read(
            path,
            f"torch.export cannot trace the model: {type(error).__name__}: {one_line(error)}",
            "Make it traceable (no branching on values), or export it to ONNX yourself and give palmtop the .onnx.",
        ) from error


def _unpacked(what: str, made: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    import torch

    model, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"The function {what} returned a {type(model).__name__}, no model.", hint=WHAT_TO_RETURN)
    example = getattr(model, "example_inputs", None) if example is None else example
    if isinstance(example, torch.Tensor):
        example = (example,)
    if isinstance(example, list):
        example = tuple(example)
    named = example if isinstance(example, dict) else {}
    placed = example if isinstance(example, tuple) else ()
    values = (*placed, *named.values())
    if not values or not all(isinstance(value, torch.Tensor) for value in values):
        raise ModelError(f"The function {what} gave no example inputs.", hint=WHAT_TO_RETURN)
    return model.eval(), placed, named


def _file_of(folder: Path, words: list[str]) -> Path | None:
    base = folder.joinpath(*words)
    places = (base.with_name(f"{base.name}.py"), base / "__init__.py")
    return next((place for place in places if place.is_file()), None)
