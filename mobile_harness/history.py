"""The store of runs: each cell and session is committed as it ends, so that a run survives whatever stops it.

SQLite (write-ahead log, several processes at once) by default, any SQLAlchemy URL in ``PALMTOP_STORE`` or given. A run
is stored as planned, with every cell marked as not measured yet; sessions and ended cells replace that one by one.
Records are kept as the JSON of their frozen values, so that a store reads back exactly what was measured.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from mobile_harness.records import SCHEMA, Cell, Failure, RunRecord, Session
from toolkit.core import codec
from toolkit.core.errors import BadInput, OutputError, SettingsError, unknown_name
from toolkit.core.store import writing_to

FOLDER = ".palmtop"
FILE = "history.sqlite"
NOT_YET = Failure(kind="interrupted", message="The run stopped before this cell ended.", hint="Resume the run.")
IMPORT_MAX_BYTES = 512 << 20
_BUSY_MS = 30_000
_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{4}-[0-9a-f]{4}")
_CELL_ID_MAX = 300
_WHOLE_MAX = (1 << 63) - 1

_META = sa.MetaData()
_RUNS = sa.Table(
    "runs",
    _META,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("created_utc", sa.String(40), nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
_CELLS = sa.Table(
    "cells",
    _META,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("cell_id", sa.String(_CELL_ID_MAX), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
_SESSIONS = sa.Table(
    "sessions",
    _META,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("cell_id", sa.String(_CELL_ID_MAX), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("record", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A line of the history. ``complete`` says that every cell ended as measured or failed."""

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


def locate(store: str | None = None, near: Path | None = None) -> str:
    """Return the URL of the store: the one given, ``PALMTOP_STORE``, or ``.palmtop/history.sqlite`` of the project.

    A project is the first folder, upward from the current one and then from ``near`` (the folder of the builds), that
    holds ``.palmtop`` or ``palmtop.toml``; without any it is the current folder. What is given may also be a path.
    """
    named = store or os.environ.get("PALMTOP_STORE")
    if named:
        return named if "://" in named else f"sqlite:///{Path(named).absolute()}"
    here = Path.cwd()
    for start in (here, near.absolute() if near else here):
        for folder in (start, *start.parents):
            if (folder / FOLDER).is_dir() or (folder / "palmtop.toml").is_file():
                return f"sqlite:///{folder / FOLDER / FILE}"
    return f"sqlite:///{here / FOLDER / FILE}"


class History:
    """An open store. Methods are short transactions and may be called from several threads and processes.

    Raises:
        BadInput: the store is damaged, or is none; its place is named.
        OutputError: it cannot be written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._path: Path | None = None
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise SettingsError(f"The store {url!r} is no database URL.", hint=_URL_HINT) from error
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            self._path = Path(parsed.database)
            with writing_to(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._engine = sa.create_engine(parsed, poolclass=NullPool)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise SettingsError(f"The store {self._shown()} cannot be opened: {error}", hint=_URL_HINT) from error
        if self._path is not None:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        self._create()

    def _create(self) -> None:
        lock = filelock.FileLock(f"{self._path}.lock") if self._path else None
        if lock is not None:
            with writing_to(Path(lock.lock_file).parent):
                lock.acquire()
        try:
            with self._transaction() as link:
                for table in _META.sorted_tables:
                    link.execute(CreateTable(table, if_not_exists=True))
        finally:
            if lock is not None:
                lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as link:
                yield link
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DatabaseError as error:
            words = str(error.orig)
            if any(word in words for word in ("readonly", "unable to open", "disk", "full", "locked")):
                raise OutputError(f"Cannot write to the history {self._shown()}: {words}.", hint=_SPACE_HINT) from error
            raise BadInput(f"Cannot read the history {self._shown()}: {words}.", hint=_DAMAGED_HINT) from error

    def _shown(self) -> str:
        return str(self._path) if self._path else sa.make_url(self.url).render_as_string(hide_password=True)

    def create(self, record: RunRecord) -> None:
        """Store a run as planned, or a whole one with the sessions it has.

        Raises:
            BadInput: a run of this id is there already.
        """
        head = dataclasses.replace(record, cells=())
        cells = [_cell_row(cell, position) for position, cell in enumerate(record.cells)]
        sessions = [_session_row(cell, session) for cell in record.cells for session in cell.sessions]
        try:
            with self._transaction() as link:
                link.execute(_RUNS.insert().values(id=record.id, created_utc=record.created_utc, record=_text(head)))
                for table, rows in ((_CELLS, cells), (_SESSIONS, sessions)):
                    if rows:
                        link.execute(table.insert(), rows)
        except sa.exc.IntegrityError as error:
            raise BadInput(f"The history already has a run {record.id}.", hint="Nothing was changed.") from error

    def add_session(self, run_id: str, cell_id: str, session: Session) -> None:
        """Store a session that has ended, in place of an earlier one of the same index."""
        key = {"run_id": run_id, "cell_id": cell_id, "position": session.index}
        with self._transaction() as link:
            link.execute(_SESSIONS.delete().where(*(_SESSIONS.c[name] == value for name, value in key.items())))
            link.execute(_SESSIONS.insert().values(**key, record=_text(session)))

    def save_cell(self, cell: Cell) -> None:
        """Store how a cell stands; its sessions are stored one by one."""
        row = _cell_row(cell, 0)
        with self._transaction() as link:
            link.execute(
                _CELLS.update()
                .where(_CELLS.c.run_id == cell.run_id, _CELLS.c.cell_id == cell.id)
                .values(outcome=row["outcome"], record=row["record"])
            )

    def read(self, name: str) -> RunRecord:
        """Return a run by its id, the beginning of its id, or ``latest``.

        Raises:
            SettingsError: there is none, or more than one.
            BadInput: its record is damaged or of a newer palmtop.
        """
        run_id = self.resolve(name)
        with self._transaction() as link:
            heads = _rows(link, sa.select(_RUNS.c.record).where(_RUNS.c.id == run_id))
            cells = _rows(link, sa.select(_CELLS.c.record).where(_CELLS.c.run_id == run_id).order_by(_CELLS.c.position))
            taken = _rows(
                link,
                sa.select(_SESSIONS.c.cell_id, _SESSIONS.c.record)
                .where(_SESSIONS.c.run_id == run_id)
                .order_by(_SESSIONS.c.position),
            )
        sessions: dict[str, list[Any]] = {}
        for cell_id, text in taken:
            sessions.setdefault(cell_id, []).append(self._plain(text))
        plain = self._plain(heads[0][0])
        plain["cells"] = [
            {**cell, "sessions": sessions.get(cell["id"], [])} for cell in (self._plain(text) for (text,) in cells)
        ]
        return record_of(plain, what=f"run {run_id} of {self._shown()}")

    def _plain(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise BadInput(f"The history {self._shown()} holds a damaged record.", hint=_DAMAGED_HINT) from error

    def has(self, run_id: str) -> bool:
        """Say whether there is a run of exactly this id."""
        with self._transaction() as link:
            return bool(_rows(link, sa.select(_RUNS.c.id).where(_RUNS.c.id == run_id)))

    def resolve(self, name: str) -> str:
        """Return the whole id of a run; see :meth:`read`."""
        with self._transaction() as link:
            known = [
                str(row[0]) for row in _rows(link, sa.select(_RUNS.c.id).order_by(_RUNS.c.created_utc, _RUNS.c.id))
            ]
        if name in known:
            return name
        if name == "latest" and known:
            return known[-1]
        near = [item for item in known if name and item.startswith(name)]
        if len(near) == 1:
            return near[0]
        if near:
            raise SettingsError(f"{name!r} begins the ids of {len(near)} runs.", hint=f"They are {', '.join(near)}.")
        raise unknown_name("run", name, known)

    def runs(self) -> tuple[RunSummary, ...]:
        """Return all runs, the latest first."""
        with self._transaction() as link:
            heads = _rows(link, sa.select(_RUNS.c.record).order_by(_RUNS.c.created_utc.desc(), _RUNS.c.id.desc()))
            cells = _rows(link, sa.select(_CELLS.c.run_id, _CELLS.c.outcome, _CELLS.c.record))
        return tuple(self._summary(self._plain(head), cells) for (head,) in heads)

    def _summary(self, head: Any, cells: Sequence[Any]) -> RunSummary:
        mine = [(outcome, self._plain(text)) for run_id, outcome, text in cells if run_id == head["id"]]
        places = dict.fromkeys(f"{c['device']['transport']}:{c['device']['serial']}" for _, c in mine)
        outcomes = [outcome for outcome, _ in mine]
        return RunSummary(
            id=head["id"],
            created_utc=head["created_utc"],
            model=head["manifest"]["source"]["name"],
            plan=head["plan"]["name"],
            build_dir=head["build_dir"],
            devices=tuple(places),
            measured=outcomes.count("measured"),
            failed=outcomes.count("failed"),
            cells=len(mine),
            complete="skipped" not in outcomes,
        )


_URL_HINT = "Give a path, or a URL such as sqlite:////home/me/history.sqlite or postgresql+psycopg://host/name."
_DAMAGED_HINT = "Move the file away to start a new history; `palmtop history import` takes exported runs back."
_SPACE_HINT = "Free space there, wait for the other process, or set PALMTOP_STORE to another place."


def _rows(link: sa.Connection, query: sa.Select[Any]) -> Sequence[Any]:
    return link.execute(query).all()


def _prepare_sqlite(link: Any, _: object) -> None:
    cursor = link.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _text(value: Any) -> str:
    return json.dumps(codec.unstructure(value), separators=(",", ":"), allow_nan=False)


def _cell_row(cell: Cell, position: int) -> dict[str, Any]:
    record = _text(dataclasses.replace(cell, sessions=()))
    return {
        "run_id": cell.run_id,
        "cell_id": cell.id,
        "position": position,
        "outcome": cell.outcome,
        "record": record,
    }


def _session_row(cell: Cell, session: Session) -> dict[str, Any]:
    return {"run_id": cell.run_id, "cell_id": cell.id, "position": session.index, "record": _text(session)}


def record_of(plain: Any, *, what: str) -> RunRecord:
    """Turn the JSON of a run into the run.

    Raises:
        BadInput: it is no run, is damaged, contradicts itself, or is of a newer palmtop.
    """
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise BadInput(f"The {what} is of schema {schema}; this palmtop reads up to {SCHEMA}.", hint="Update palmtop.")
    try:
        record = codec.structure(_with_kinds(plain), RunRecord, what=what)
    except SettingsError as error:
        raise BadInput(error.message, hint=_NO_RUN_HINT) from error
    fault = next(_faults(record, plain), None)
    if fault is not None:
        raise BadInput(f"The {what} is no run of palmtop's: {fault}.", hint=_NO_RUN_HINT)
    return record


_NO_RUN_HINT = "It is no run that `palmtop history export` wrote."


def _faults(record: RunRecord, plain: Any) -> Iterator[str]:
    """Yield what no run of ours has; the types fit. Ids become names of files, and figures go into logarithms."""
    if not _RUN_ID.fullmatch(record.id):
        yield f"its id {record.id[:80]!r} is not such as 20261123-0041-7f3a"
    if _largest(plain) > _WHOLE_MAX:
        yield "it holds a number of more than 64 bits"
    ids = [cell.id for cell in record.cells]
    if len(set(ids)) < len(ids):
        yield "two of its cells have one id"
    for cell in record.cells:
        yield from (f"its cell {cell.id[:80]!r} {fault}" for fault in _cell_faults(cell, record))


def _cell_faults(cell: Cell, record: RunRecord) -> Iterator[str]:
    if not 0 < len(cell.id) <= _CELL_ID_MAX:
        yield "has no usable id"
    if cell.run_id != record.id:
        yield f"is of the run {cell.run_id[:80]!r}"
    if cell.outcome == "measured" and not cell.sessions:
        yield "is measured without a session"
    if cell.size_bytes < 0:
        yield "has a negative size"
    indices = [session.index for session in cell.sessions]
    if len(set(indices)) < len(indices) or min(indices, default=0) < 0:
        yield "has sessions that are not numbered each by its own"
    for session in cell.sessions:
        times = (*session.latency_ns, session.load_cold_ns, session.load_warm_ns, session.first_ns)
        if not session.latency_ns or min(times) < 0 or session.runs < 0 or session.stride < 1:
            yield f"has a session {session.index} without latencies, or with a negative time or count"


def _largest(plain: Any) -> int:
    """Return the largest magnitude of all whole numbers in a JSON value."""
    if isinstance(plain, dict | list):
        return max(map(_largest, plain.values() if isinstance(plain, dict) else plain), default=0)
    return abs(plain) if isinstance(plain, int) else 0


def _with_kinds(plain: Any) -> Any:
    """Give the doubts of old records, which are bare sentences, the empty kind; what is no run passes untouched."""
    cells = plain.get("cells") if isinstance(plain, dict) else None
    if not isinstance(cells, list):
        return plain
    return {**plain, "cells": [_cell_with_kinds(cell) for cell in cells]}


def _cell_with_kinds(cell: Any) -> Any:
    doubts = cell.get("doubts") if isinstance(cell, dict) else None
    if not isinstance(doubts, list):
        return cell
    return {**cell, "doubts": [{"kind": "", "message": doubt} if isinstance(doubt, str) else doubt for doubt in doubts]}


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


_EXPORT_HINT = "`palmtop history export RUN -o FILE` writes one."
