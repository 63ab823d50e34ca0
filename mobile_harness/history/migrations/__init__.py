"""The schema of the store, one file a change under ``versions``, brought up to date when a store is opened.

Alembic keeps the order and what each change does; ``alembic_version`` in the store says where it stands.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from toolkit.core.errors import BadInput

HEAD = "0002"
"""The newest change. A test holds it against the folder."""
_TABLE = "alembic_version"


def stands_at(link: sa.Connection) -> str | None:
    """Return the change that the store is at, None for a new one or one of before there were migrations."""
    if not sa.inspect(link).has_table(_TABLE):
        return None
    found = link.execute(sa.select(sa.column("version_num")).select_from(sa.table(_TABLE))).scalar()
    return None if found is None else str(found)


def upgrade(link: sa.Connection, *, shown: str) -> None:
    """Bring a store up to date, within the transaction that is open. Nothing happens where it is.

    Args:
        link: of the store; the caller holds its lock.
        shown: how the store is called in messages.

    Raises:
        BadInput: it is of a newer palmtop.
    """
    at = stands_at(link)
    if at == HEAD:
        return
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).parent))
    steps = list(reversed(list(scripts.walk_revisions())))
    known = [step.revision for step in steps]
    if at is not None and at not in known:
        raise BadInput(
            f"The history {shown} is of a newer palmtop (its schema is {at[:40]!r}, this one knows up to {HEAD}).",
            hint="Update palmtop, or name another store in PALMTOP_STORE.",
        )
    context = MigrationContext.configure(link)
    with Operations.context(context):
        for step in steps[known.index(at) + 1 if at is not None else 0 :]:
            step.module.upgrade()
            context.stamp(scripts, step.revision)
