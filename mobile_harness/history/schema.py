"""The JSON Schema of an exported run, made from the record's own types so that the two cannot part.

Draft 2020-12. It is published as ``docs/run.schema.json``; ``palmtop history schema`` prints it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Literal

from mobile_harness.records import RunRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]},
    type(None): {"type": "null"},
    Path: {"type": "string"},
}


def run_schema() -> dict[str, Any]:
    """Return the schema of :class:`mobile_harness.records.RunRecord` as ``palmtop history export`` writes it."""
    parts: dict[str, Any] = {}
    top = _shape(RunRecord, parts)
    return {
        "$schema": DIALECT,
        "title": "A run of palmtop",
        "description": "One matrix of builds and devices, as `palmtop history export` writes it. "
        "Times are nanoseconds, memory kilobytes of 1024 bytes.",
        **top,
        "$defs": dict(sorted(parts.items())),
    }


def _shape(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _reference(kind, parts)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_shape(one, parts) for one in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _shape(inner[1], parts)}
    if origin is tuple and inner[-1:] == (Ellipsis,):
        return {"type": "array", "items": _shape(inner[0], parts)}
    if origin is tuple:
        items = [_shape(one, parts) for one in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    raise AssertionError(f"records hold no {kind}")


def _reference(kind: type, parts: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in parts:
        parts[name] = {}  # so that a value that holds its own kind ends
        hints = typing.get_type_hints(kind)
        fields = dataclasses.fields(kind)
        needed = [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        parts[name] = {
            "type": "object",
            "properties": {field.name: _shape(hints[field.name], parts) for field in fields},
            "required": needed,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}
