"""The report as one HTML file that needs no network: for a run, a comparison and a build over many runs."""

from __future__ import annotations

from mobile_harness.comparer import Comparison
from mobile_harness.reports import _comparison_page, _history_page, _run_page
from mobile_harness.reports.base import Document, HistoryDocument

SUFFIX = ".html"


def render(document: Document) -> str:
    """Return the whole page of a run."""
    return _run_page.render(document)


def render_comparison(comparison: Comparison) -> str:
    """Return the whole page of a comparison."""
    return _comparison_page.render(comparison)


def render_history(history: HistoryDocument) -> str:
    """Return the whole page of a build over the runs."""
    return _history_page.render(history)
