"""Values to JSON and back, strictly: an unknown key is an error that names it. Canonical text for hashing."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.preconf.json import make_converter

from toolkit.core.errors import SettingsError

T = TypeVar("T")


@functools.cache
def converter() -> cattrs.Converter:
    """Return the one converter of the house: strict keys, paths as text, non-finite numbers as words."""
    made = make_converter(forbid_extra_keys=True, detailed_validation=True)
    made.register_unstructure_hook(Path, str)
    made.register_structure_hook(Path, lambda value, _: Path(str(value)))
    made.register_unstructure_hook(float, _plain_float)
    made.register_structure_hook(float, _read_float)
    made.register_structure_hook(bool, _read_bool)
    made.register_structure_hook(int, _read_int)
    made.register_structure_hook(str, _read_str)
    return made


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
    try:
        return converter().structure(plain, kind)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, TypeError, ValueError) as error:
        faults = _faults(error, plain, kind)
        raise SettingsError(f"The {what} is not valid: {'; '.join(faults)}.") from error


def _faults(error: Exception, plain: Any, kind: Any) -> list[str]:
    if not isinstance(error, cattrs.BaseValidationError):
        return [str(error)]
    faults = cattrs.transform_error(error, format_exception=_say)
    return [_with_nearest(fault, kind) for fault in faults]


def _say(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown key {', '.join(sorted(map(repr, error.extra_fields)))}"
    return str(error) or type(error).__name__


def _with_nearest(fault: str, kind: Any) -> str:
    if not fault.startswith("unknown key") or not dataclasses.is_dataclass(kind):
        return fault
    known = [field.name for field in dataclasses.fields(kind)]
    near = difflib.get_close_matches(fault.split("'")[1], known, n=1, cutoff=0.5)
    return f"{fault} (did you mean {near[0]!r}?)" if near else fault


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII. Equal values give equal bytes."""
    return json.dumps(unstructure(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def pretty(value: Any) -> str:
    """Return JSON for people: indented, keys in the order of the fields, ending in a newline."""
    return json.dumps(unstructure(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
