"""The report as JSON: the value itself (schema 1), figures as numbers in nanoseconds, bytes and kilobytes."""

from __future__ import annotations

from mobile_harness.comparer import Comparison
from mobile_harness.reports.base import Document, HistoryDocument
from toolkit.core import codec

SUFFIX = ".json"


def render(document: Document) -> str:
    """Return the document as indented JSON."""
    return _json(document)


def render_comparison(comparison: Comparison) -> str:
    """Return the comparison as indented JSON."""
    return _json(comparison)


def render_history(history: HistoryDocument) -> str:
    """Return the history as indented JSON."""
    return _json(history)


def _json(value: Document | Comparison | HistoryDocument) -> str:
    r"""Return a value as JSON; a half character in a name stays a ``\ud800`` escape."""
    return codec.pretty(value).encode("utf-8", "backslashreplace").decode("utf-8")
