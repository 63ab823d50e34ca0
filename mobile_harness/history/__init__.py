"""The store of runs: SQLite in the project, or Postgres by URL; each cell and session is committed as it ends.

SQLite keeps a write-ahead log, so that several processes may write and read at once. ``PALMTOP_STORE`` names another
place or a server. :mod:`~mobile_harness.history.migrations` brings a store of any earlier palmtop up to date.
"""

from mobile_harness.history.exports import IMPORT_MAX_BYTES, read_export, record_of
from mobile_harness.history.places import FILE, FOLDER, is_there, locate
from mobile_harness.history.schema import run_schema
from mobile_harness.history.store import NOT_YET, Checked, History, StoredCell, StoredCells
from mobile_harness.history.tables import RunSummary

__all__ = [
    "FILE",
    "FOLDER",
    "IMPORT_MAX_BYTES",
    "NOT_YET",
    "Checked",
    "History",
    "RunSummary",
    "StoredCell",
    "StoredCells",
    "is_there",
    "locate",
    "read_export",
    "record_of",
    "run_schema",
]
