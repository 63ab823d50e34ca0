"""Where the store is, and how its database is opened and its errors are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mobile_harness.history import migrations
from toolkit.core.errors import BadInput, OutputError, SettingsError, ToolMissing
from toolkit.core.store import writing_to

FOLDER = ".palmtop"
FILE = "history.sqlite"
_BUSY_MS = 30_000
_ADVISORY_KEY = 0x70616C6D
"""Of the lock that one migration at a time holds on a Postgres server; any number that nobody else takes."""

_URL_HINT = "Give a path, or a URL such as sqlite:////home/me/history.sqlite or postgresql://user@host/name."
_DAMAGED_HINT = "`palmtop history check` says what still reads; `palmtop history import` takes exported runs back."
_SPACE_HINT = "Free space there, wait for the other process, or set PALMTOP_STORE to another place."
_SERVER_HINT = "See that the server runs and that the URL in PALMTOP_STORE names a database you may write to."
_DRIVER_HINT = "pip install 'palmtop[postgres]'"
_NOT_WRITABLE = ("readonly", "unable to open", "disk I/O", "disk is full", "full", "locked")


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


def is_there(url: str) -> bool:
    """Say whether there is a store to read: opening one makes it. Of a server only opening it can tell.

    Raises:
        SettingsError: the URL is none, or of a database that is not supported.
    """
    path = _file_of(_parsed(url))
    return path is None or path.exists()


class Database:
    """A database at a URL, brought to the newest schema when it is opened.

    Raises:
        SettingsError: the URL is none, or of a database that is not supported.
        ToolMissing: the driver of that database is not installed.
        BadInput: the store is damaged, is none, is of a newer palmtop, or its server does not answer.
        OutputError: it cannot be written.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self.path = _file_of(parsed)
        self.shown = str(self.path) if self.path else parsed.render_as_string(hide_password=True)
        if self.path is not None:
            with writing_to(self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._engine = sa.create_engine(parsed, poolclass=NullPool)
        except ImportError as error:
            words = f"The store {self.shown} needs a driver that is not installed: {error}."
            raise ToolMissing(words, hint=_DRIVER_HINT) from error
        except sa.exc.ArgumentError as error:
            raise SettingsError(f"The store {self.shown} cannot be opened: {error}", hint=_URL_HINT) from error
        if self.path is not None:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        if self.path is None or self.path.is_file():
            with self.transaction() as link:
                if migrations.stands_at(link) == migrations.HEAD:
                    return
        lock = filelock.FileLock(f"{self.path}.lock") if self.path else None
        if lock is not None:
            with writing_to(Path(lock.lock_file).parent):
                lock.acquire()
        try:
            with self.transaction() as link:
                # SQLite's driver opens no transaction for changes of the schema, and Postgres has no file to lock
                link.exec_driver_sql("BEGIN IMMEDIATE" if lock else f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
                migrations.upgrade(link, shown=self.shown)
        finally:
            if lock is not None:
                lock.release()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a connection; what was done on it is kept when the block ends well.

        Raises:
            BadInput, OutputError: as the class says.
            sqlalchemy.exc.IntegrityError: a row is there already.
        """
        try:
            with self._engine.begin() as link:
                yield link
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DatabaseError as error:
            raise self._told(error) from error

    def _told(self, error: sa.exc.DatabaseError) -> BadInput:
        words = " ".join(str(error.orig).split()).rstrip(".")
        if self.path is None:
            return BadInput(f"The history {self.shown} does not answer: {words}.", hint=_SERVER_HINT)
        if any(word in words for word in _NOT_WRITABLE):
            return OutputError(f"Cannot write to the history {self.shown}: {words}.", hint=_SPACE_HINT)
        return BadInput(f"Cannot read the history {self.shown}: {words}.", hint=_DAMAGED_HINT)


def _file_of(url: sa.URL) -> Path | None:
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _decoded(raw: bytes) -> str:
    """Read damaged text as what it is, so that it fails as a record and not as a query for all of them."""
    return raw.decode("utf-8", "replace")


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        backend = parsed.get_backend_name()
    except (sa.exc.ArgumentError, ValueError) as error:
        raise SettingsError("The store's URL is no database URL.", hint=_URL_HINT) from error
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"palmtop keeps no history in a database of kind {backend!r}.", hint=_URL_HINT)
    return parsed


def _prepare_sqlite(link: Any, _: object) -> None:
    link.text_factory = _decoded
    cursor = link.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
