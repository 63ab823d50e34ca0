"""Runs, cells and sessions, each as the JSON of its value.

Stores of before there were migrations hold these tables already; they stay as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables that are not there."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_utc", sa.String(40), nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "cells",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("cell_id", sa.String(300), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "sessions",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("cell_id", sa.String(300), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("record", sa.Text, nullable=False),
        if_not_exists=True,
    )
