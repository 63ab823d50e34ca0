"""A run as a file: versioned JSON, read back with the distrust that a file of unknown origin deserves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mobile_harness.history.tables import CELL_ID_MAX
from mobile_harness.records import SCHEMA, Cell, RunRecord
from toolkit.core import codec
from toolkit.core.errors import BadInput, SettingsError

IMPORT_MAX_BYTES = 512 << 20
_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{4}-[0-9a-f]{4}")
_TIME = re.compile(r"[0-9][0-9T:.+Z-]{0,39}")
_WHOLE_MAX = (1 << 63) - 1
_INDEX_MAX = (1 << 31) - 1
_NO_RUN_HINT = "It is no run that `palmtop history export` wrote."
_EXPORT_HINT = "`palmtop history export RUN -o FILE` writes one."


def read_export(path: Path) -> RunRecord:
    """Read a run from the JSON file that ``palmtop history export`` wrote.

    Raises:
        BadInput: it cannot be read or is no run.
    """
    try:
        if path.stat().st_size > IMPORT_MAX_BYTES:
            raise BadInput(f"{path} is larger than {IMPORT_MAX_BYTES} bytes.", hint="It is no run of palmtop's.")
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"Cannot read the run in {path}: {error}", hint=_EXPORT_HINT) from error
    return record_of(plain, what=f"run in {path}")


def record_of(plain: Any, *, what: str) -> RunRecord:
    """Turn the JSON of a run into the run.

    Raises:
        BadInput: it is no run, is damaged, contradicts itself, or is of a newer palmtop.
    """
    _refuse_foreign(plain, what)
    try:
        record = codec.structure(_with_kinds(plain), RunRecord, what=what)
    except SettingsError as error:
        writer = plain.get("palmtop")
        if isinstance(writer, str) and _numbers(writer) > _numbers(version("palmtop")):
            words = f"The {what} was written by palmtop {writer[:40]}, which is newer than this one: {error.message}"
            raise BadInput(words, hint="Update palmtop.") from error
        raise BadInput(error.message, hint=_NO_RUN_HINT) from error
    fault = next(_faults(record, plain), None)
    if fault is not None:
        raise BadInput(f"The {what} is no run of palmtop's: {fault}.", hint=_NO_RUN_HINT)
    return record


def cell_of(plain: dict[str, Any], *, what: str) -> Cell:
    """Turn the JSON of a measured cell into the cell.

    Raises:
        BadInput: it is damaged or contradicts itself.
    """
    try:
        cell = codec.structure(_cell_with_kinds(plain), Cell, what=what)
    except SettingsError as error:
        raise BadInput(error.message, hint=_NO_RUN_HINT) from error
    fault = next(_cell_faults(cell, cell.run_id), None)
    if fault is not None:
        raise BadInput(f"The {what} is no run of palmtop's: its cell {cell.id[:80]!r} {fault}.", hint=_NO_RUN_HINT)
    return cell


def _refuse_foreign(plain: Any, what: str) -> None:
    """Name what the thing is instead, where that can be told."""
    if not isinstance(plain, dict):
        words = f"The {what} is no run of palmtop's: it is a JSON {type(plain).__name__}, not a table of keys."
        raise BadInput(words, hint=_NO_RUN_HINT)
    others = {
        "a report of `palmtop report -f json`": {"rows", "headline"},
        "a comparison of `palmtop compare -f json`": {"base", "head", "cells"},
        "a `build.json`": {"source", "builds", "preprocess"},
    }
    for name, keys in others.items():
        if keys <= plain.keys():
            raise BadInput(f"The {what} is {name}, not an exported run.", hint=_EXPORT_HINT)
    schema = plain.get("schema")
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise BadInput(f"The {what} is of schema {schema}; this palmtop reads up to {SCHEMA}.", hint="Update palmtop.")
    if isinstance(schema, int) and schema < SCHEMA:
        raise BadInput(f"The {what} is of schema {schema}, which no palmtop wrote.", hint=_NO_RUN_HINT)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", name)[:3])


def _faults(record: RunRecord, plain: Any) -> Iterator[str]:
    """Yield what no run of ours has; the types fit. Ids become names of files, and figures go into logarithms."""
    if not _RUN_ID.fullmatch(record.id):
        yield f"its id {record.id[:80]!r} is not such as 20261123-0041-7f3a"
    if not _TIME.fullmatch(record.created_utc):
        yield f"its time {record.created_utc[:80]!r} is none"
    if _largest(plain) > _WHOLE_MAX:
        yield "it holds a number of more than 64 bits"
    ids = [cell.id for cell in record.cells]
    if len(set(ids)) < len(ids):
        yield "two of its cells have one id"
    for cell in record.cells:
        yield from (f"its cell {cell.id[:80]!r} {fault}" for fault in _cell_faults(cell, record.id))


def _cell_faults(cell: Cell, run_id: str) -> Iterator[str]:
    if not 0 < len(cell.id) <= CELL_ID_MAX or "\0" in cell.id or any("\ud800" <= sign <= "\udfff" for sign in cell.id):
        yield "has no usable id"
    if cell.run_id != run_id:
        yield f"is of the run {cell.run_id[:80]!r}"
    if cell.outcome == "measured" and not cell.sessions:
        yield "is measured without a session"
    if cell.size_bytes < 0:
        yield "has a negative size"
    indices = [session.index for session in cell.sessions]
    if len(set(indices)) < len(indices) or not 0 <= min(indices, default=0) <= max(indices, default=0) <= _INDEX_MAX:
        yield "has sessions that are not numbered each by its own"
    for session in cell.sessions:
        told = 0 if session.aggregate is None else session.aggregate.average_ns
        times = (*session.latency_ns, session.load_cold_ns, session.load_warm_ns, session.first_ns, told)
        if not (session.latency_ns or session.aggregate) or min(times) < 0 or session.runs < 0 or session.stride < 1:
            yield f"has a session {session.index} without latencies, or with a negative time or count"


def _largest(plain: Any) -> int:
    """Return the largest magnitude of all whole numbers in a JSON value."""
    if isinstance(plain, dict | list):
        return max(map(_largest, plain.values() if isinstance(plain, dict) else plain), default=0)
    return abs(plain) if isinstance(plain, int) else 0


def _with_kinds(plain: dict[str, Any]) -> dict[str, Any]:
    """Give the doubts of old records, which are bare sentences, the empty kind; what is no run passes untouched."""
    cells = plain.get("cells")
    if not isinstance(cells, list):
        return plain
    return {**plain, "cells": [_cell_with_kinds(cell) for cell in cells]}


def _cell_with_kinds(cell: Any) -> Any:
    doubts = cell.get("doubts") if isinstance(cell, dict) else None
    if not isinstance(doubts, list):
        return cell
    return {**cell, "doubts": [{"kind": "", "message": doubt} if isinstance(doubt, str) else doubt for doubt in doubts]}
