"""The runs that are stored: each cell and session is committed as it ends, so that a run survives whatever stops it.

A run is stored as planned, with every cell marked as not measured yet; sessions and ended cells replace that one by
one. Records are kept as the JSON of their frozen values, so that a store reads back exactly what was measured.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mobile_harness.history.exports import cell_of, record_of
from mobile_harness.history.places import Database, is_there
from mobile_harness.history.tables import (
    CELLS,
    RUNS,
    SESSIONS,
    SUMMARIES,
    RunSummary,
    cell_row,
    counts_of,
    model_of,
    run_row,
    session_row,
    summary_of,
    summary_row,
    text_of,
    unreadable,
)
from mobile_harness.records import Cell, Failure, RunRecord, Session
from toolkit.core.errors import BadInput, SettingsError, unknown_name

NOT_YET = Failure(kind="interrupted", message="The run stopped before this cell ended.", hint="Resume the run.")
_DAMAGED_HINT = "`palmtop history check` says what still reads; `palmtop history import` takes exported runs back."
_BACK = re.compile(r"latest~([0-9]{1,6})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredCell:
    """A measured cell with what its run says of it."""

    run_id: str
    created_utc: str
    model: str
    cell: Cell


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredCells:
    """What :meth:`History.cells_of` found: the cells that read, and why those of other runs do not."""

    cells: tuple[StoredCell, ...]
    damaged: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What :meth:`History.check` found: the runs that read, and those that do not with the reason."""

    sound: tuple[str, ...]
    damaged: dict[str, str]


class History:
    """An open store. Methods are short transactions and may be called from several threads and processes.

    Raises:
        BadInput: the store is damaged, or is none; its place is named.
        OutputError: it cannot be written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._base = Database(url)
        self.shown = self._base.shown

    @classmethod
    def to_read(cls, url: str) -> History:
        """Open a store that is there, for who would only read it: a folder without one stays without.

        Raises:
            SettingsError: there is none.
        """
        if is_there(url):
            return cls(url)
        raise SettingsError(
            f"No runs are stored at {sa.make_url(url).database}: there is no such file.",
            hint="`palmtop bench DIR` starts a history; that of another folder is named by PALMTOP_STORE.",
        )

    def create(self, record: RunRecord) -> None:
        """Store a run as planned, or a whole one with the sessions it has.

        Raises:
            BadInput: a run of this id is there already.
        """
        cells = [cell_row(cell, position) for position, cell in enumerate(record.cells)]
        sessions = [session_row(cell, session) for cell in record.cells for session in cell.sessions]
        rows = {RUNS: [run_row(record)], SUMMARIES: [summary_row(record)], CELLS: cells, SESSIONS: sessions}
        try:
            with self._base.transaction() as link:
                for table in filter(rows.get, rows):
                    link.execute(table.insert(), rows[table])
        except sa.exc.IntegrityError as error:
            raise BadInput(f"The history already has a run {record.id}.", hint="Nothing was changed.") from error

    def add_session(self, run_id: str, cell_id: str, session: Session) -> None:
        """Store a session that has ended, in place of an earlier one of the same index."""
        key = {"run_id": run_id, "cell_id": cell_id, "position": session.index}
        with self._base.transaction() as link:
            link.execute(SESSIONS.delete().where(*(SESSIONS.c[name] == value for name, value in key.items())))
            link.execute(SESSIONS.insert().values(**key, record=text_of(session)))

    def save_cell(self, cell: Cell) -> None:
        """Store how a cell stands; its sessions are stored one by one."""
        row = cell_row(cell, 0)
        with self._base.transaction() as link:
            # Whoever ends a cell takes the run's row first, so that two who count at once do not both miss a cell.
            mine = SUMMARIES.update().where(SUMMARIES.c.run_id == cell.run_id)
            link.execute(mine.values(cells=SUMMARIES.c.cells))
            link.execute(
                CELLS.update()
                .where(CELLS.c.run_id == cell.run_id, CELLS.c.cell_id == cell.id)
                .values(outcome=row["outcome"], record=row["record"])
            )
            ended = _rows(link, sa.select(CELLS.c.outcome).where(CELLS.c.run_id == cell.run_id))
            link.execute(mine.values(**counts_of([str(outcome) for (outcome,) in ended])))

    def read(self, name: str) -> RunRecord:
        """Return a run by its id, the beginning of its id, ``latest``, or ``latest~1`` for the one before, and so on.

        Raises:
            SettingsError: there is none, or more than one.
            BadInput: its record is damaged or of a newer palmtop.
        """
        run_id = self.resolve(name)
        with self._base.transaction() as link:
            heads = _rows(link, sa.select(RUNS.c.record).where(RUNS.c.id == run_id))
            cells = _rows(link, sa.select(CELLS.c.record).where(CELLS.c.run_id == run_id).order_by(CELLS.c.position))
            taken = _rows(
                link,
                sa.select(SESSIONS.c.cell_id, SESSIONS.c.record)
                .where(SESSIONS.c.run_id == run_id)
                .order_by(SESSIONS.c.position),
            )
        what = f"run {run_id} of {self.shown}"
        sessions: dict[str, list[Any]] = {}
        for cell_id, text in taken:
            sessions.setdefault(cell_id, []).append(self._plain(text, what))
        plain = self._plain(heads[0][0] if heads else "", what)
        plain["cells"] = [
            {**cell, "sessions": sessions.get(str(cell.get("id")), [])}
            for cell in (self._plain(text, what) for (text,) in cells)
        ]
        return record_of(plain, what=what)

    def _plain(self, text: str, what: str) -> dict[str, Any]:
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            plain = None
        if not isinstance(plain, dict):
            raise BadInput(f"The {what} has a damaged record.", hint=_DAMAGED_HINT)
        return plain

    def has(self, run_id: str) -> bool:
        """Say whether there is a run of exactly this id."""
        with self._base.transaction() as link:
            return bool(_rows(link, sa.select(SUMMARIES.c.run_id).where(SUMMARIES.c.run_id == run_id)))

    def resolve(self, name: str) -> str:
        """Return the whole id of a run; see :meth:`read`."""
        known = self._ids()
        if name in known:
            return name
        back = _BACK.fullmatch("latest~0" if name == "latest" else name)
        if back is not None and int(back[1]) < len(known):
            return known[-1 - int(back[1])]
        if back is not None and known:
            raise SettingsError(f"There is no run {name}: the history holds {len(known)}.", hint="See palmtop history.")
        near = [item for item in known if name and item.startswith(name)]
        if len(near) == 1:
            return near[0]
        if near:
            raise SettingsError(f"{name!r} begins the ids of {len(near)} runs.", hint=f"They are {_some(near)}.")
        raise unknown_name("run", name, known[-20:])

    def _ids(self) -> list[str]:
        with self._base.transaction() as link:
            query = sa.select(SUMMARIES.c.run_id).order_by(SUMMARIES.c.created_utc, SUMMARIES.c.run_id)
            return [str(row[0]) for row in _rows(link, query)]  # read from an index alone

    def runs(self, limit: int | None = None) -> tuple[RunSummary, ...]:
        """Return the runs, the latest first; no record is read, so that ten thousand list at once.

        Args:
            limit: at most so many.
        """
        query = sa.select(SUMMARIES).order_by(SUMMARIES.c.created_utc.desc(), SUMMARIES.c.run_id.desc()).limit(limit)
        try:
            with self._base.transaction() as link:
                return tuple(map(summary_of, _rows(link, query)))
        except BadInput:
            return tuple(map(self._line, reversed(self._ids())))[:limit]  # each by itself: what still reads is shown

    def _line(self, run_id: str) -> RunSummary:
        try:
            with self._base.transaction() as link:
                (row,) = _rows(link, sa.select(SUMMARIES).where(SUMMARIES.c.run_id == run_id))
            return summary_of(row)
        except (BadInput, ValueError):
            return unreadable(run_id)

    def count(self) -> int:
        """Return how many runs there are."""
        with self._base.transaction() as link:
            return int(link.execute(sa.select(sa.func.count()).select_from(SUMMARIES)).scalar_one())

    def cells_of(self, build_id: str, place: str | None = None, limit: int = 500) -> StoredCells:
        """Return the measured cells of a build over all runs, in order of time, with their sessions.

        Args:
            build_id: such as ``onnx-static-int8``.
            place: only on this device, ``transport:serial``.
            limit: the latest so many.

        Raises:
            SettingsError: no run measured such a build, or not there; the nearest name is offered.
        """
        mine = (CELLS.c.build_id == build_id, *(() if place is None else (CELLS.c.place == place,)))
        query = (
            sa.select(CELLS.c.run_id, CELLS.c.cell_id, CELLS.c.record, SUMMARIES.c.created_utc, SUMMARIES.c.words)
            .join(SUMMARIES, SUMMARIES.c.run_id == CELLS.c.run_id)
            .where(*mine, CELLS.c.outcome == "measured")
            .order_by(SUMMARIES.c.created_utc.desc(), SUMMARIES.c.run_id.desc(), CELLS.c.position)
            .limit(limit)
        )
        with self._base.transaction() as link:
            found = _rows(link, query)
            if not found:
                raise self._unmeasured(link, build_id, place)
        try:
            taken = self._sessions(found)
        except BadInput:  # a damaged page: each by itself, so that what still reads is read
            taken = {}
        cells, damaged = [], {}
        for row in reversed(found):
            try:
                cells.append(self._stored(row, taken or self._sessions([row])))
            except BadInput as error:
                damaged[str(row.run_id)] = error.message
        return StoredCells(cells=tuple(cells), damaged=damaged)

    def _sessions(self, cells: Sequence[Any]) -> dict[tuple[str, str], list[str]]:
        """Return the session records of cells, in order, by run and cell."""
        query = (
            sa.select(SESSIONS.c.run_id, SESSIONS.c.cell_id, SESSIONS.c.record)
            .where(SESSIONS.c.run_id.in_({row.run_id for row in cells}))
            .where(SESSIONS.c.cell_id.in_({row.cell_id for row in cells}))
            .order_by(SESSIONS.c.position)
        )
        taken: dict[tuple[str, str], list[str]] = {}
        with self._base.transaction() as link:
            for run_id, cell_id, text in _rows(link, query):
                taken.setdefault((run_id, cell_id), []).append(text)
        return taken

    def _stored(self, row: Any, taken: dict[tuple[str, str], list[str]]) -> StoredCell:
        what = f"run {row.run_id} of {self.shown}"
        sessions = [self._plain(text, what) for text in taken.get((row.run_id, row.cell_id), [])]
        cell = cell_of({**self._plain(row.record, what), "sessions": sessions}, what=what)
        model = model_of(row.words)
        return StoredCell(run_id=row.run_id, created_utc=row.created_utc, model=model, cell=cell)

    def _unmeasured(self, link: sa.Connection, build_id: str, place: str | None) -> SettingsError:
        builds = [str(row[0]) for row in _rows(link, sa.select(CELLS.c.build_id).distinct())]
        if build_id not in builds:
            return unknown_name("build", build_id, builds)
        places = [
            str(row[0]) for row in _rows(link, sa.select(CELLS.c.place).where(CELLS.c.build_id == build_id).distinct())
        ]
        if place is not None and place not in places:
            return unknown_name("device", place, places)
        return SettingsError(f"No run has measured {build_id!r} there.", hint="`palmtop history` lists what is stored.")

    def check(self) -> Checked:
        """Read every run and say which do not; a damaged file still gives what can be read.

        Raises:
            BadInput: not even the ids of the runs read.
        """
        sound: list[str] = []
        damaged: dict[str, str] = {}
        for run_id in self._ids():
            try:
                self.read(run_id)
                sound.append(run_id)
            except BadInput as error:
                damaged[run_id] = error.message
        return Checked(sound=tuple(sound), damaged=damaged)


def _rows(link: sa.Connection, query: sa.Select[Any]) -> Sequence[Any]:
    return link.execute(query).all()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:10])} and {len(names) - 10} more"
