"""What a list and a trend ask for stands beside the records, so that neither reads them.

A run gets a row in ``summaries``: its words as JSON, and how many of its cells ended how. It is a table of its own
because the records are long: a list of ten thousand runs would otherwise page through all of them. A cell gets the
names of its build and place, with an index. Both are filled from the stored records; a damaged record keeps empty
words and is left for reading to report.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

OUTCOMES = ("measured", "failed", "skipped")


def upgrade() -> None:
    """Make the table, the columns and the indices, and fill them."""
    summaries = op.create_table(
        "summaries",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("created_utc", sa.String(40), nullable=False),
        sa.Column("cells", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in OUTCOMES),
        sa.Column("words", sa.Text, nullable=False),
    )
    for name in ("build_id", "place"):
        op.add_column("cells", sa.Column(name, sa.Text, nullable=False, server_default=""))
    link = op.get_bind()
    for run_id, created_utc in link.execute(sa.select(_RUNS.c.id, _RUNS.c.created_utc)).all():
        link.execute(summaries.insert(), [_summary(link, str(run_id), str(created_utc))])
    op.create_index("summaries_by_time", "summaries", ["created_utc", "run_id"])
    op.create_index("cells_by_build", "cells", ["build_id", "place", "run_id"])


_RUNS = sa.table("runs", sa.column("id"), sa.column("created_utc"), sa.column("record"))
_CELLS = sa.table(
    "cells",
    *map(sa.column, ("run_id", "cell_id", "position", "outcome", "record", "build_id", "place")),
)


def _summary(link: sa.Connection, run_id: str, created_utc: str) -> dict[str, Any]:
    (record,) = link.execute(sa.select(_RUNS.c.record).where(_RUNS.c.id == run_id)).one()
    cells = link.execute(
        sa.select(_CELLS.c.cell_id, _CELLS.c.outcome, _CELLS.c.record)
        .where(_CELLS.c.run_id == run_id)
        .order_by(_CELLS.c.position)
    ).all()
    places = [_name_cell(link, run_id, str(cell_id), _plain(str(text))) for cell_id, _, text in cells]
    outcomes = [outcome for _, outcome, _ in cells]
    return {
        "run_id": run_id,
        "created_utc": created_utc,
        "cells": len(cells),
        **{name: outcomes.count(name) for name in OUTCOMES},
        "words": _words(_plain(str(record)), list(dict.fromkeys(filter(None, places)))),
    }


def _name_cell(link: sa.Connection, run_id: str, cell_id: str, cell: dict[str, Any]) -> str:
    """Fill the names of a cell and return where it was measured; empty for a damaged one."""
    device = cell.get("device")
    if not isinstance(device, dict):
        return ""
    place = f"{device.get('transport')}:{device.get('serial')}"
    link.execute(
        sa.update(_CELLS)
        .where(_CELLS.c.run_id == run_id, _CELLS.c.cell_id == cell_id)
        .values(build_id=_storable(str(cell.get("build_id", ""))), place=_storable(place))
    )
    return place


def _plain(text: str) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return {}  # reading the run reports it
    return plain if isinstance(plain, dict) else {}


def _words(head: dict[str, Any], places: Sequence[str]) -> str:
    try:
        words = {
            "model": str(head["manifest"]["source"]["name"]),
            "plan": str(head["plan"]["name"]),
            "build_dir": str(head["build_dir"]),
            "devices": places,
        }
    except (KeyError, TypeError):
        return ""
    return json.dumps(words)


def _storable(text: str) -> str:
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")
