"""Values to JSON and back, strictly: an unknown key is an error that names it. Canonical text for hashing."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.core.errors import SettingsError

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")


@functools.cache
def converter() -> cattrs.Converter:
    """Return the one converter of the house: strict keys, paths as text, non-finite numbers as words.

    It is made when it is first needed: many a process only imports the values that it would read.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter(forbid_extra_keys=True, detailed_validation=True)
    made.register_unstructure_hook(Path, str)
    made.register_structure_hook(Path, lambda value, _: Path(_read_str(value, str)))
    made.register_unstructure_hook(float, _plain_float)
    made.register_structure_hook(float, _read_float)
    made.register_structure_hook(bool, _read_bool)
    made.register_structure_hook(int, _read_int)
    made.register_structure_hook(str, _read_str)
    made.register_structure_hook_factory(_is_long_tuple, _list_reader)
    return made


def _is_long_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1:] == (Ellipsis,)


def _list_reader(kind: Any, made: cattrs.Converter) -> Callable[[Any, Any], tuple[Any, ...]]:
    """Make the reader of a ``tuple[T, ...]``, which must not take the text ``"abc"`` for three letters."""
    from cattrs.cols import list_structure_factory

    read = list_structure_factory(kind, made)
    of_whole_numbers = typing.get_args(kind)[0] is int

    def read_tuple(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{value!r} is not a list")
        if of_whole_numbers and set(map(type, value)) <= {int}:
            return tuple(value)  # thousands of latencies: nothing is left to check
        return tuple(read(value, kind))

    return read_tuple


def _plain_float(value: float) -> float | str:
    return value if math.isfinite(value) else repr(float(value))


def _read_float(value: Any, _: type) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is not a number")
    if isinstance(value, str) and value not in ("inf", "-inf", "nan"):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _read_bool(value: Any, _: type) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return bool(value)


def _read_int(value: Any, _: type) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return int(value)


def _read_str(value: Any, _: type) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return str(value)


def unstructure(value: Any) -> Any:
    """Turn a frozen value into plain dictionaries, lists, numbers and text."""
    return converter().unstructure(value)


def structure(plain: Any, kind: type[T], *, what: str) -> T:
    """Turn plain data into a frozen value.

    Args:
        plain: what ``json`` or ``tomllib`` returned.
        kind: the dataclass to make.
        what: the words for the thing in the error message, such as ``recipe my.toml``.

    Raises:
        SettingsError: a key is unknown or missing, or a value has the wrong type; all faults are named.
    """
    import cattrs

    try:
        return converter().structure(plain, kind)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, *_FOREIGN) as error:
        faults = _faults(error, plain, kind)
        raise SettingsError(f"The {what} is not valid: {'; '.join(faults)}.") from error


_FOREIGN = (TypeError, ValueError, AttributeError)
"""What plain data of the wrong shape makes the converter raise: a list for a table is an ``AttributeError``."""


def _faults(error: Exception, plain: Any, kind: Any) -> list[str]:
    import cattrs

    if not isinstance(error, cattrs.BaseValidationError):
        return [_say(error, None)]
    faults = cattrs.transform_error(error, format_exception=_say)
    return [_with_nearest(fault, kind) for fault in faults]


def _say(error: BaseException, kind: type | None) -> str:
    import cattrs

    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown key {', '.join(sorted(map(repr, error.extra_fields)))}"
    if isinstance(error, AttributeError):
        return f"{type(error.obj).__name__} given where a table of keys belongs"
    return str(error) or type(error).__name__


def _with_nearest(fault: str, kind: Any) -> str:
    inner = _kind_at(kind, fault.rpartition(" @ $")[2])
    if not fault.startswith("unknown key") or not dataclasses.is_dataclass(inner):
        return fault
    known = [field.name for field in dataclasses.fields(inner)]
    near = difflib.get_close_matches(fault.split("'")[1], known, n=1, cutoff=0.5)
    return f"{fault} (did you mean {near[0]!r}?)" if near else fault


def _kind_at(kind: Any, path: str) -> Any:
    """Return the type that stands at a path such as ``.builds[0].signature`` inside a dataclass."""
    for step in re.findall(r"\.(\w+)|\[", path):
        if step and dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(step)  # None: another of a union's types has it
        options = [one for one in typing.get_args(kind) if one not in (type(None), Ellipsis)]
        if typing.get_origin(kind) in (types.UnionType, typing.Union) or not step:
            kind = options[-1] if options else kind
    return kind


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII. Equal values give equal bytes."""
    return json.dumps(unstructure(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def pretty(value: Any) -> str:
    """Return JSON for people: indented, keys in the order of the fields, ending in a newline."""
    return json.dumps(unstructure(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
