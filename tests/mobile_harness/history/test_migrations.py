from __future__ import annotations

import dataclasses
import json

import pytest
import sqlalchemy as sa
from history_records import run, session

from mobile_harness.history import History, migrations
from mobile_harness.records import Doubt, RunRecord
from toolkit.core import codec
from toolkit.core.errors import BadInput

CELL = "run_id VARCHAR(64) NOT NULL, cell_id VARCHAR(300) NOT NULL, position INTEGER NOT NULL"
FIRST_SCHEMA = {
    "runs": "id VARCHAR(64) NOT NULL, created_utc VARCHAR(40) NOT NULL, record TEXT NOT NULL, PRIMARY KEY (id)",
    "cells": f"{CELL}, outcome VARCHAR(16) NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run_id, cell_id)",
    "sessions": f"{CELL}, record TEXT NOT NULL, PRIMARY KEY (run_id, cell_id, position)",
}
"""As stores were made before there were migrations."""


def engine_of(url: str) -> sa.Engine:
    if url.startswith("sqlite:///"):
        from pathlib import Path

        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


def measured(run_id: str) -> RunRecord:
    whole = run(run_id)
    doubts = (Doubt(kind="busy", message="Busy."),)
    first = dataclasses.replace(
        whole.cells[0], outcome="measured", failure=None, sessions=(session(0), session(1)), doubts=doubts
    )
    failed = dataclasses.replace(whole.cells[1], outcome="failed")
    return dataclasses.replace(whole, cells=(first, failed))


def store_the_old_way(link: sa.Connection, record: RunRecord) -> None:
    """Write the rows that the first version of the store wrote."""
    plain = codec.unstructure(record)
    cells = plain.pop("cells")
    rows = [("runs", {"id": record.id, "created_utc": record.created_utc, "record": {**plain, "cells": []}})]
    for position, cell in enumerate(cells):
        key = {"run_id": record.id, "cell_id": cell["id"]}
        taken = cell.pop("sessions")
        row = {**key, "position": position, "outcome": cell["outcome"], "record": {**cell, "sessions": []}}
        rows.append(("cells", row))
        rows += [("sessions", {**key, "position": one["index"], "record": one}) for one in taken]
    for table, row in rows:
        row["record"] = json.dumps(row["record"])
        names = ", ".join(row)
        link.execute(sa.text(f"insert into {table} ({names}) values ({', '.join(f':{name}' for name in row)})"), row)


@pytest.fixture
def old(url: str) -> list[RunRecord]:
    records = [measured("20261120-0041-aaaa"), measured("20261121-0041-bbbb")]
    with engine_of(url).begin() as link:
        for name, columns in FIRST_SCHEMA.items():
            link.exec_driver_sql(f"CREATE TABLE {name} ({columns})")
        for record in records:
            store_the_old_way(link, record)
    return records


def test_a_store_of_before_there_were_migrations_loses_nothing(url: str, old: list[RunRecord]) -> None:
    store = History(url)
    for record in old:
        assert codec.canonical(store.read(record.id)) == codec.canonical(record)
    listed = store.runs()
    assert [item.id for item in listed] == ["20261121-0041-bbbb", "20261120-0041-aaaa"]
    assert (listed[0].model, listed[0].plan, listed[0].devices) == ("net", "quick", ("host:1f3a90c2",))
    assert (listed[0].measured, listed[0].failed, listed[0].cells, listed[0].complete) == (1, 1, 2, True)
    assert [item.run_id for item in store.cells_of("b0").cells] == [record.id for record in old]
    store.create(run("20261123-0041-cccc"))
    assert History(url).count() == 3


def test_a_damaged_record_does_not_stop_the_migration(url: str, old: list[RunRecord]) -> None:
    with engine_of(url).begin() as link:
        link.exec_driver_sql("update runs set record = '{' where id = '20261120-0041-aaaa'")
        link.exec_driver_sql("update cells set record = '[]' where run_id = '20261120-0041-aaaa'")
    store = History(url)
    assert [item.damaged for item in store.runs()] == [False, True]
    assert store.check().sound == (old[1].id,)


def test_a_migration_that_is_stopped_leaves_the_store_as_it_was(
    url: str, old: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Operations, "create_index", stop)
        with pytest.raises(KeyboardInterrupt):
            History(url)
    assert sorted(sa.inspect(engine_of(url)).get_table_names()) == ["cells", "runs", "sessions"]
    assert History(url).count() == len(old)


def test_an_old_store_and_a_new_one_have_one_schema(url: str, old: list[RunRecord], tmp_path: object) -> None:
    History(url)
    other = f"sqlite:///{tmp_path}/new.sqlite"
    History(other)
    shapes = []
    for place in (url, other):
        seen = sa.inspect(engine_of(place))
        shapes.append(
            {
                name: (
                    {column["name"] for column in seen.get_columns(name)},
                    tuple(seen.get_pk_constraint(name)["constrained_columns"]),
                    {tuple(index["column_names"]) for index in seen.get_indexes(name)},
                )
                for name in seen.get_table_names()
            }
        )
    assert shapes[0] == shapes[1]
    assert {"runs", "cells", "sessions", "summaries", "alembic_version"} == shapes[0].keys()


def test_a_store_of_a_newer_palmtop_is_refused_untouched(url: str) -> None:
    History(url).create(run())
    with engine_of(url).begin() as link:
        link.exec_driver_sql("update alembic_version set version_num = '0999'")
    with pytest.raises(BadInput, match=r"newer palmtop .*'0999'"):
        History(url)


def test_the_newest_change_is_the_one_the_code_expects() -> None:
    from pathlib import Path

    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.HEAD]
