"""Makes ``docs/wire.schema.json`` from the records as the parser reads them: ``python tests/wire_schema.py``."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from mobile_harness.wire import messages

PLACE = Path(__file__).parents[1] / "docs" / "wire.schema.json"
REFERENCES: dict[Any, str] = {str: "text", int: "whole", float: "real"}
SHARED = {
    "text": {"type": "string", "maxLength": 1000},
    "whole": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "count": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "real": {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]},
}


def schema() -> dict[str, Any]:
    """Return the whole schema."""
    conditions = [
        {"if": {"properties": {"t": {"const": word}}}, "then": {"$ref": f"#/$defs/{word}"}} for word in messages.KINDS
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of palmtop-bench/1",
        "description": "One line of a result file; docs/wire.md says when each is written and what it means. Unknown "
        "kinds and fields are allowed. Nesting, and latencies as such, are bounded beyond what a schema can say.",
        "type": "object",
        "required": ["t", "s", "ns"],
        "properties": {"t": {"$ref": "#/$defs/text"}, "s": {"$ref": "#/$defs/count"}, "ns": {"$ref": "#/$defs/count"}},
        "allOf": conditions,
        "$defs": {**SHARED, **{word: _record(word, kind) for word, kind in messages.KINDS.items()}},
    }


def _record(word: str, kind: type[Any]) -> dict[str, Any]:
    described = {"description": " ".join((kind.__doc__ or "").replace("``", "").split()), **_object(kind)}
    if word == "samples":
        described["properties"]["dns"].update(minItems=1, maxItems=messages.SAMPLES_MAX)
    return described


def _object(kind: type[Any]) -> dict[str, Any]:
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)
    return {
        "type": "object",
        "properties": {field.name: _kind(hints[field.name], _is_count(kind, field.name)) for field in fields},
        "required": [one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING],
    }


def _is_count(kind: type[Any], name: str) -> bool:
    """Ask the parser itself whether a number below zero is refused."""
    sample = {field.name: _sample(kind, field) for field in dataclasses.fields(kind)}
    try:
        messages._check(kind(**{**sample, name: -1}))
    except (messages.Malformed, TypeError):
        return isinstance(sample[name], int) or sample[name] is None
    return False


def _sample(kind: type[Any], field: Any) -> Any:
    hint = typing.get_type_hints(kind)[field.name]
    return {int: 1, float: 1.0, str: "", bool: True}.get(hint, (1,) if hint == tuple[int, ...] else None)


def _kind(hint: Any, count: bool) -> dict[str, Any]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_kind(inner[0], count), {"type": "null"}]}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin is tuple:
        return {"type": "array", "items": _kind(inner[0], False), "maxItems": 256}
    if origin is dict:
        return {"type": "object", "additionalProperties": _kind(inner[1], False), "maxProperties": 256}
    if dataclasses.is_dataclass(hint):
        return _object(hint)
    if hint is bool:
        return {"type": "boolean"}
    return {"$ref": f"#/$defs/{'count' if hint is int and count else REFERENCES[hint]}"}


def text() -> str:
    """Return the file's text."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
