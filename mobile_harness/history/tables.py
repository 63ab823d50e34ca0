"""The tables as they stand after the newest migration, and the rows that records become."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mobile_harness.records import Cell, RunRecord, Session
from toolkit.core import codec

CELL_ID_MAX = 300
OUTCOMES = ("measured", "failed", "skipped")

_META = sa.MetaData()
RUNS = sa.Table(
    "runs",
    _META,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("created_utc", sa.String(40), nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
SUMMARIES = sa.Table(
    "summaries",
    _META,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("created_utc", sa.String(40), nullable=False),
    sa.Column("cells", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Integer, nullable=False) for name in OUTCOMES),
    sa.Column("words", sa.Text, nullable=False),
)
CELLS = sa.Table(
    "cells",
    _META,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("cell_id", sa.String(CELL_ID_MAX), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("build_id", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
)
SESSIONS = sa.Table(
    "sessions",
    _META,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("cell_id", sa.String(CELL_ID_MAX), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("record", sa.Text, nullable=False),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A line of the history. ``complete`` says that every cell ended as measured or failed.

    ``damaged`` says that the run's own words could not be read; they are empty then, and reading it names the fault.
    """

    id: str
    created_utc: str
    model: str
    plan: str
    build_dir: str
    devices: tuple[str, ...]
    measured: int
    failed: int
    cells: int
    complete: bool
    damaged: bool = False


def place_of(cell: Cell) -> str:
    """Return where a cell was measured, as ``--device`` takes it: ``transport:serial``."""
    return f"{cell.device.transport}:{cell.device.serial}"


def text_of(value: Any) -> str:
    """Return the JSON of a value in one line, ASCII only: every database keeps that."""
    return json.dumps(codec.unstructure(value), separators=(",", ":"), allow_nan=False)


def storable(text: str) -> str:
    """Return a name as every database takes it: without NUL and half characters."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


def run_row(record: RunRecord) -> dict[str, Any]:
    """Return the row of a run; its cells have rows of their own."""
    head = text_of(dataclasses.replace(record, cells=()))
    return {"id": record.id, "created_utc": record.created_utc, "record": head}


def summary_row(record: RunRecord) -> dict[str, Any]:
    """Return the row that lists a run."""
    words = {
        "model": record.manifest.source.name,
        "plan": record.plan.name,
        "build_dir": record.build_dir,
        "devices": list(dict.fromkeys(map(place_of, record.cells))),
    }
    counts = counts_of([cell.outcome for cell in record.cells])
    return {"run_id": record.id, "created_utc": record.created_utc, **counts, "words": json.dumps(words)}


def counts_of(outcomes: Sequence[str]) -> dict[str, int]:
    """Return how many cells there are, and how many ended how."""
    return {"cells": len(outcomes), **{name: outcomes.count(name) for name in OUTCOMES}}


def cell_row(cell: Cell, position: int) -> dict[str, Any]:
    """Return the row of a cell; its sessions have rows of their own."""
    return {
        "run_id": cell.run_id,
        "cell_id": cell.id,
        "position": position,
        "outcome": cell.outcome,
        "record": text_of(dataclasses.replace(cell, sessions=())),
        "build_id": storable(cell.build_id),
        "place": storable(place_of(cell)),
    }


def session_row(cell: Cell, session: Session) -> dict[str, Any]:
    """Return the row of a session."""
    return {"run_id": cell.run_id, "cell_id": cell.id, "position": session.index, "record": text_of(session)}


@functools.lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, str, str, tuple[str, ...]] | None:
    """Return model, plan, folder and devices of a summary, None for a damaged one. Most runs share them."""
    try:
        words = json.loads(text)
        return str(words["model"]), str(words["plan"]), str(words["build_dir"]), tuple(map(str, words["devices"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def model_of(words: str) -> str:
    """Return the name of the model from the words of a summary; empty where they are damaged."""
    return (_words(words) or ("",))[0]


def unreadable(run_id: str) -> RunSummary:
    """Return the line of a run of which nothing but its id reads."""
    return RunSummary(
        id=run_id,
        created_utc="",
        model="",
        plan="",
        build_dir="",
        devices=(),
        measured=0,
        failed=0,
        cells=0,
        complete=False,
        damaged=True,
    )


def summary_of(row: Any) -> RunSummary:
    """Turn a row of the summaries into a line of the history."""
    run_id, created_utc, cells, measured, failed, skipped, text = row
    words = _words(text)
    model, plan, folder, devices = words or ("", "", "", ())
    return RunSummary(
        id=run_id,
        created_utc=created_utc,
        model=model,
        plan=plan,
        build_dir=folder,
        devices=devices,
        measured=measured,
        failed=failed,
        cells=cells,
        complete=skipped == 0,
        damaged=words is None,
    )
